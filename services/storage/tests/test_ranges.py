"""Parts of what viewers fetch: RFC 9110 §14, over every resource that is one run of bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from pydicom.dataset import Dataset

from radrelay_shared.events import StudyAnonymized
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import Downstream, client, deliver

Running = tuple[Runtime, Downstream]
Pack = Callable[..., Awaitable[StudyAnonymized]]
Image = Callable[..., Dataset]
SLICE = "/dicom-web/studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1"
WADO = "/dicom-web/wado?requestType=WADO&studyUID=2.25.1&seriesUID=2.25.1.1&objectUID=2.25.1.1.1"
FRAME = 128 * 128 * 2  # bytes of CT_small's one frame
EXACT = {  # resources whose bytes are those that are stored
    "the whole instance": (SLICE, "application/dicom"),
    "the whole instance over WADO-URI": (WADO + "&contentType=application/dicom", "*/*"),
    "a frame": (SLICE + "/frames/1", "application/octet-stream"),
    "pixel data as bulk data": (SLICE + "/bulkdata/7FE00010", "application/octet-stream"),
    "a private element as bulk data": (SLICE + "/bulkdata/00431029", "application/octet-stream"),
}
MADE = {  # others, made anew each time
    "a rendered picture": (SLICE + "/rendered", "image/png"),
    "a thumbnail": (SLICE + "/thumbnail", "image/jpeg"),
    "a transcoded instance": (SLICE, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
}


@pytest.mark.parametrize(("path", "accept"), (EXACT | MADE).values(), ids=(EXACT | MADE))
async def test_a_viewer_fetches_the_middle_and_the_end_of(
    storage: Running, pack: Pack, image: Image, path: str, accept: str
) -> None:
    name = "MR_small_bigendian.dcm" if "transfer-syntax" in accept else "CT_small.dcm"
    await deliver(storage[0], await pack(storage[0], [image(name, 1)]))
    async with client(storage[0], Role.ASSISTANT) as viewer:
        whole = await viewer.get(path, headers={"Accept": accept})
        assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")
        length = len(whole.content)
        assert whole.headers["content-length"] == str(length)
        for wanted, first, last in (("bytes=0-0", 0, 0), ("bytes=2-5", 2, 5), ("bytes=-3", length - 3, length - 1)):
            part = await viewer.get(path, headers={"Accept": accept, "Range": wanted})
            assert part.status_code == 206
            assert part.headers["content-range"] == f"bytes {first}-{last}/{length}"
            assert part.content == whole.content[first : last + 1]
            assert part.headers["content-type"] == whole.headers["content-type"]
            assert part.headers["etag"] == whole.headers["etag"]


@pytest.mark.parametrize(
    ("wanted", "status", "content_range", "length"),
    [
        ("bytes=0-", 206, f"bytes 0-{FRAME - 1}/{FRAME}", FRAME),
        ("BYTES=10-19", 206, f"bytes 10-19/{FRAME}", 10),
        ("bytes=32767-99999", 206, f"bytes 32767-32767/{FRAME}", 1),
        ("bytes=-99999", 206, f"bytes 0-{FRAME - 1}/{FRAME}", FRAME),
        ("bytes=32768-", 416, f"bytes */{FRAME}", None),
        ("bytes=99999-100000", 416, f"bytes */{FRAME}", None),
        ("bytes=-0", 416, f"bytes */{FRAME}", None),
        ("bytes=0-1,5-6", 200, None, FRAME),
        ("bytes=5-2", 200, None, FRAME),
        ("bytes=", 200, None, FRAME),
        ("bytes=-", 200, None, FRAME),
        ("bytes=one-two", 200, None, FRAME),
        ("frames=1-2", 200, None, FRAME),
        (f"bytes={'9' * 40}-", 200, None, FRAME),
    ],
)
async def test_what_a_range_header_gets_of_a_frame(
    storage: Running, pack: Pack, image: Image, wanted: str, status: int, content_range: str | None, length: int | None
) -> None:
    await deliver(storage[0], await pack(storage[0], [image("CT_small.dcm", 1)]))
    headers = {"Accept": "application/octet-stream", "Range": wanted}
    async with client(storage[0], Role.ASSISTANT) as viewer:
        answer = await viewer.get(SLICE + "/frames/1", headers=headers)
    assert (answer.status_code, answer.headers.get("content-range")) == (status, content_range)
    if length is None:
        assert answer.headers["content-type"] == "application/problem+json"
    else:
        assert len(answer.content) == length


@pytest.mark.parametrize(("path", "accept"), EXACT.values(), ids=EXACT)
async def test_a_broken_off_download_goes_on_only_with_the_same_bytes(
    storage: Running, pack: Pack, image: Image, path: str, accept: str
) -> None:
    await deliver(storage[0], await pack(storage[0], [image("CT_small.dcm", 1)]))
    async with client(storage[0], Role.ASSISTANT) as viewer:
        tag = (await viewer.get(path, headers={"Accept": accept})).headers["etag"]
        assert not tag.startswith("W/")
        date = "Sun, 01 Mar 2026 08:00:00 GMT"
        for known, status in ((tag, 206), ('"another"', 200), (f"W/{tag}", 200), (date, 200)):
            headers = {"Accept": accept, "Range": "bytes=4-", "If-Range": known}
            assert (await viewer.get(path, headers=headers)).status_code == status
        held = {"Accept": accept, "Range": "bytes=4-", "If-None-Match": tag}
        assert (await viewer.get(path, headers=held)).status_code == 304


@pytest.mark.parametrize(("path", "accept"), MADE.values(), ids=MADE)
async def test_no_download_goes_on_with_what_may_be_made_differently(
    storage: Running, pack: Pack, image: Image, path: str, accept: str
) -> None:
    name = "MR_small_bigendian.dcm" if "transfer-syntax" in accept else "CT_small.dcm"
    await deliver(storage[0], await pack(storage[0], [image(name, 1)]))
    async with client(storage[0], Role.ASSISTANT) as viewer:
        tag = (await viewer.get(path, headers={"Accept": accept})).headers["etag"]
        headers = {"Accept": accept, "Range": "bytes=4-", "If-Range": tag}
        assert (tag[:2], (await viewer.get(path, headers=headers)).status_code) == ("W/", 200)


async def test_an_answer_in_parts_is_sent_whole(storage: Running, pack: Pack, image: Image) -> None:
    await deliver(storage[0], await pack(storage[0], [image("CT_small.dcm", 1)]))
    headers = {"Accept": 'multipart/related; type="application/dicom"', "Range": "bytes=0-9"}
    async with client(storage[0], Role.ASSISTANT) as viewer:
        answer = await viewer.get(SLICE, headers=headers)
    assert answer.status_code == 200
    assert "accept-ranges" not in answer.headers
    assert len(answer.content) > FRAME


async def test_a_frame_that_is_at_hand_says_of_itself_what_it_said_before(
    storage: Running, pack: Pack, image: Image
) -> None:
    await deliver(storage[0], await pack(storage[0], [image("CT_small.dcm", 1)]))
    async with client(storage[0], Role.ASSISTANT) as viewer:
        first, *others = [
            await viewer.get(SLICE + "/frames/1", headers={"Accept": "application/octet-stream"}) for _ in range(5)
        ]
        assert "accept-ranges" in first.headers
        assert [(dict(each.headers), each.content) for each in others] == [(dict(first.headers), first.content)] * 4
