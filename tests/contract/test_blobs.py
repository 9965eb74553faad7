"""Every promise of the `Blobs` port, over every adapter. The file system's and S3's own failures come at the end."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr

from radrelay_shared.adapters.files import FileBlobs
from radrelay_shared.adapters.s3 import S3Blobs
from radrelay_shared.connect import connect_blobs
from radrelay_shared.errors import Conflict, Full, Invalid, NotFound, RadRelayError, Refused, Unreachable
from radrelay_shared.ports import Blobs
from servers import free_ports
from servers.seaweedfs import SeaweedFS

MIB = 1 << 20
GIVEN_URL = os.environ.get("RADRELAY_TEST_S3_URL", "")  # its bucket's name begins those of the tests' buckets
GIVEN_KEYS = (
    os.environ.get("RADRELAY_TEST_S3_ACCESS_KEY", ""),
    os.environ.get("RADRELAY_TEST_S3_SECRET_KEY", ""),
)
ADAPTERS = [
    "files",
    pytest.param("seaweedfs", marks=pytest.mark.external),
    *([pytest.param("given", marks=pytest.mark.external)] if GIVEN_URL else []),
]

Place = tuple[str, str, str]  # URL, access key, secret key
Open = Callable[..., Awaitable[Blobs]]


@pytest.fixture(params=ADAPTERS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store of the test's own."""
    if request.param == "files":
        return f"file:///{tmp_path}/blobs", "", ""
    if request.param == "seaweedfs":
        server: SeaweedFS = request.getfixturevalue("seaweedfs")
        return server.url(f"test-{uuid4().hex}"), server.access_key, server.secret_key
    given = urlsplit(GIVEN_URL)
    return given._replace(path=f"{given.path}-{uuid4().hex[:12]}").geturl(), *GIVEN_KEYS


@pytest.fixture
async def opened(place: Place) -> AsyncIterator[Open]:
    """Open one more instance on the same store, as another process would."""
    url, access_key, secret_key = place
    async with AsyncExitStack() as stack:

        async def one_more(*, lock: bool = False) -> Blobs:
            blobs = await connect_blobs(url, SecretStr(access_key), SecretStr(secret_key))
            stack.push_async_callback(blobs.close)
            if isinstance(blobs, S3Blobs):
                await blobs.ensure_bucket(lock=lock)
            return blobs

        yield one_more
        blobs = await one_more()
        with suppress(Refused):  # what is retained stays, and its bucket
            for key in await keys(blobs):
                await blobs.delete(key)
            if isinstance(blobs, S3Blobs):
                blobs._client.remove_bucket(blobs._bucket)


@pytest.fixture
async def blobs(opened: Open) -> Blobs:
    return await opened()


async def keys(blobs: Blobs, prefix: str = "") -> list[str]:
    return [info.key async for info in blobs.list(prefix)]


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def failing_after(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise ConnectionResetError("the modality hung up")


async def gathered(blobs: Blobs, key: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join([piece async for piece in blobs.stream(key, start=start, length=length)])


async def poured(blobs: Blobs, key: str, start: int = 0, length: int | None = None) -> bytes:
    found: list[bytes] = []
    await blobs.pour(key, found.append, start=start, length=length)
    assert all(0 < len(piece) <= MIB for piece in found)
    return b"".join(found)


# ── put and read ─────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_put_is_read_back(blobs: Blobs) -> None:
    assert await blobs.put("study/000001/0001.pack", b"two slices") == 10
    assert await blobs.read("study/000001/0001.pack") == b"two slices"
    assert await gathered(blobs, "study/000001/0001.pack") == b"two slices"


async def test_a_streamed_source_is_stored_whole_and_its_size_returned(blobs: Blobs) -> None:
    assert await blobs.put("ct.pack", pieces(b"slice 1,", b"", b"slice 2")) == 15
    assert await blobs.read("ct.pack") == b"slice 1,slice 2"


async def test_an_empty_object_exists(blobs: Blobs) -> None:
    assert await blobs.put("empty", b"") == 0
    assert await blobs.put("empty-stream", pieces()) == 0
    assert await blobs.read("empty") == b""
    assert await gathered(blobs, "empty", start=3) == b""
    assert [info.size async for info in blobs.list()] == [0, 0]


@pytest.mark.parametrize("size", [8 * MIB, 8 * MIB + 1, 17 * MIB])
async def test_a_source_on_and_over_a_part_boundary_is_stored_whole(blobs: Blobs, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"!" * (size % 256)
    assert await blobs.put("mr.pack", pieces(content[:MIB], content[MIB:])) == size
    assert await blobs.read("mr.pack") == content


async def test_eighty_mebibytes_stream_in_and_out_through_bounded_memory(blobs: Blobs) -> None:
    piece = bytes(MIB // 4)

    async def source() -> AsyncIterator[bytes]:
        for _ in range(320):
            yield piece

    tracemalloc.start()
    try:
        assert await blobs.put("us.pack", source()) == 80 * MIB
        sizes = [len(read) async for read in blobs.stream("us.pack")]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 80 * MIB
    assert max(sizes) <= MIB
    assert peak < 32 * MIB  # three parts, and what is between


async def test_a_source_that_fails_leaves_nothing_behind(blobs: Blobs) -> None:
    for parts in ([], [b"half a slice"], [bytes(8 * MIB), bytes(3 * MIB)]):
        with pytest.raises(ConnectionResetError):
            await blobs.put("study/broken.pack", failing_after(*parts))
    assert await blobs.stat("study/broken.pack") is None
    assert await keys(blobs) == []


async def test_a_source_that_fails_leaves_the_earlier_object_as_it_was(blobs: Blobs) -> None:
    await blobs.put("ct.pack", b"whole")
    with pytest.raises(ConnectionResetError):
        await blobs.put("ct.pack", failing_after(b"ha"))
    assert await blobs.read("ct.pack") == b"whole"


async def test_a_cancelled_put_leaves_nothing_behind(blobs: Blobs) -> None:
    reached = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield bytes(9 * MIB)
        reached.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(blobs.put("ct.pack", stalling()))
    await asyncio.wait_for(reached.wait(), 100)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert await keys(blobs) == []


async def test_readers_see_the_old_object_or_the_new_one_while_it_is_overwritten(blobs: Blobs) -> None:
    old, new = b"o" * MIB, b"n" * (MIB + 1)
    await blobs.put("report", old)
    seen = set()

    async def read_on() -> None:
        while True:
            seen.add(await blobs.read("report"))

    readers = [asyncio.create_task(read_on()) for _ in range(3)]
    for content in (new, old) * 5:
        await blobs.put("report", content)
    for reader in readers:
        reader.cancel()
    results = await asyncio.gather(*readers, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert seen <= {old, new}


async def test_objects_survive_reopening(opened: Open) -> None:
    before = await opened()
    await before.put("study/a", b"kept")
    await before.close()
    assert await (await opened()).read("study/a") == b"kept"


# ── conditional put ──────────────────────────────────────────────────────────────────────────────────


async def test_a_conditional_put_of_an_existing_key_conflicts_and_changes_nothing(blobs: Blobs) -> None:
    assert await blobs.put("order", b"first", if_absent=True) == 5
    for second in (b"second", pieces(bytes(9 * MIB))):
        with pytest.raises(Conflict):
            await blobs.put("order", second, if_absent=True)
    assert await blobs.read("order") == b"first"


@pytest.mark.parametrize(("racers", "padding"), [(8, 0), (3, 9 * MIB)])
async def test_one_of_several_racers_wins_the_key(
    request: pytest.FixtureRequest, opened: Open, racers: int, padding: int
) -> None:
    instances = [await opened() for _ in range(racers)]

    async def race(number: int) -> int | None:
        try:
            await instances[number].put("race", pieces(b"%d" % number, bytes(padding)), if_absent=True)
        except Conflict:
            return None
        return number

    winners = [number for number in await asyncio.gather(*map(race, range(racers))) if number is not None]
    content = int(await instances[0].read("race", length=1))
    if padding and request.node.callspec.params["place"] == "seaweedfs":
        assert content in winners  # it looks before it completes an upload: who comes at that moment wins, too
    else:
        assert winners == [content]


# ── ranges ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 4, b"0123"),
        (3, 4, b"3456"),
        (7, None, b"789"),
        (8, 100, b"89"),
        (0, 0, b""),
        (5, 0, b""),
        (10, None, b""),
        (1000, 5, b""),
    ],
)
async def test_a_range_gives_what_there_is(blobs: Blobs, start: int, length: int | None, expected: bytes) -> None:
    await blobs.put("pack", b"0123456789")
    assert await blobs.read("pack", start=start, length=length) == expected
    assert await gathered(blobs, "pack", start, length) == expected
    assert await poured(blobs, "pack", start, length) == expected


async def test_a_frame_is_read_across_the_pieces_it_lies_in(blobs: Blobs) -> None:
    content = bytes(range(256)) * (3 * MIB // 256)
    await blobs.put("pack", content)
    sizes = [len(piece) async for piece in blobs.stream("pack", start=5, length=2 * MIB + 7)]
    assert max(sizes) <= MIB
    assert await gathered(blobs, "pack", 5, 2 * MIB + 7) == content[5 : 2 * MIB + 12]
    assert await poured(blobs, "pack", 5, 2 * MIB + 7) == content[5 : 2 * MIB + 12]


@pytest.mark.parametrize("error", [OSError(28, "no space left on the reader's disk"), ValueError("not wanted")])
async def test_whoever_takes_the_bytes_ends_the_reading_with_an_error_of_its_own(
    blobs: Blobs, error: Exception
) -> None:
    await blobs.put("pack", bytes(3 * MIB))
    taken: list[int] = []

    def take(piece: bytes) -> None:
        taken.append(len(piece))
        raise error

    with pytest.raises(type(error)) as raised:
        await blobs.pour("pack", take)
    assert raised.value is error
    assert len(taken) == 1


async def test_a_range_before_the_object_is_invalid(blobs: Blobs) -> None:
    await blobs.put("pack", b"0123456789")
    for start, length in ((-1, None), (0, -1)):
        with pytest.raises(Invalid):
            await blobs.read("pack", start=start, length=length)
        for read in (gathered, poured):
            with pytest.raises(Invalid):
                await read(blobs, "pack", start, length)


async def test_a_missing_key_is_not_found_whatever_the_range(blobs: Blobs) -> None:
    await blobs.put("study/a", b"here")
    for key in ("nothing", "study", "study/a/b"):
        for start, length in ((0, None), (0, 0), (9, 1)):
            with pytest.raises(NotFound):
                await blobs.read(key, start=start, length=length)
            for read in (gathered, poured):
                with pytest.raises(NotFound):
                    await read(blobs, key, start, length)


# ── keys, stat, list, delete ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../up",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        ".hidden",
        "Study",
        "müller",
        "a b",
        "a\n",
        "a\x00b",
        "a\\b",
        "a" * 251,
        "a/" * 256 + "b",
    ],
)
async def test_an_odd_key_is_invalid_everywhere(blobs: Blobs, key: str) -> None:
    for refused in (
        blobs.put(key, b"x"),
        blobs.read(key),
        gathered(blobs, key),
        blobs.stat(key),
        blobs.delete(key),
        blobs.retain(key, datetime.now(UTC)),
    ):
        with pytest.raises(Invalid):
            await refused


async def test_every_kind_of_valid_key_is_stored(blobs: Blobs) -> None:
    valid = ["0", "a-b_c.d", "study/.hidden", "z" * 250, "/".join(["a" * 99] * 5) + "/" + "b" * 12]
    for key in valid:
        await blobs.put(key, key.encode())
    assert [await blobs.read(key) for key in valid] == [key.encode() for key in valid]
    assert sorted(await keys(blobs)) == sorted(valid)


async def test_stat_tells_size_and_time_or_none(blobs: Blobs) -> None:
    assert await blobs.stat("study/a") is None
    await blobs.put("study/a", b"12345")
    info = await blobs.stat("study/a")
    assert info is not None
    assert (info.key, info.size) == ("study/a", 5)
    assert abs(info.modified - datetime.now(UTC)) < timedelta(minutes=1)
    assert await blobs.stat("study") is None
    assert await blobs.stat("study/a/b") is None


async def test_list_gives_every_object_under_the_prefix_by_key(blobs: Blobs) -> None:
    for key in ("s2/000001/0001.pack", "s1/000002/0001.pack", "s1/000001/0010.pack", "s1/000001/0002.pack", "s10/x"):
        await blobs.put(key, b"x")
    s1 = ["s1/000001/0002.pack", "s1/000001/0010.pack", "s1/000002/0001.pack"]
    assert await keys(blobs) == [*s1, "s10/x", "s2/000001/0001.pack"]
    assert await keys(blobs, "s1") == [*s1, "s10/x"]
    assert await keys(blobs, "s1/") == s1
    assert await keys(blobs, "s1/000001/00") == s1[:2]
    assert await keys(blobs, "s1/000001/0010.pack") == s1[1:2]
    assert await keys(blobs, "s3") == await keys(blobs, "s1/9/") == await keys(blobs, "s1/000001/0010.pack/x") == []


async def test_list_passes_the_page_size_of_s3(blobs: Blobs) -> None:
    await asyncio.gather(*(blobs.put(f"many/{number:04d}", b"") for number in range(1010)))
    assert await keys(blobs, "many/") == [f"many/{number:04d}" for number in range(1010)]


async def test_a_prefix_that_leaves_the_store_is_invalid(blobs: Blobs) -> None:
    with pytest.raises(Invalid):
        await keys(blobs, "../other/")


async def test_delete_removes_the_object_and_is_idempotent(blobs: Blobs) -> None:
    await blobs.put("study/1/a", b"x")
    await blobs.put("study/2/a", b"y")
    for key in ("study/1/a", "study/1/a", "study/1", "never"):
        await blobs.delete(key)
    assert await blobs.stat("study/1/a") is None
    assert await keys(blobs) == ["study/2/a"]
    await blobs.put("study/1/a", b"again")
    assert await blobs.read("study/1/a") == b"again"


# ── retention ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_retained_original_cannot_be_deleted_or_overwritten(opened: Open) -> None:
    blobs = await opened(lock=True)
    await blobs.put("original", b"evidence")
    await blobs.retain("original", datetime.now(UTC) + timedelta(minutes=15))
    await blobs.retain("original", datetime.now(UTC))  # never shortens
    for refused in (blobs.delete("original"), blobs.put("original", b"forged")):
        with pytest.raises(Refused):
            await refused
    with pytest.raises(Conflict):
        await blobs.put("original", b"forged", if_absent=True)
    assert await (await opened(lock=True)).read("original") == b"evidence"


async def test_once_its_time_is_over_an_original_can_be_deleted_with_its_older_versions(opened: Open) -> None:
    blobs = await opened(lock=True)
    await blobs.put("original", b"older")
    await blobs.put("original", b"evidence")
    until = datetime.now(UTC) + timedelta(seconds=3)
    await blobs.retain("original", until)
    while datetime.now(UTC) < until + timedelta(seconds=1.1):
        await asyncio.sleep(0.1)
    await blobs.delete("original")
    assert await blobs.stat("original") is None
    assert await keys(blobs) == []


async def test_a_missing_key_cannot_be_retained(opened: Open) -> None:
    blobs = await opened(lock=True)
    with pytest.raises(NotFound):
        await blobs.retain("nothing", datetime.now(UTC) + timedelta(days=1))


# ── health ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_health_check_leaves_no_object(blobs: Blobs) -> None:
    await blobs.healthy()
    assert await keys(blobs) == []


# ── the file system's own ────────────────────────────────────────────────────────────────────────────


async def test_a_disk_with_less_than_its_reserve_free_is_full_and_keeps_what_it_has(tmp_path: Path) -> None:
    await FileBlobs(tmp_path).put("kept", b"x")
    blobs = FileBlobs(tmp_path, reserve=shutil.disk_usage(tmp_path).free + 1000 * MIB)
    for refused in (blobs.put("more", b"y"), blobs.put("kept", b"y"), blobs.healthy()):
        with pytest.raises(Full):
            await refused
    assert await keys(blobs) == ["kept"]
    assert await blobs.read("kept") == b"x"
    assert list((tmp_path / "incoming").iterdir()) == []


async def test_drafts_of_a_crashed_writer_are_swept_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    living = FileBlobs(tmp_path)
    (tmp_path / "incoming" / "crashed").write_bytes(b"half a sl")
    draft = living._draft()
    FileBlobs(tmp_path)
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == [Path(draft.name).name]
    draft.close()


async def test_a_folder_that_is_gone_is_unreachable_and_its_objects_are_not_reported_lost(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path / "mount")
    await blobs.put("kept", b"x")
    (tmp_path / "mount").rename(tmp_path / "unmounted")
    for refused in (blobs.read("kept"), blobs.stat("kept"), blobs.put("more", b"y"), blobs.healthy()):
        with pytest.raises(Unreachable):
            await refused
    (tmp_path / "unmounted").rename(tmp_path / "mount")
    assert await blobs.read("kept") == b"x"


async def test_a_key_inside_another_object_is_invalid_on_a_file_system(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    await blobs.put("a/b", b"x")
    for key in ("a", "a/b/c"):
        with pytest.raises(Invalid):
            await blobs.put(key, b"y")


async def test_files_list_whole_keys_by_code_point_as_s3_does(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    for key in ("a/x", "a.b", "a-b/x", "a0"):
        await blobs.put(key, b"")
    assert await keys(blobs) == ["a-b/x", "a.b", "a/x", "a0"]


async def test_deleting_leaves_no_empty_folders(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    await blobs.put("study/000001/0001.pack", b"x")
    await blobs.delete("study/000001/0001.pack")
    assert list((tmp_path / "objects").iterdir()) == []


# ── S3's own ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.external
async def test_a_failed_upload_leaves_no_parts_in_the_bucket(seaweedfs: SeaweedFS) -> None:
    blobs = S3Blobs(seaweedfs.url(f"test-{uuid4().hex}"), seaweedfs.access_key, seaweedfs.secret_key)
    await blobs.ensure_bucket()
    with pytest.raises(ConnectionResetError):
        await blobs.put("ct.pack", failing_after(bytes(9 * MIB)))
    await blobs.healthy()
    assert blobs._client._list_multipart_uploads(blobs._bucket).uploads == []
    await blobs.close()


async def test_a_server_that_is_not_there_is_unreachable_within_seconds() -> None:
    blobs = S3Blobs(f"s3://127.0.0.1:{free_ports(1)[0]}/bucket?secure=false", "key", "secret")
    begun = time.monotonic()
    for refused in (blobs.healthy(), blobs.put("a", b"x"), blobs.read("a"), blobs.stat("a"), keys(blobs)):
        with pytest.raises(Unreachable):
            await refused
    assert time.monotonic() - begun < 20
    await blobs.close()


@pytest.mark.external
async def test_a_bucket_that_is_not_there_or_not_ours_is_unreachable(seaweedfs: SeaweedFS) -> None:
    for bucket, secret in (("missing", seaweedfs.secret_key), ("missing", "wrong")):
        blobs = S3Blobs(seaweedfs.url(bucket), seaweedfs.access_key, secret)
        with pytest.raises(Unreachable):
            await blobs.healthy()
        await blobs.close()


@pytest.mark.external
async def test_nothing_is_retained_in_a_bucket_without_object_lock(seaweedfs: SeaweedFS) -> None:
    blobs = S3Blobs(seaweedfs.url(f"test-{uuid4().hex}"), seaweedfs.access_key, seaweedfs.secret_key)
    await blobs.ensure_bucket()
    await blobs.put("original", b"x")
    with pytest.raises(Refused):
        await blobs.retain("original", datetime.now(UTC) + timedelta(days=1))
    await blobs.close()


@pytest.mark.external
async def test_objects_survive_a_killed_server_and_open_to_their_own_zone_only(
    tmp_path: Path,
) -> None:
    server = SeaweedFS(tmp_path)
    zone_keys = server.identity("ingest", ["originals"])
    server.start()
    try:
        for bucket in ("originals", "copies"):
            admin = S3Blobs(server.url(bucket), server.access_key, server.secret_key)
            await admin.ensure_bucket()
            await admin.put("study/a", bucket.encode())
            await admin.close()
        originals, copies = (S3Blobs(server.url(bucket), *zone_keys) for bucket in ("originals", "copies"))
        for forbidden in (copies.read("study/a"), copies.put("study/b", b"x"), keys(copies), copies.healthy()):
            with pytest.raises(Unreachable):
                await forbidden
        await originals.put("study/b", pieces(bytes(9 * MIB)))
        server.kill()
        with pytest.raises(RadRelayError):
            await originals.read("study/a")
        server.start()
        assert await originals.read("study/a") == b"originals"
        assert await originals.read("study/b") == bytes(9 * MIB)
        await originals.close()
        await copies.close()
    finally:
        server.stop()
