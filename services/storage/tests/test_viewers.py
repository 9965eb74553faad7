"""What viewers ask for beyond plain retrieval: validators, compression, thumbnails, other forms, other origins."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image as Picture
from pydicom import dcmread
from pydicom.dataset import Dataset

from radrelay_shared.events import StudyAnonymized
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import Downstream, client, deliver, running
from radrelay_storage.listing import elements
from radrelay_storage.main import SERVICE
from real_files import TEST_FILES

EXPLICIT, EXTENDED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.51"
SERIES = "/dicom-web/studies/2.25.1/series/2.25.1.1"
FIRST = f"{SERIES}/instances/2.25.1.1.1"
Running = tuple[Runtime, Downstream]
Pack = Callable[..., Awaitable[StudyAnonymized]]
Image = Callable[..., Dataset]


@pytest.fixture
async def viewer(storage: Running, pack: Pack, image: Image) -> AsyncIterator[httpx2.AsyncClient]:
    """A study of three CT slices, a big-endian MR, an image in JPEG of twelve bits and a structured report."""
    runtime, _ = storage
    images = [
        *(image("CT_small.dcm", 1, series=1, number=number) for number in (1, 2, 3)),
        image("MR_small_bigendian.dcm", 1, series=2),
        image("JPGExtended.dcm", 1, series=3),
        image("test-SR.dcm", 1, series=4),
    ]
    await deliver(runtime, await pack(runtime, images))
    async with client(runtime, Role.ASSISTANT) as found:
        yield found


def path(series: int) -> str:
    return f"/dicom-web/studies/2.25.1/series/2.25.1.{series}/instances/2.25.1.{series}.1"


# ── what is known already is not sent again ──────────────────────────────────────────────────────────

VALIDATED = [
    "/dicom-web/studies/2.25.1/metadata",
    f"{SERIES}/metadata",
    f"{FIRST}/metadata",
    "/dicom-web/studies/2.25.1",
    SERIES,
    FIRST,
    f"{FIRST}/frames/1",
    f"{FIRST}/rendered",
    f"{SERIES}/thumbnail",
]


@pytest.mark.parametrize("resource", VALIDATED)
async def test_a_viewer_that_has_it_already_is_told_so(viewer: httpx2.AsyncClient, resource: str) -> None:
    first = await viewer.get(resource)
    assert first.headers["cache-control"] == "private, no-cache"
    for known in (first.headers["etag"], f'"other", {first.headers["etag"]}', "*"):
        again = await viewer.get(resource, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    assert (await viewer.get(resource, headers={"If-None-Match": 'W/"other"'})).status_code == 200


async def test_late_slices_change_what_a_viewer_has_of_the_series_but_not_of_a_slice(
    storage: Running, viewer: httpx2.AsyncClient, pack: Pack, image: Image
) -> None:
    resources = (f"{SERIES}/metadata", SERIES, FIRST, f"{FIRST}/frames/1")
    before = {each: (await viewer.get(each)).headers["etag"] for each in resources}
    late = await pack(storage[0], [image("CT_small.dcm", 1, series=1, number=4)], batch=2)
    await deliver(storage[0], late)
    changed = {each: (await viewer.get(each)).headers["etag"] != before[each] for each in resources}
    assert list(changed.values()) == [True, True, False, False]


async def test_the_same_slice_in_another_form_is_another_answer(viewer: httpx2.AsyncClient) -> None:
    stored = await viewer.get(path(2))
    plain = await viewer.get(path(2), headers={"Accept": f"application/dicom; transfer-syntax={EXPLICIT}"})
    assert stored.headers["etag"] != plain.headers["etag"]


async def test_a_slice_that_comes_again_is_listed_counted_and_sent_once(
    storage: Running, viewer: httpx2.AsyncClient, pack: Pack, image: Image
) -> None:
    again = [image("CT_small.dcm", 1, series=1, number=number, SeriesDescription="later") for number in (3, 4)]
    await deliver(storage[0], await pack(storage[0], again, batch=2))
    (study,) = (await viewer.get("/dicom-web/studies")).json()
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([4], [7])
    (series,) = (await viewer.get("/dicom-web/studies/2.25.1/series?SeriesInstanceUID=2.25.1.1")).json()
    assert series["00201209"]["Value"] == [4]
    expected = ["2.25.1.1.1", "2.25.1.1.2", "2.25.1.1.3", "2.25.1.1.4"]
    listed = (await viewer.get(f"{SERIES}/instances")).json()
    assert [each["00080018"]["Value"][0] for each in listed] == expected
    described = (await viewer.get(f"{SERIES}/metadata")).json()
    assert sorted(each["00080018"]["Value"][0] for each in described) == expected
    (third,) = [each for each in described if each["00080018"]["Value"] == ["2.25.1.1.3"]]
    assert third["0008103E"]["Value"] == ["later"], "the later one is the one that holds"
    assert (await viewer.get(SERIES)).content.count(b"Content-Type: application/dicom;") == 4


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_answers_in_json_are_compressed_for_those_who_take_it(viewer: httpx2.AsyncClient) -> None:
    for resource in (f"{SERIES}/instances", "/dicom-web/studies/2.25.1/metadata", f"{SERIES}/metadata"):
        plain = await viewer.get(resource, headers={"Accept-Encoding": "identity"})
        packed = await viewer.get(resource, headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.json() == plain.json() != []
        assert "Accept-Encoding" in packed.headers["vary"]


async def test_all_fields_of_a_slice_can_be_asked_for(viewer: httpx2.AsyncClient) -> None:
    (plain, *_) = (await viewer.get(f"{SERIES}/instances")).json()
    (wide, *_) = (await viewer.get(f"{SERIES}/instances?includefield=SliceThickness,KVP")).json()
    (whole, *_) = (await viewer.get(f"{SERIES}/instances?includefield=all")).json()
    assert "00180050" not in plain
    assert (wide["00180050"]["Value"], wide["00180060"]["Value"]) == ([5.0], [120.0])
    assert "00281053" in whole


# ── other forms ──────────────────────────────────────────────────────────────────────────────────────


async def test_a_big_endian_mr_is_sent_little_endian_to_a_viewer_that_demands_it(viewer: httpx2.AsyncClient) -> None:
    expected = dcmread(TEST_FILES / "MR_small.dcm").pixel_array
    form = f"transfer-syntax={EXPLICIT}"
    whole = await viewer.get(path(2), headers={"Accept": f"application/dicom; {form}"})
    assert whole.headers["content-type"] == f"application/dicom; {form}"
    assert np.array_equal(dcmread(io.BytesIO(whole.content)).pixel_array, expected)
    frame = await viewer.get(f"{path(2)}/frames/1", headers={"Accept": "application/octet-stream"})
    assert np.array_equal(np.frombuffer(frame.content, "<i2").reshape(64, 64), expected)


async def test_what_cannot_be_decoded_here_is_406_and_says_what_there_is(viewer: httpx2.AsyncClient) -> None:
    for resource, accept in (
        (path(3), f"application/dicom; transfer-syntax={EXPLICIT}"),
        (f"{path(3)}/frames/1", "application/octet-stream"),
    ):
        answer = await viewer.get(resource, headers={"Accept": accept})
        assert answer.status_code == 406
        assert EXTENDED in answer.json()["detail"]
    stored = await viewer.get(path(3), headers={"Accept": "application/dicom"})
    assert dcmread(io.BytesIO(stored.content)).file_meta.TransferSyntaxUID == EXTENDED
    assert (await viewer.get(f"{path(3)}/rendered")).status_code == 406


@pytest.mark.parametrize(
    ("resource", "size"),
    [
        ("/dicom-web/studies/2.25.1/thumbnail", (128, 128)),
        (f"{SERIES}/thumbnail?viewport=64,64", (64, 64)),
        (f"{FIRST}/thumbnail", (128, 128)),
        (f"{FIRST}/frames/1/thumbnail?viewport=200,100", (100, 100)),
        (f"{FIRST}/rendered?viewport=50,100&window=40,400&quality=50", (50, 50)),
        (f"{FIRST}/rendered?viewport=40,20,10,10,40,20", (40, 20)),
    ],
)
async def test_pictures_come_in_the_size_that_is_asked_for(
    viewer: httpx2.AsyncClient, resource: str, size: tuple[int, int]
) -> None:
    for media_type in ("image/png", "image/jpeg"):
        answer = await viewer.get(resource, headers={"Accept": media_type})
        assert answer.headers["content-type"] == media_type
        assert Picture.open(io.BytesIO(answer.content)).size == size


async def test_a_report_has_no_thumbnail(viewer: httpx2.AsyncClient) -> None:
    answer = await viewer.get("/dicom-web/studies/2.25.1/series/2.25.1.4/thumbnail")
    assert answer.status_code == 406


async def test_bulk_data_is_read_by_tag(viewer: httpx2.AsyncClient) -> None:
    ct = dcmread(TEST_FILES / "CT_small.dcm")
    one = {"Accept": "application/octet-stream"}
    assert (await viewer.get(f"{FIRST}/bulkdata/7FE00010", headers=one)).content == ct.PixelData
    big = await viewer.get(f"{path(2)}/bulkdata/7FE00010", headers=one)
    assert np.array_equal(np.frombuffer(big.content, "<i2"), dcmread(TEST_FILES / "MR_small.dcm").pixel_array.ravel())
    assert (await viewer.get(f"{path(2)}/frames/2")).status_code == 404
    assert (await viewer.get(f"{path(4)}/bulkdata/7FE00010")).status_code == 404
    (private,) = [each for each in ct if each.tag == 0x00431029]
    assert (await viewer.get(f"{FIRST}/bulkdata/00431029", headers=one)).content == private.value
    for missing in ("00282000", "00080018", "nothing", "00081140.9.00081150", "00081140.1"):
        assert (await viewer.get(f"{FIRST}/bulkdata/{missing}")).status_code == 404, missing


WADO = "/dicom-web/wado?requestType=WADO&studyUID=2.25.1&seriesUID=2.25.1.1&objectUID=2.25.1.1.1"


async def test_old_viewers_read_by_wado_uri(viewer: httpx2.AsyncClient) -> None:
    picture = await viewer.get(f"{WADO}&rows=64&windowCenter=40&windowWidth=400")
    assert picture.headers["content-type"] == "image/jpeg"
    assert Picture.open(io.BytesIO(picture.content)).size == (64, 64)
    whole = await viewer.get(f"{WADO}&contentType=application/dicom")
    assert dcmread(io.BytesIO(whole.content)).SOPInstanceUID == "2.25.1.1.1"
    assert (await viewer.get(WADO.replace("=WADO", "=STORE"))).status_code == 400
    assert (await viewer.get(f"{WADO}&contentType=video/mpeg")).status_code == 406
    assert (await viewer.get(f"{WADO}9")).status_code == 404


# ── what is gone or broken ───────────────────────────────────────────────────────────────────────────

LOST = {
    "0001.pack": (SERIES, FIRST, f"{FIRST}/frames/1", f"{FIRST}/rendered"),
    "0001.json.gz": (f"{SERIES}/metadata", f"{FIRST}/metadata", f"{SERIES}/instances"),
    "manifest.json": (SERIES, FIRST, f"{FIRST}/metadata"),
}


@pytest.mark.parametrize("name", LOST)
@pytest.mark.parametrize("broken", [False, True])
async def test_an_object_that_is_missing_or_broken_is_a_fault_here_and_no_404(
    pack: Pack,
    image: Image,
    tmp_path: Path,
    name: str,
    broken: bool,  # noqa: FBT001  the two ways of losing it
) -> None:
    async with running(SERVICE, tmp_path) as (runtime, _):
        await deliver(runtime, await pack(runtime, [image("CT_small.dcm", 1)]))
    lost = tmp_path / "deidentified" / "objects" / "st-1" / "000001" / name
    lost.write_bytes(b"\x1f\x8b broken") if broken else lost.unlink()
    async with running(SERVICE, tmp_path) as (runtime, _), client(runtime, Role.ASSISTANT) as reader:
        for resource in LOST[name]:
            plain = {"Accept-Encoding": "identity"}
            answer = await reader.get(resource, headers=plain)
            assert answer.status_code == 500, resource
            assert "study st-1" in answer.json()["detail"]


# ── browsers ─────────────────────────────────────────────────────────────────────────────────────────

PREFLIGHT = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}


async def test_only_configured_viewers_may_read_from_a_browser(tmp_path: Path) -> None:
    good, bad = {"Origin": "https://viewer.example"}, {"Origin": "https://evil.example"}
    async with (
        running(SERVICE, tmp_path, viewer_origins=("https://viewer.example",)) as (runtime, _),
        client(runtime, Role.ASSISTANT) as browser,
    ):
        asked = await browser.options("/dicom-web/studies", headers=good | PREFLIGHT)
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, "https://viewer.example")
        answer = await browser.get("/dicom-web/studies", headers=good)
        assert answer.headers["access-control-allow-origin"] == "https://viewer.example"
        assert "ETag" in answer.headers["access-control-expose-headers"]
        refused = await browser.get("/dicom-web/studies?Shoe=44", headers=good)
        assert refused.headers["access-control-allow-origin"] == "https://viewer.example", "its reason can be read"
        assert (await browser.options("/dicom-web/studies", headers=bad | PREFLIGHT)).status_code == 400
        assert "access-control-allow-origin" not in (await browser.get("/dicom-web/studies", headers=bad)).headers


async def test_without_configured_viewers_no_browser_may(viewer: httpx2.AsyncClient) -> None:
    answer = await viewer.get("/dicom-web/studies", headers={"Origin": "https://viewer.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_an_array_of_metadata_is_cut_apart_where_its_objects_end_whatever_is_inside_them() -> None:
    texts = [{"a": '},{ \\ " ]'}, {"ü": [1, {"b": []}]}]
    packed = gzip.compress((" " + json.dumps(texts, ensure_ascii=False, indent=1)).encode())
    assert [json.loads(each) for each in elements(packed)] == texts
    assert elements(gzip.compress(b"[]")) == ()
