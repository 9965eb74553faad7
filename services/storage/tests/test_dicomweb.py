"""Studies as they come from anonymize, and what viewers get of them, through the running service."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from radrelay_shared.events import StudyAnonymized, StudyStored
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import Downstream, client, deliver, running
from radrelay_storage.main import SERVICE
from radrelay_storage.recent import Recent
from real_files import TEST_FILES

EXPLICIT, JPEG, J2K = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"
Running = tuple[Runtime, Downstream]
Pack = Callable[..., Awaitable[StudyAnonymized]]
Image = Callable[..., Dataset]


def head_ct(image: Image, number: int = 1, study: int = 1) -> Dataset:
    changes = {"PatientID": f"P-{study}", "PatientName": f"ANON^{study}", "StudyDate": f"2025030{study}"}
    return image("CT_small.dcm", study, series=1, number=number, **changes)


def parts(response: httpx2.Response) -> list[tuple[str, bytes]]:
    """The (content type, content) of each part of a multipart answer."""
    media, _, boundary = response.headers["content-type"].partition("; boundary=")
    assert media.startswith("multipart/related; type=")
    first, *found, last = response.content.split(b"\r\n--" + boundary.encode())
    assert (first, last) == (b"", b"--\r\n")
    split = [each.partition(b"\r\n\r\n") for each in found]
    return [(head.decode().removeprefix("\r\nContent-Type: "), content) for head, _, content in split]


async def test_a_batch_that_comes_twice_is_stored_and_announced_once(
    storage: Running, pack: Pack, image: Image
) -> None:
    runtime, downstream = storage
    event = await pack(runtime, [head_ct(image, 1), head_ct(image, 2)], batch=1)
    for _ in range(2):
        await deliver(runtime, event)
    (stored,) = downstream.of(StudyStored)
    assert (stored.study, stored.batch, stored.instances, stored.modalities) == ("st-1", 1, 2, ("CT",))
    assert stored.study_instance_uid == "2.25.1"


async def test_late_slices_that_overtake_the_first_batch_end_in_one_series(
    storage: Running, pack: Pack, image: Image
) -> None:
    runtime, downstream = storage
    first = await pack(runtime, [head_ct(image, 1), head_ct(image, 2)], batch=1)
    second = await pack(runtime, [head_ct(image, 3), image("MR_small.dcm", 1, series=2)], batch=2)
    await deliver(runtime, second)
    await deliver(runtime, first)
    assert [(each.batch, each.instances) for each in downstream.of(StudyStored)] == [(2, 2), (1, 4)]
    async with client(runtime, Role.ASSISTANT) as viewer:
        (found,) = (await viewer.get("/dicom-web/studies")).json()
        assert found["00080061"]["Value"] == ["CT", "MR"]
        assert (found["00201206"]["Value"], found["00201208"]["Value"]) == ([2], [4])
        answer = await viewer.get("/dicom-web/studies/2.25.1/series/2.25.1.1/metadata")
        assert [each["00080018"]["Value"] for each in answer.json()] == [["2.25.1.1.1"], ["2.25.1.1.2"], ["2.25.1.1.3"]]
        whole = await viewer.get("/dicom-web/studies/2.25.1/metadata")
        assert len(whole.json()) == 4


async def two_sites(runtime: Runtime, pack: Pack, image: Image) -> None:
    await deliver(runtime, await pack(runtime, [head_ct(image, 1), head_ct(image, 2)]))
    mr = image("MR_small.dcm", 2, series=1, PatientID="P-2", PatientName="ANON^2", StudyDate="20250302")
    request = Dataset()
    request.ScheduledProcedureStepID, request.RequestedProcedureID = "SPS-1", "RP-7"
    other = Dataset()
    other.ScheduledProcedureStepID = "SPS-2"
    mr.RequestAttributesSequence = [other, request]
    await deliver(runtime, await pack(runtime, [mr], site="clinic-b", study="st-2"))


SEARCHES = [
    ("studies", ["2.25.2", "2.25.1"]),
    ("studies?PatientID=P-1", ["2.25.1"]),
    ("studies?PatientName=ANON*", ["2.25.2", "2.25.1"]),
    ("studies?StudyDate=20250302-", ["2.25.2"]),
    ("studies?ModalitiesInStudy=CT", ["2.25.1"]),
    ("studies?ModalitiesInStudy=PT", []),
    ("studies?ModalitiesInStudy=CT,MR", ["2.25.2", "2.25.1"]),
    ("studies?ModalitiesInStudy=PT\\MR&PatientID=P-2", ["2.25.2"]),
    ("studies?ModalitiesInStudy=CT,MR&limit=1&offset=1", ["2.25.1"]),
    ("studies?ModalitiesInStudy=M*", ["2.25.2"]),
    ("studies?PatientName=anon^1", ["2.25.1"]),
    ("studies?PatientName=*Non*", ["2.25.2", "2.25.1"]),
    ("studies?PatientID=p-1", []),
    ("studies?PatientID=P-1,P-2&multiplevaluematching=true", ["2.25.2", "2.25.1"]),
    ("studies?StudyDate=20250301-20250302&StudyTime=0000-", ["2.25.2", "2.25.1"]),
    ("studies?StudyInstanceUID=2.25.1,2.25.9", ["2.25.1"]),
    ("studies?limit=1", ["2.25.2"]),
    ("studies?limit=1&offset=1", ["2.25.1"]),
    ("studies?limit=1&offset=2", []),
    ("series", ["2.25.1", "2.25.2"]),
    ("series?Modality=MR", ["2.25.2"]),
    ("series?ModalitiesInStudy=MR,PT", ["2.25.2"]),
    ("series?RequestAttributesSequence.ScheduledProcedureStepID=SPS-1", ["2.25.2"]),
    ("series?00400275.00401001=RP-*", ["2.25.2"]),
    ("series?RequestAttributesSequence.ScheduledProcedureStepID=SPS", []),
    ("instances", ["2.25.1", "2.25.1", "2.25.2"]),
    ("instances?limit=1&offset=2", ["2.25.2"]),
    ("instances?SOPInstanceUID=2.25.1.1.2,2.25.2.1.1", ["2.25.1", "2.25.2"]),
    ("instances?Modality=CT&InstanceNumber=2", ["2.25.1"]),
    ("instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.4", ["2.25.2"]),
    ("studies/2.25.1/series?ModalitiesInStudy=MR", []),
    ("studies/2.25.1/series?Modality=MR", []),
    ("studies/2.25.1/series", ["2.25.1"]),
    ("studies/2.25.1/instances", ["2.25.1", "2.25.1"]),
    ("studies/2.25.1/instances?InstanceNumber=2", ["2.25.1"]),
    ("studies/2.25.1/instances?limit=1&offset=1", ["2.25.1"]),
    ("studies/2.25.1/series/2.25.1.1/instances?SOPInstanceUID=2.25.1.1.2", ["2.25.1"]),
]


async def test_searches_find_what_they_name(storage: Running, pack: Pack, image: Image) -> None:
    runtime, _ = storage
    await two_sites(runtime, pack, image)
    async with client(runtime, Role.ASSISTANT) as viewer:
        for query, expected in SEARCHES:
            answer = await viewer.get(f"/dicom-web/{query}")
            assert answer.status_code == 200, query
            assert answer.headers["content-type"] == "application/dicom+json"
            found = sorted(each["0020000D"]["Value"][0] for each in answer.json())
            assert found == sorted(expected), query


async def test_a_study_in_a_list_shows_who_when_and_where_to_read_it(
    storage: Running, pack: Pack, image: Image
) -> None:
    runtime, _ = storage
    await two_sites(runtime, pack, image)
    async with client(runtime, Role.ASSISTANT, sites=("clinic-a",)) as viewer:
        (plain,) = (await viewer.get("/dicom-web/studies?limit=1")).json()
        assert plain["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "ANON^1"}]}
        assert plain["00080020"] == {"vr": "DA", "Value": ["20250301"]}
        assert plain["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}
        assert plain["00081190"] == {"vr": "UR", "Value": ["http://radrelay/dicom-web/studies/2.25.1"]}
        assert "00101010" not in plain, "the age is not asked for"
        (asked,) = (await viewer.get("/dicom-web/studies?includefield=PatientAge")).json()
        assert asked["00101010"] == {"vr": "AS", "Value": ["000Y"]}
        (instance,) = (await viewer.get("/dicom-web/studies/2.25.1/series/2.25.1.1/instances?limit=1")).json()
        assert (instance["00280010"]["Value"], instance["00200013"]["Value"]) == ([128], [1])


async def test_more_answers_and_literal_matching_are_announced_as_warnings(
    storage: Running, pack: Pack, image: Image
) -> None:
    runtime, _ = storage
    await two_sites(runtime, pack, image)
    async with client(runtime, Role.ASSISTANT) as viewer:
        answer = await viewer.get("/dicom-web/studies?limit=1&fuzzymatching=true")
        assert "additional results" in answer.headers["warning"]
        assert "Only literal matching" in answer.headers["warning"]
        assert "warning" not in (await viewer.get("/dicom-web/studies")).headers


RESOURCES = [
    "",
    "/metadata",
    "/series",
    "/instances",
    "/series/2.25.2.1",
    "/series/2.25.2.1/metadata",
    "/series/2.25.2.1/instances",
    "/series/2.25.2.1/instances/2.25.2.1.1",
    "/series/2.25.2.1/instances/2.25.2.1.1/metadata",
    "/series/2.25.2.1/instances/2.25.2.1.1/rendered",
    "/series/2.25.2.1/instances/2.25.2.1.1/frames/1",
    "/series/2.25.2.1/instances/2.25.2.1.1/frames/1/rendered",
]


async def test_another_clinics_study_is_not_there_at_all(storage: Running, pack: Pack, image: Image) -> None:
    runtime, _ = storage
    await two_sites(runtime, pack, image)
    for sites, status, listed in ((("clinic-a",), 404, 0), (("clinic-b", "clinic-c"), 200, 1), ((), 404, 0)):
        async with client(runtime, Role.ASSISTANT, sites=sites) as viewer:
            for resource in RESOURCES:
                answer = await viewer.get(f"/dicom-web/studies/2.25.2{resource}")
                assert answer.status_code == status, (sites, resource)
            assert len((await viewer.get("/dicom-web/studies?PatientID=P-2")).json()) == listed
            assert len((await viewer.get("/dicom-web/series?Modality=MR")).json()) == listed


@pytest.mark.parametrize("role", list(Role))
async def test_who_may_look_at_images_at_all(storage: Running, role: Role) -> None:
    runtime, _ = storage
    allowed = {"radiologist", "assistant", "referrer", "model", "operator", "site"}
    async with client(runtime, role) as caller:
        assert (await caller.get("/dicom-web/studies")).status_code == (200 if role in allowed else 403)
        assert (await caller.get("/dicom-web/studies", headers={"Authorization": ""})).status_code == 401


REFUSALS = [
    ("studies?Shoe=44", "*/*", 400),
    ("studies", "application/dicom+xml", 406),
    ("studies/2.25.1/series/2.25.1.9", "*/*", 404),
    ("studies/2.25.1/series/2.25.1.1/instances/2.25.9", "*/*", 404),
    ("studies/2.25.1", "application/dicom+json", 406),
    ("studies/2.25.1", f'multipart/related; type="application/dicom"; transfer-syntax={J2K}', 406),
    ("studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1/frames/0", "*/*", 400),
    ("studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1/frames/1,x", "*/*", 400),
    ("studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1/frames/1,2", "*/*", 404),
    ("studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1/frames/1", 'multipart/related; type="image/jpeg"', 406),
    ("studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1/frames/2/rendered", "*/*", 404),
    ("studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1/frames/1,1/rendered", "*/*", 400),
    ("studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1/rendered", "image/gif", 406),
    ("studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1/rendered?window=wide", "*/*", 400),
]


async def test_refusals_say_whether_it_is_the_request_the_form_or_the_thing(
    storage: Running, pack: Pack, image: Image
) -> None:
    runtime, _ = storage
    await deliver(runtime, await pack(runtime, [head_ct(image)]))
    async with client(runtime, Role.ASSISTANT) as viewer:
        for path, accept, status in REFUSALS:
            answer = await viewer.get(f"/dicom-web/{path}", headers={"Accept": accept})
            assert answer.status_code == status, path
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["detail"]


async def test_one_series_metadata_goes_out_as_it_is_stored(storage: Running, pack: Pack, image: Image) -> None:
    runtime, _ = storage
    await deliver(runtime, await pack(runtime, [head_ct(image)]))
    path = "/dicom-web/studies/2.25.1/series/2.25.1.1"
    async with client(runtime, Role.ASSISTANT) as viewer:
        packed = await viewer.get(f"{path}/metadata", headers={"Accept-Encoding": "gzip"})
        plain = await viewer.get(f"{path}/metadata", headers={"Accept-Encoding": "identity"})
        (one,) = (await viewer.get(f"{path}/instances/2.25.1.1.1/metadata")).json()
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json() == plain.json() == [one]
    assert "7FE00010" not in one
    assert json.dumps(one["00080016"]) == '{"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]}'


FRAMES = [
    ("CT_small.dcm", f"application/octet-stream; transfer-syntax={EXPLICIT}", 1),
    ("MR_small_implicit.dcm", f"application/octet-stream; transfer-syntax={EXPLICIT}", 1),
    ("examples_rgb_color.dcm", f"application/octet-stream; transfer-syntax={EXPLICIT}", 1),
    ("examples_ybr_color.dcm", f"image/jpeg; transfer-syntax={JPEG}", 30),
    ("MR_small_jp2klossless.dcm", f"image/jp2; transfer-syntax={J2K}", 1),
    ("SC_rgb_rle_2frame.dcm", "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5", 2),
]


@pytest.mark.parametrize(("name", "content_type", "last"), FRAMES)
async def test_a_frame_is_sent_as_it_is_stored(
    storage: Running, pack: Pack, image: Image, name: str, content_type: str, last: int
) -> None:
    runtime, _ = storage
    await deliver(runtime, await pack(runtime, [head_ct(image), image(name, 1, series=3)]))
    path = f"/dicom-web/studies/2.25.1/series/2.25.1.3/instances/2.25.1.3.1/frames/{last},1"
    pixels = dcmread(TEST_FILES / name).PixelData
    async with client(runtime, Role.ASSISTANT) as viewer:
        for _ in ("indexed first", "then known"):
            wanted, first = parts(await viewer.get(path))
            assert wanted[0] == first[0] == content_type
            assert wanted[1] in pixels
            assert first[1] in pixels
            assert (wanted == first) == (last == 1)


def flip_a_late_byte(pack: Path) -> None:
    content = bytearray(pack.read_bytes())
    content[-1000] ^= 1
    pack.write_bytes(content)


async def test_bytes_that_changed_in_the_object_store_are_never_served(
    pack: Pack, image: Image, tmp_path: Path
) -> None:
    """One byte of the second slice's pixels flips on disk, after its frame was already known; nothing is copied."""
    series = "/dicom-web/studies/2.25.1/series/2.25.1.1"
    async with (
        running(SERVICE, tmp_path, pack_cache_bytes=0) as (runtime, _),
        client(runtime, Role.ASSISTANT) as viewer,
    ):
        await deliver(runtime, await pack(runtime, [head_ct(image, 1), head_ct(image, 2)]))
        assert (await viewer.get(f"{series}/instances/2.25.1.1.2/frames/1")).status_code == 200
        flip_a_late_byte(tmp_path / "deidentified" / "objects" / "st-1" / "000001" / "0001.pack")
        for resource in ("", "/frames/1", "/rendered"):
            answer = await viewer.get(f"{series}/instances/2.25.1.1.2{resource}")
            assert answer.status_code == 500
            assert "st-1" in answer.json()["detail"]
            assert "2.25.1.1.2" in answer.json()["detail"]
        assert (await viewer.get(f"{series}/instances/2.25.1.1.1")).status_code == 200
        broken = (await viewer.get(series)).content
        assert b"2.25.1.1.1" in broken, "the first slice is whole"
        assert not broken.endswith(b"--\r\n"), "the answer stops before the second, and can be seen to be incomplete"


async def test_an_instance_too_large_for_memory_waits_on_disk(pack: Pack, image: Image, tmp_path: Path) -> None:
    cine = image("examples_ybr_color.dcm", 1)
    async with (
        running(SERVICE, tmp_path, spool_bytes=1000) as (runtime, _),
        client(runtime, Role.ASSISTANT) as viewer,
    ):
        await deliver(runtime, await pack(runtime, [cine]))
        ((content_type, content),) = parts(await viewer.get("/dicom-web/studies/2.25.1"))
        picture = await viewer.get("/dicom-web/studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1/frames/2/rendered")
    assert content_type == f"application/dicom; transfer-syntax={JPEG}"
    assert dcmread(io.BytesIO(content)).PixelData == cine.PixelData
    assert picture.headers["content-type"] == "image/jpeg"


async def test_a_series_longer_than_one_read_comes_whole_and_in_order(pack: Pack, image: Image, tmp_path: Path) -> None:
    """Slices of 39 KB, read two at a time."""
    async with (
        running(SERVICE, tmp_path, spool_bytes=100_000) as (runtime, _),
        client(runtime, Role.ASSISTANT) as viewer,
    ):
        await deliver(runtime, await pack(runtime, [head_ct(image, number) for number in range(1, 6)]))
        answer = await viewer.get("/dicom-web/studies/2.25.1/series/2.25.1.1")
    assert int(answer.headers["content-length"]) == len(answer.content)
    sent = [dcmread(io.BytesIO(content)) for _, content in parts(answer)]
    assert [each.InstanceNumber for each in sent] == [1, 2, 3, 4, 5]
    assert {each.PixelData for each in sent} == {head_ct(image).PixelData}


def test_only_the_values_used_last_are_remembered() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.keep("a", 1)
    recent.keep("b", 2)
    assert recent.get("a") == 1
    recent.keep("c", 3)
    assert [recent.get(key) for key in "abc"] == [1, None, 3]
    recent.keep("heavy", 4, weight=2)
    assert [recent.get(key) for key in ("a", "c", "heavy")] == [None, None, 4]
    assert recent.keep("too heavy", 5, weight=3) == 5
    assert recent.get("too heavy") is None
    assert recent.get("heavy") == 4
