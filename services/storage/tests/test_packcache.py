"""Packs on this machine's disk: what viewers get from them, and what crashes and bad disks cannot do to it."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

from radrelay_shared.events import StudyAnonymized, StudyAssigned
from radrelay_shared.packs import PackedInstance
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import PATIENCE_SECONDS, client, deliver, running, until
from radrelay_storage.folder import OwnFolder
from radrelay_storage.judging import Judge
from radrelay_storage.main import SERVICE
from radrelay_storage.packcache import PackCache

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
Pack = Callable[..., Awaitable[StudyAnonymized]]
Image = Callable[..., Dataset]
SLICE = "/dicom-web/studies/2.25.{0}/series/2.25.{0}.1/instances/2.25.{0}.1.{1}"


def object_of(folder: Path, study: int) -> Path:
    return folder / "deidentified" / "objects" / f"st-{study}" / "000001" / "0001.pack"


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


async def store(runtime: Runtime, pack: Pack, image: Image, study: int) -> None:
    slices = [image("CT_small.dcm", study, number=number) for number in (1, 2)]
    await deliver(runtime, await pack(runtime, slices, study=f"st-{study}"))


def cache_of(runtime: Runtime) -> PackCache:
    found: PackCache = runtime.app.state.context.shelf.cache
    return found


async def settled(runtime: Runtime) -> None:
    """Every copy that comes is here."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*cache_of(runtime).filling.values())


def weight(copies: Path) -> int:
    """Bytes of all files there."""
    found = 0
    for each in copies.iterdir():
        with suppress(FileNotFoundError):  # deleted this moment
            found += each.stat().st_size
    return found


async def read(viewer: httpx2.AsyncClient, study: int, number: int) -> int:
    """Fetch a slice and its frame; the status, after a look at the pixels."""
    whole = await viewer.get(SLICE.format(study, number), headers={"Accept": "application/dicom"})
    frame = await viewer.get(SLICE.format(study, number) + "/frames/1", headers={"Accept": "application/octet-stream"})
    if whole.status_code == 200:
        assert dcmread(io.BytesIO(whole.content)).PixelData == frame.content
        assert len(frame.content) == 128 * 128 * 2
    assert whole.status_code == frame.status_code
    return whole.status_code


async def test_a_study_that_was_read_stays_readable_while_the_object_store_is_not(
    pack: Pack, image: Image, tmp_path: Path
) -> None:
    async with running(SERVICE, tmp_path) as (runtime, _), client(runtime, Role.ASSISTANT) as viewer:
        await store(runtime, pack, image, 1)
        assert await read(viewer, 1, 1) == 200
        await settled(runtime)
        object_of(tmp_path, 1).rename(tmp_path / "away")
        assert [await read(viewer, 1, number) for number in (1, 2)] == [200, 200]


async def test_a_study_is_fetched_when_it_is_assigned_or_opened_before_its_pixels_are_asked_for(
    pack: Pack, image: Image, tmp_path: Path
) -> None:
    async with running(SERVICE, tmp_path) as (runtime, _), client(runtime, Role.ASSISTANT) as viewer:
        for study in (1, 2, 3):
            await store(runtime, pack, image, study)
        facts = {"site": "clinic-a", "study": "st-1", "study_instance_uid": "2.25.1", "workitem": "2.25.9"}
        offer = {"jurisdiction": "US-MT", "received_at": NOON, "until": NOON, "due_at": NOON, "reasons": ()}
        await deliver(runtime, StudyAssigned(**facts, **offer, radiologist="dr-1"))
        await viewer.get("/dicom-web/studies/2.25.2/metadata")
        await until(lambda: len(cache_of(runtime).proven) == 2)
        for study, kept in ((1, True), (2, True), (3, False)):
            object_of(tmp_path, study).unlink()
            assert (await read(viewer, study, 1) == 200) is kept, study


async def test_a_damaged_slice_is_refused_its_neighbour_served_and_once_restored_it_is_served_too(
    pack: Pack, image: Image, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(SERVICE, tmp_path) as (runtime, _), client(runtime, Role.ASSISTANT) as viewer:
        await store(runtime, pack, image, 1)
        flip(object_of(tmp_path, 1), -1000)
        for _ in range(2):  # while the copy comes, and once it is here
            assert [await read(viewer, 1, number) for number in (1, 2)] == [200, 500]
            await settled(runtime)
        flip(object_of(tmp_path, 1), -1000)
        assert await read(viewer, 1, 2) == 200
    assert "pack st-1/000001/0001.pack: 1 instances are not as they were stored" in caplog.text


async def test_a_pack_that_lost_its_end_is_not_served_from_there_however_often_it_is_asked_for(
    pack: Pack, image: Image, tmp_path: Path
) -> None:
    async with running(SERVICE, tmp_path) as (runtime, _), client(runtime, Role.ASSISTANT) as viewer:
        await store(runtime, pack, image, 1)
        stored = object_of(tmp_path, 1)
        whole = stored.read_bytes()
        stored.write_bytes(whole[:-1000])
        for _ in range(2):
            assert [await read(viewer, 1, number) for number in (1, 2)] == [200, 500]
            await settled(runtime)
            cache_of(runtime).open.forget()  # as when many other packs were read
        stored.write_bytes(whole)
        assert await read(viewer, 1, 2) == 200


async def test_copies_outlive_the_process_but_are_proven_again(pack: Pack, image: Image, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    async with (
        running(SERVICE, tmp_path, pack_cache=copies) as (runtime, _),
        client(runtime, Role.ASSISTANT) as viewer,
    ):
        known = [set(copies.iterdir())]
        for study in (1, 2):
            await store(runtime, pack, image, study)
            await read(viewer, study, 1)
            await settled(runtime)
            known.append(set(copies.iterdir()))
    (first,), (second,) = (after - before for before, after in pairwise(known))
    flip(second, -1000)
    (copies / "broken-off.0a1b2c3d.part").write_bytes(b"half")
    async with (
        running(SERVICE, tmp_path, pack_cache=copies) as (runtime, _),
        client(runtime, Role.ASSISTANT) as viewer,
    ):
        object_of(tmp_path, 1).unlink()
        assert set(cache_of(runtime).lengths) == {first.stem, second.stem}
        assert [await read(viewer, 2, number) for number in (1, 2)] == [200, 200], "the object store has it right"
        await viewer.get("/dicom-web/studies/2.25.1/series/2.25.1.1", headers={"Accept": "*/*"})
        await settled(runtime)
        assert [await read(viewer, 1, number) for number in (1, 2)] == [200, 200], "only the copy is left"
    assert not list(copies.glob("*.part"))


async def test_the_cache_keeps_to_its_bound_and_drops_what_was_not_read_for_longest(
    pack: Pack, image: Image, tmp_path: Path
) -> None:
    """Each pack has 78 KB; there is room for two of three, and for none that is larger than all of it."""
    copies = tmp_path / "copies"
    async with (
        running(SERVICE, tmp_path, pack_cache=copies, pack_cache_bytes=200_000) as (runtime, _),
        client(runtime, Role.ASSISTANT) as viewer,
    ):
        for study in (1, 2, 3):
            await store(runtime, pack, image, study)
        for study in (1, 2, 1, 3):
            assert await read(viewer, study, 1) == 200
            await settled(runtime)
            await until(lambda: weight(copies) <= 200_000)  # what is dropped is deleted a moment later
        for study, kept in ((1, True), (3, True), (2, False)):
            object_of(tmp_path, study).unlink()
            assert (await read(viewer, study, 2) == 200) is kept, study


async def test_a_pack_larger_than_the_cache_is_read_where_it_is_stored(
    pack: Pack, image: Image, tmp_path: Path
) -> None:
    async with (
        running(SERVICE, tmp_path, pack_cache=tmp_path / "copies", pack_cache_bytes=50_000) as (runtime, _),
        client(runtime, Role.ASSISTANT) as viewer,
    ):
        await store(runtime, pack, image, 1)
        assert [await read(viewer, 1, number) for number in (1, 2)] == [200, 200]
    assert [each.name for each in (tmp_path / "copies").iterdir()] == ["lock"]


def test_two_processes_never_share_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = OwnFolder(tmp_path)
    second = OwnFolder(tmp_path)
    assert first.path == tmp_path
    assert second.path != tmp_path
    assert "another process has the folder" in caplog.text
    second.close()
    assert not second.path.exists()
    first.close()
    third = OwnFolder(tmp_path)
    assert third.path == tmp_path
    third.close()


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=6),
    st.lists(st.integers(1, 30), max_size=8),
    st.sets(st.integers(0, 5)),
)
def test_each_instance_is_judged_by_its_own_bytes_wherever_the_pieces_are_cut(
    lengths: list[int], cuts: list[int], damaged: set[int]
) -> None:
    content = bytearray(range(sum(lengths)))
    ends = list(accumulate(lengths, initial=0))
    instances = [
        PackedInstance(
            sop_instance_uid="2.25.1",
            sop_class_uid="2.25.2",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            offset=start,
            length=end - start,
            sha256=hashlib.sha256(content[start:end]).hexdigest(),
        )
        for start, end in pairwise(ends)
    ]
    wrong = {number for number in damaged if number < len(lengths) and lengths[number]}
    for number in wrong:
        content[ends[number]] ^= 255
    judge, ready = Judge(instances), 0
    for start, end in pairwise([0, *(cut for cut in accumulate(cuts) if cut < len(content)), len(content)]):
        ready = judge.take(bytes(content[start:end]))
        assert ready in ends or ready == end
        assert ready <= end
    assert ready == len(content)
    empty = {start for start, end in pairwise(ends) if start == end}
    assert judge.wrong - empty == {ends[number] for number in wrong} - empty
