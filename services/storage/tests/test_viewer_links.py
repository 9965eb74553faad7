"""Links that open a study in a viewer: what they open, for whom, and for how long."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
from pydicom.dataset import Dataset

from radrelay_shared.events import StudyAnonymized
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import client, deliver, running
from radrelay_storage.main import SERVICE

KEY = "0123456789abcdef0123456789abcdef"
IMAGES = "/dicom-web/studies/2.25.1/metadata"
OTHER = "/dicom-web/studies/2.25.2/metadata"


@pytest.fixture
async def runtime(
    tmp_path: Path,
    watch: Any,
    pack: Callable[..., Awaitable[StudyAnonymized]],
    image: Callable[..., Dataset],
    assign: Callable[..., Awaitable[None]],
) -> AsyncIterator[Runtime]:
    """Two studies of clinic A and one of clinic B, assigned to a radiologist; another one of clinic A."""
    async with running(SERVICE, tmp_path, clock=watch, viewer_key=KEY, claim_seconds=0) as (found, _):
        for number, site in ((1, "clinic-a"), (2, "clinic-a"), (3, "clinic-b"), (4, "clinic-a")):
            packed = await pack(found, [image("CT_small.dcm", number)], site=site, study=f"st-{number}")
            await deliver(found, packed)
            if number < 4:
                await assign(found, "key:dr-a", number)
        yield found


@pytest.fixture
async def radiologist(runtime: Runtime) -> AsyncIterator[httpx2.AsyncClient]:
    async with client(runtime, Role.RADIOLOGIST, sites=("clinic-a",), subject="dr-a") as found:
        yield found


async def link(caller: httpx2.AsyncClient, **wanted: str) -> str:
    answer = await caller.post("/viewers/links", json={"study": "2.25.1", **wanted})
    assert answer.status_code == 200
    return str(answer.json()["url"])


async def asked(runtime: Runtime, method: str, path: str, **headers: str) -> httpx2.Response:
    """As someone with these headers and nothing else asks."""
    async with client(runtime) as http:
        del http.headers["authorization"]
        return await http.request(method, path, headers=headers)


async def session(runtime: Runtime, url: str) -> httpx2.Response:
    return await asked(runtime, "POST", "/viewers/sessions", authorization=f"Bearer {url.partition('#')[2]}")


async def cookie(runtime: Runtime, url: str) -> str:
    return (await session(runtime, url)).headers["set-cookie"].partition(";")[0]


async def test_a_link_becomes_a_session_that_reads_its_study_and_no_other(
    runtime: Runtime, radiologist: httpx2.AsyncClient
) -> None:
    answer = await session(runtime, await link(radiologist))
    assert answer.json() == {"url": "/viewer/viewer?StudyInstanceUIDs=2.25.1"}
    kept, *rules = answer.headers["set-cookie"].split("; ")
    assert set(rules) == {"HttpOnly", "Max-Age=3600", "Path=/dicom-web", "SameSite=strict"}
    assert (await asked(runtime, "GET", IMAGES, cookie=kept)).status_code == 200
    assert (await asked(runtime, "GET", OTHER, cookie=kept)).status_code == 404
    assert len((await asked(runtime, "GET", "/dicom-web/studies", cookie=kept)).json()) == 1
    assert len((await asked(runtime, "GET", "/dicom-web/series", cookie=kept)).json()) == 1
    assert len((await asked(runtime, "GET", "/dicom-web/instances", cookie=kept)).json()) == 1


async def test_a_link_without_a_study_shows_what_its_caller_may_see(
    runtime: Runtime, radiologist: httpx2.AsyncClient
) -> None:
    answer = await radiologist.post("/viewers/links", json={})
    kept = await cookie(runtime, answer.json()["url"])
    assert len((await asked(runtime, "GET", "/dicom-web/studies", cookie=kept)).json()) == 2
    assert (await asked(runtime, "GET", "/dicom-web/studies/2.25.3/metadata", cookie=kept)).status_code == 404


async def test_nobody_makes_a_link_to_a_study_that_is_not_theirs(radiologist: httpx2.AsyncClient) -> None:
    for study in ("2.25.3", "2.25.4", "2.25.999"):
        assert (await radiologist.post("/viewers/links", json={"study": study})).status_code == 404


async def test_a_link_is_good_for_a_minute_and_its_session_for_an_hour(
    runtime: Runtime, radiologist: httpx2.AsyncClient, watch: Any
) -> None:
    url = await link(radiologist)
    watch.now += timedelta(seconds=59)
    kept = await cookie(runtime, url)
    watch.now += timedelta(seconds=1)
    assert (await session(runtime, url)).status_code == 401
    watch.now += timedelta(minutes=58)
    assert (await asked(runtime, "GET", IMAGES, cookie=kept)).status_code == 200
    watch.now += timedelta(minutes=2)
    assert (await asked(runtime, "GET", IMAGES, cookie=kept)).status_code == 401


async def test_a_link_reads_nothing_and_a_session_makes_no_link_and_no_other_session(
    runtime: Runtime, radiologist: httpx2.AsyncClient
) -> None:
    url = await link(radiologist)
    token, kept = url.partition("#")[2], (await cookie(runtime, url)).partition("=")[2]
    assert (await asked(runtime, "GET", IMAGES, authorization=f"Bearer {token}")).status_code == 401
    for path in ("/viewers/links", "/viewers/sessions"):
        assert (await asked(runtime, "POST", path, authorization=f"Bearer {kept}")).status_code == 401
        assert (await asked(runtime, "POST", path, cookie=f"radrelay_viewer={kept}")).status_code == 401


async def test_a_link_that_was_changed_in_any_place_opens_nothing(
    runtime: Runtime, radiologist: httpx2.AsyncClient
) -> None:
    token = (await link(radiologist)).partition("#")[2]
    for place in range(4, len(token) - 1, 7):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        answer = await asked(runtime, "POST", "/viewers/sessions", authorization=f"Bearer {changed}")
        assert (place, answer.status_code) == (place, 401)


async def test_a_viewer_on_the_desktop_is_handed_a_session_of_its_own(
    runtime: Runtime, radiologist: httpx2.AsyncClient
) -> None:
    weasis = unquote(await link(radiologist, viewer="weasis"))
    assert weasis.startswith('weasis://$dicom:rs --url "http://radrelay/dicom-web" -H "Authorization: Bearer rrv_')
    assert weasis.endswith('" -r "studyUID=2.25.1"')
    token = weasis.partition("Bearer ")[2].partition('"')[0]
    assert (await asked(runtime, "GET", IMAGES, authorization=f"Bearer {token}")).status_code == 200
    slicer = await link(radiologist, viewer="slicer")
    assert slicer.startswith("slicer://viewer/?dicomweb_endpoint=http%3A%2F%2Fradrelay%2Fdicom-web&access_token=rrv_")
    assert slicer.endswith("&studyUID=2.25.1")


async def test_an_unknown_viewer_is_refused_by_name(radiologist: httpx2.AsyncClient) -> None:
    answer = await radiologist.post("/viewers/links", json={"viewer": "paint"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "the viewers are ohif, weasis, slicer")


async def test_invoke_image_display_redirects_to_the_study(radiologist: httpx2.AsyncClient) -> None:
    asked_for = "/viewers/IHEInvokeImageDisplay?requestType=STUDY&studyUID=2.25.1"
    answer = await radiologist.get(asked_for)
    assert (answer.status_code, answer.headers["cache-control"]) == (303, "no-store")
    assert answer.headers["location"].startswith("http://radrelay/viewer/open.html#rrv_")
    assert (await radiologist.get(asked_for + "&viewerType=weasis")).headers["location"].startswith("weasis://")
    assert (await radiologist.get(asked_for.replace("STUDY", "PATIENT"))).status_code == 400
    assert (await radiologist.get(asked_for.replace("2.25.1", "2.25.3"))).status_code == 404


async def test_without_a_key_there_are_no_links_and_it_says_who_can_help(
    tmp_path: Path,
) -> None:
    async with running(SERVICE, tmp_path) as (found, _), client(found, Role.RADIOLOGIST) as caller:
        answer = await caller.post("/viewers/links", json={})
        assert answer.status_code == 503
        assert answer.json()["detail"] == ("links to viewers are not set up here: an operator sets RADRELAY_VIEWER_KEY")
