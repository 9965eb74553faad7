"""Resumable uploads, as weak links make them: in pieces, broken off, with wrong bits; by a tus client, too."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from pydicom.uid import CTImageStorage
from tusclient.client import TusClient

from radrelay_ingest.domain.uploads import Outcome, Upload
from radrelay_ingest.uploads.archive import MAX_DIRECTORY
from radrelay_shared.events import StudyReceived
from radrelay_shared.packs import read_instance, read_manifest
from radrelay_shared.security import Role
from radrelay_shared.testing import served, until

Door = Callable[..., AbstractAsyncContextManager[Any]]
Slice = Callable[..., bytes]

UPLOADS = "/ingest/uploads"
TUS = {"Tus-Resumable": "1.0.0"}
STREAM = TUS | {"Content-Type": "application/offset+octet-stream"}


def zipped(**files: bytes) -> bytes:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return archive.getvalue()


def checksum(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"


async def begun(machine: Any, length: int, **headers: str) -> str:
    answer = await machine.post(UPLOADS, headers=TUS | {"Upload-Length": str(length)} | headers)
    assert answer.status_code == 201
    place: str = answer.headers["location"]
    return place


async def patched(machine: Any, place: str, offset: int, content: Any, **headers: str) -> Any:
    return await machine.patch(place, content=content, headers=STREAM | {"Upload-Offset": str(offset)} | headers)


async def offset_of(machine: Any, place: str) -> int:
    answer = await machine.head(place, headers=TUS)
    assert answer.headers["cache-control"] == "no-store"
    return int(answer.headers["upload-offset"])


async def done(machine: Any, place: str) -> Any:
    async def found() -> Any:
        answer = (await machine.get(place)).json()
        return answer["state"] == "done" and answer

    return await until(found)


async def sent(machine: Any, content: bytes) -> Any:
    """What became of this upload, sent in one piece."""
    place = await begun(machine, len(content))
    assert (await patched(machine, place, 0, content)).status_code == 204
    return await done(machine, place)


async def test_a_zip_that_a_tus_client_sends_in_pieces_becomes_a_study(open_door: Door, ct_slice: Slice) -> None:
    slices = [ct_slice(number) for number in (1, 2, 3)]
    content = zipped(**{f"DOE^JANE/{number}": each for number, each in enumerate(slices)})
    async with open_door() as door, served(door.runtime) as address, door.as_(Role.SITE, "bozeman") as machine:
        key = {"Authorization": machine.headers["authorization"]}
        uploader = TusClient(f"{address}{UPLOADS}", headers=key).async_uploader(
            file_stream=BytesIO(content), chunk_size=10_000, metadata={"filename": "DOE^JANE.zip"}, upload_checksum=True
        )
        await uploader.upload()
        outcome = await done(machine, str(uploader.url).removeprefix(address))
        [received] = await door.told(StudyReceived)
        manifest = await read_manifest(door.context.originals, received.manifest)
        [series] = manifest.series
        assert [await read_instance(door.context.originals, series, each) for each in series.instances] == slices
        assert (outcome["stored"], outcome["failed"], outcome["studies"]) == (3, 0, [received.study])


async def test_an_upload_goes_on_after_a_restart_where_it_was(open_door: Door, ct_slice: Slice) -> None:
    content = ct_slice()
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        place = await begun(machine, len(content))
        assert (await patched(machine, place, 0, content[:20_000])).headers["upload-offset"] == "20000"
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        assert await offset_of(machine, place) == 20_000
        assert (await patched(machine, place, 20_000, content[20_000:])).status_code == 204
        assert (await done(machine, place))["stored"] == 1


async def test_what_came_of_a_request_that_broke_off_is_kept(open_door: Door) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await asyncio.sleep(60)

    async with open_door(stow_timeout=0.1) as door, door.as_(Role.SITE, "bozeman") as machine:
        place = await begun(machine, 5000)
        answer = await patched(machine, place, 0, stalling())
        assert (answer.status_code, answer.json()["detail"]) == (408, "the body broke off; 1000 bytes are kept")
        assert await offset_of(machine, place) == 1000
        promised = {"Upload-Checksum": checksum(b"x" * 2000)}
        assert (await patched(machine, place, 1000, stalling(), **promised)).status_code == 460
        assert await offset_of(machine, place) == 1000


async def test_an_upload_that_was_whole_at_a_crash_is_unpacked_after_it(open_door: Door, ct_slice: Slice) -> None:
    content = ct_slice()
    async with open_door(max_instance_bytes=4 << 30) as door, door.as_(Role.SITE, "bozeman") as machine:
        place = await begun(machine, len(content))
        door.context.uploading.add(place.rpartition("/")[2])  # nobody gets to unpack it
        upload = door.context.uploads.get(place.rpartition("/")[2])
        door.context.uploads.content(upload).write_bytes(content)
        door.context.uploads.save(upload.model_copy(update={"offset": len(content)}))
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        assert (await done(machine, place))["stored"] == 1
        assert len(await door.told(StudyReceived)) == 1


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_a_piece_with_a_wrong_checksum_does_not_count(open_door: Door, algorithm: str) -> None:
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        place = await begun(machine, 10)
        wrong = await patched(machine, place, 0, b"flip", **{"Upload-Checksum": checksum(b"flop", algorithm)})
        assert (wrong.status_code, await offset_of(machine, place)) == (460, 0)
        right = await patched(machine, place, 0, b"flop", **{"Upload-Checksum": checksum(b"flop", algorithm)})
        assert (right.status_code, await offset_of(machine, place)) == (204, 4)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Offset": "7"}, 409),
        ({"Upload-Offset": "-1"}, 422),
        ({"Content-Type": "application/dicom"}, 415),
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Upload-Checksum": "md5 1B2M2Y8AsgTpgAmY7PhCfg=="}, 422),
        ({"Upload-Checksum": "sha1 not-base64"}, 422),
    ],
    ids=["another offset", "no offset", "another type", "another version", "unknown algorithm", "no digest"],
)
async def test_a_piece_that_breaks_the_protocol_is_refused(
    open_door: Door, headers: dict[str, str], status: int
) -> None:
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        place = await begun(machine, 10)
        answer = await patched(machine, place, 0, b"bytes", **headers)
        assert (answer.status_code, answer.headers["tus-resumable"]) == (status, "1.0.0")
        assert answer.headers["content-type"] == "application/problem+json"
        assert await offset_of(machine, place) == 0


async def test_more_than_was_announced_is_refused_and_nothing_of_it_counts(open_door: Door) -> None:
    async with open_door(max_upload_bytes=100) as door, door.as_(Role.SITE, "bozeman") as machine:
        place = await begun(machine, 10)
        assert (await patched(machine, place, 0, b"eleven byte")).status_code == 413
        assert await offset_of(machine, place) == 0
        too_large = await machine.post(UPLOADS, headers=TUS | {"Upload-Length": "101"})
        assert too_large.status_code == 413


async def test_an_upload_that_the_disk_cannot_hold_is_put_off(open_door: Door) -> None:
    async with open_door(max_upload_bytes=1 << 60) as door, door.as_(Role.SITE, "bozeman") as machine:
        answer = await machine.post(UPLOADS, headers=TUS | {"Upload-Length": str(1 << 59)})
        assert (answer.status_code, answer.headers["retry-after"]) == (507, "5")


async def test_two_requests_at_once_do_not_write_one_upload(open_door: Door) -> None:
    started, refused = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"first"
        started.set()
        await refused.wait()
        yield b"-part"

    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        place = await begun(machine, 100)
        first = asyncio.create_task(patched(machine, place, 0, slow()))
        await started.wait()
        assert (await patched(machine, place, 0, b"other")).status_code == 423
        refused.set()
        assert (await first).headers["upload-offset"] == "10"


async def test_another_clinic_sees_no_upload_of_this_one(open_door: Door) -> None:
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as mine, door.as_(Role.SITE, "hamburg") as other:
        place = await begun(mine, 10)
        assert (await other.head(place, headers=TUS)).status_code == 404
        assert (await patched(other, place, 0, b"bytes")).status_code == 404
        assert (await other.delete(place, headers=TUS)).status_code == 404
        assert (await mine.delete(place, headers=TUS)).status_code == 204
        assert (await mine.head(place, headers=TUS)).status_code == 404


@pytest.mark.parametrize(
    ("offset", "outcome", "minutes", "due"),
    [
        (0, None, 1, False),  # its first piece is on its way
        (40, None, 1, False),
        (40, None, 0, True),
        (100, None, 1, True),
        (100, Outcome(stored=1), 1, False),
        (100, Outcome(stored=1), 0, True),
    ],
)
def test_the_sweep_leaves_an_upload_under_way_to_whoever_writes_it(
    *, offset: int, outcome: Outcome | None, minutes: int, due: bool
) -> None:
    now = datetime(2026, 11, 25, 8, tzinfo=UTC)
    expires_at = now + timedelta(minutes=minutes)
    upload = Upload(id="up-1", site="bozeman", length=100, offset=offset, expires_at=expires_at, outcome=outcome)
    assert upload.due(now) is due


async def test_an_upload_of_no_bytes_is_done_at_once(open_door: Door) -> None:
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        answer = await machine.post(UPLOADS, headers=STREAM | {"Upload-Length": "0"})
        assert answer.status_code == 201
        assert (await done(machine, answer.headers["location"]))["stored"] == 0


async def test_an_unfinished_upload_is_forgotten_once_it_has_expired(open_door: Door) -> None:
    async with open_door(upload_sweep_seconds=0.05) as door, door.as_(Role.SITE, "bozeman") as machine:
        place = await begun(machine, 10)
        answer = await machine.head(place, headers=TUS)
        expires = datetime.strptime(answer.headers["upload-expires"], "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC)
        assert expires > datetime.now(UTC) + timedelta(days=6)
        upload = door.context.uploads.get(place.rpartition("/")[2])
        door.context.uploads.save(upload.model_copy(update={"expires_at": datetime.now(UTC)}))

        async def gone() -> bool:
            return bool((await machine.head(place, headers=TUS)).status_code == 404)

        await until(gone)


async def test_files_that_are_no_instances_are_named_by_their_place_alone(open_door: Door, ct_slice: Slice) -> None:
    content = zipped(readme=b"DOE^JANE", DICOMDIR=b"index", slice=ct_slice(), cut=ct_slice(2)[:-100])
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        outcome = await sent(machine, content)
        assert (outcome["stored"], outcome["failed"]) == (1, 2)
        assert [each["entry"] for each in outcome["failures"]] == [1, 4]
        assert outcome["failures"][0]["reason"].startswith("not a DICOM file")
        assert outcome["failures"][1]["reason"].startswith("truncated")
        assert "DOE" not in str(outcome)


async def test_a_single_dicom_file_needs_no_zip(open_door: Door, ct_slice: Slice) -> None:
    content = ct_slice()
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        headers = STREAM | {"Upload-Length": str(len(content))}
        answer = await machine.post(UPLOADS, content=content, headers=headers)  # creation with upload
        assert (answer.status_code, answer.headers["upload-offset"]) == (201, str(len(content)))
        assert (await done(machine, answer.headers["location"]))["stored"] == 1
        [received] = await door.told(StudyReceived)
        manifest = await read_manifest(door.context.originals, received.manifest)
        assert manifest.series[0].instances[0].sop_class_uid == CTImageStorage


def crowded() -> bytes:
    """A zip that says its central directory is larger than any that is read."""
    return b"PK\x03\x04" + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 65535, 65535, MAX_DIRECTORY + 1, 0, 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (zipped(bomb=bytes(100 << 20)), "the zip unpacks to more than 100 times its size; send it in parts"),
        (crowded(), "the zip has too many files; send it in parts"),
        (b"PK\x03\x04" + b"junk" * 100, "the zip, or this file in it, is damaged"),
    ],
    ids=["a bomb", "a crowd", "rubbish"],
)
async def test_a_hostile_zip_is_refused_before_it_is_unpacked(open_door: Door, content: bytes, reason: str) -> None:
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        outcome = await sent(machine, content)
        assert (outcome["stored"], [each["reason"] for each in outcome["failures"]]) == (0, [reason])


async def test_what_is_spoken_here_is_told_before_anything_is_sent(open_door: Door) -> None:
    async with open_door(max_upload_bytes=1000) as door, door.as_(Role.SITE, "bozeman") as machine:
        answer = await machine.options(UPLOADS)
        assert (answer.status_code, answer.headers["tus-version"]) == (204, "1.0.0")
        assert answer.headers["tus-max-size"] == "1000"
        assert "checksum" in answer.headers["tus-extension"]
        assert "sha1" in answer.headers["tus-checksum-algorithm"]
