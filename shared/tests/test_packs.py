"""Packs on a folder: what goes in comes out, whole and by its own hash, or not at all."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from radrelay_shared.adapters.files import FileBlobs
from radrelay_shared.errors import Invalid, NotFound
from radrelay_shared.packs import (
    Manifest,
    PackedInstance,
    PackedSeries,
    PackPart,
    manifest_key,
    metadata_key,
    pack_key,
    pour_instance,
    read_instance,
    read_manifest,
    read_metadata,
    write_manifest,
    write_metadata,
    write_pack,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
KEY = "study-7/000001/0001.pack"
MIB = 1 << 20


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "blobs")


async def slices(*contents: bytes | Iterator[bytes] | AsyncIterator[bytes]) -> AsyncIterator[PackPart]:
    for number, content in enumerate(contents, 1):
        yield PackPart(f"2.25.{number}", CT, EXPLICIT, content)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def series(instances: Sequence[PackedInstance]) -> PackedSeries:
    return PackedSeries(
        series_instance_uid="2.25.70", modality="CT", pack=KEY, metadata=None, instances=tuple(instances)
    )


async def test_three_slices_lie_back_to_back_with_their_hashes(blobs: FileBlobs) -> None:
    first, second, third = await write_pack(blobs, KEY, slices(b"abc", b"", b"defgh"))
    assert await blobs.read(KEY) == b"abcdefgh"
    assert [(each.offset, each.length) for each in (first, second, third)] == [(0, 3), (3, 0), (3, 5)]
    assert first == PackedInstance(
        sop_instance_uid="2.25.1",
        sop_class_uid=CT,
        transfer_syntax_uid=EXPLICIT,
        offset=0,
        length=3,
        sha256="ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",  # FIPS 180-4, example "abc"
    )


async def test_bytes_iterators_and_streams_pack_alike(blobs: FileBlobs) -> None:
    content = bytes(range(256)) * 10_000
    packed = await write_pack(
        blobs, KEY, slices(content, iter([content[:7], content[7:]]), pieces(content[:5], b"", content[5:]))
    )
    expected = hashlib.sha256(content).hexdigest()
    assert [each.sha256 for each in packed] == [expected] * 3
    assert [each.offset for each in packed] == [0, 2_560_000, 5_120_000]
    assert await blobs.read(KEY) == content * 3


async def test_each_instance_is_read_and_poured_alone(blobs: FileBlobs) -> None:
    contents = [b"scout", bytes(2 * MIB) + b"!", b""]
    packed = series(await write_pack(blobs, KEY, slices(*contents)))
    for instance, content in zip(packed.instances, contents, strict=True):
        assert await read_instance(blobs, packed, instance) == content
        poured: list[bytes] = []
        await pour_instance(blobs, packed, instance, poured.append)
        assert b"".join(poured) == content
        assert all(0 < len(piece) <= MIB for piece in poured)


async def test_a_flipped_bit_is_never_served_as_a_whole_image(blobs: FileBlobs) -> None:
    packed = series(await write_pack(blobs, KEY, slices(b"intact", bytes(2 * MIB))))
    spoilt = bytearray(await blobs.read(KEY))
    spoilt[6 + MIB] = 1
    await blobs.put(KEY, bytes(spoilt))
    intact, broken = packed.instances
    assert await read_instance(blobs, packed, intact) == b"intact"
    with pytest.raises(Invalid, match="hash"):
        await read_instance(blobs, packed, broken)
    with pytest.raises(Invalid, match="hash"):
        await pour_instance(blobs, packed, broken, len)
    assert len(await read_instance(blobs, packed, broken, verify=False)) == 2 * MIB


async def test_a_truncated_pack_does_not_match_either(blobs: FileBlobs) -> None:
    packed = series(await write_pack(blobs, KEY, slices(b"0123456789")))
    await blobs.put(KEY, b"01234")
    with pytest.raises(Invalid):
        await read_instance(blobs, packed, packed.instances[0])


async def test_an_instance_that_cannot_be_read_leaves_no_pack(blobs: FileBlobs, tmp_path: Path) -> None:
    def vanished() -> Iterator[bytes]:
        yield (tmp_path / "vanished.dcm").read_bytes()

    with pytest.raises(FileNotFoundError):
        await write_pack(blobs, KEY, slices(b"first", vanished()))
    assert await blobs.stat(KEY) is None


async def test_a_cine_loop_of_sixty_mebibytes_is_packed_in_a_few(blobs: FileBlobs) -> None:
    tracemalloc.start()
    try:
        (packed,) = await write_pack(blobs, KEY, slices(bytes(MIB) for _ in range(60)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert packed.length == 60 * MIB
    assert peak < 8 * MIB


async def test_a_batch_written_twice_is_the_same_batch(blobs: FileBlobs) -> None:
    once = await write_pack(blobs, KEY, slices(b"a", b"b"))
    assert await write_pack(blobs, KEY, slices(b"a", b"b")) == once
    key = metadata_key("study-7", 1, 1)
    contents = []
    for _ in range(2):
        await write_metadata(blobs, key, [{"00080060": {"vr": "CS", "Value": ["CT"]}}])
        contents.append(await blobs.read(key))
    assert contents[0] == contents[1]
    assert await read_metadata(blobs, key) == [{"00080060": {"vr": "CS", "Value": ["CT"]}}]


async def test_a_manifest_is_read_back_and_counts_its_instances_and_bytes(blobs: FileBlobs) -> None:
    packed = series(await write_pack(blobs, KEY, slices(b"abc", b"defgh")))
    manifest = Manifest(study="study-7", batch=1, study_instance_uid="2.25.7", series=(packed, packed))
    key = manifest_key("study-7", 1)
    await write_manifest(blobs, key, manifest)
    assert await read_manifest(blobs, key) == manifest
    assert (manifest.instance_count, manifest.total_bytes) == (4, 16)


async def test_a_missing_or_foreign_manifest_is_told_apart(blobs: FileBlobs) -> None:
    with pytest.raises(NotFound):
        await read_manifest(blobs, "study-7/000001/manifest.json")
    await blobs.put("study-7/000001/manifest.json", b'{"study": "2.25.7"}')
    with pytest.raises(Invalid, match="manifest"):
        await read_manifest(blobs, "study-7/000001/manifest.json")


def test_a_manifest_is_frozen_and_refuses_a_uid_as_its_study_key() -> None:
    manifest = Manifest(study="study-7", batch=1, study_instance_uid="2.25.7", series=())
    with pytest.raises(ValidationError):
        manifest.batch = 2  # type: ignore[misc]  # this is what is refused
    with pytest.raises(ValidationError):
        Manifest(study="2.25.7", batch=1, study_instance_uid="2.25.7", series=())


def test_keys_sort_by_batch_and_hold_no_uid() -> None:
    assert pack_key("study-7", 1, 2) == "study-7/000001/0002.pack"
    assert metadata_key("study-7", 1, 2) == "study-7/000001/0002.json.gz"
    assert manifest_key("study-7", 12) == "study-7/000012/manifest.json"
    for study in ("2.25.7", "../up", "", "Study"):
        with pytest.raises(Invalid):
            pack_key(study, 1, 1)
