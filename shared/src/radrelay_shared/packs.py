"""Packs: all instances of one series and batch, back to back in one object, and the manifest that says where each lies.

    <study>/000001/0001.pack       the instances, DICOM Part 10 files one after the other
    <study>/000001/0001.json.gz    their DICOM JSON (PS3.18 §F), one element per instance in pack order
    <study>/000001/manifest.json   which series and instances the batch has, with offsets and SHA-256

Ingest seals originals so, anonymize writes de-identified copies so, storage reads both. Keys hold study keys and
numbers, never UIDs, for a UID is identity. Writing the same batch again overwrites it with the same bytes.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from radrelay_shared.adapters.blobs import PIECE, blocks
from radrelay_shared.errors import Invalid
from radrelay_shared.ports import Blobs

_HASH_IN_PLACE = 64 << 10  # bytes hashed sooner than a thread is reached

Count = Annotated[int, Field(ge=0)]
SERIES_INSTANCE_UID, MODALITY, OTHER = "0020000E", "00080060", "OT"  # in DICOM JSON


@dataclass(frozen=True, slots=True)
class PackPart:
    """One instance on its way into a pack: what the manifest says of it, and its bytes, however they come."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    content: bytes | Iterator[bytes] | AsyncIterator[bytes]  # the iterator may block, and gives at most 1 MiB


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class PackedInstance(_Frozen):
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    offset: Count  # bytes from the pack's beginning
    length: Count  # bytes
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PackedSeries(_Frozen):
    series_instance_uid: str
    modality: str
    pack: str  # key
    metadata: str | None = None  # key
    metadata_sha256: str | None = None  # of the object as it lies there
    instances: tuple[PackedInstance, ...]

    @cached_property
    def length(self) -> int:
        """Of the pack, in bytes."""
        return max((each.offset + each.length for each in self.instances), default=0)

    @cached_property
    def fingerprint(self) -> str:
        """What tells this pack and its content from every other, in 64 hexadecimal digits."""
        told = [self.pack, *(f"{each.offset} {each.length} {each.sha256}" for each in self.instances)]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()


class Manifest(_Frozen):
    study: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]  # the study key, not a UID
    batch: Count
    study_instance_uid: str
    series: tuple[PackedSeries, ...]

    @property
    def instance_count(self) -> int:
        return sum(len(series.instances) for series in self.series)

    @property
    def total_bytes(self) -> int:
        return sum(instance.length for series in self.series for instance in series.instances)


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────


def pack_key(study: str, batch: int, number: int) -> str:
    return f"{_folder(study, batch)}/{number:04d}.pack"


def metadata_key(study: str, batch: int, number: int) -> str:
    return f"{_folder(study, batch)}/{number:04d}.json.gz"


def manifest_key(study: str, batch: int) -> str:
    return f"{_folder(study, batch)}/manifest.json"


def _folder(study: str, batch: int) -> str:
    if not re.fullmatch(r"[a-z0-9-]+", study):
        raise Invalid("a study key has lower-case letters, digits and hyphens only")
    return f"{study}/{batch:06d}"


# ── instances ────────────────────────────────────────────────────────────────────────────────────────


async def write_pack(blobs: Blobs, key: str, parts: AsyncIterator[PackPart]) -> list[PackedInstance]:
    """Store the parts back to back, hashing as they pass, and return where each lies once the pack is durable.

    At most a few MiB are held at a time. A part that fails leaves no pack.
    """
    instances: list[PackedInstance] = []
    async with aclosing(_packed(parts, instances)) as source:
        await blobs.put(key, source)
    return instances


async def read_instance(blobs: Blobs, series: PackedSeries, instance: PackedInstance, *, verify: bool = True) -> bytes:
    """The instance's bytes; `Invalid` if they are not those that were packed."""
    content = await blobs.read(series.pack, start=instance.offset, length=instance.length)
    if verify:
        digest = hashlib.sha256()
        await _update(digest, content)
        _check(digest, series, instance)
    return content


async def pour_instance(
    blobs: Blobs, series: PackedSeries, instance: PackedInstance, take: Callable[[bytes], object]
) -> None:
    """Give `take` the instance's bytes, in a thread; `Invalid` at the end if they were not those that were packed."""
    digest = hashlib.sha256()

    def judged(piece: bytes) -> None:
        digest.update(piece)
        take(piece)

    await blobs.pour(series.pack, judged, start=instance.offset, length=instance.length)
    _check(digest, series, instance)


async def _packed(parts: AsyncIterator[PackPart], instances: list[PackedInstance]) -> AsyncGenerator[bytes]:
    offset = 0
    async for part in parts:
        digest, length = hashlib.sha256(), 0
        async with aclosing(_pieces(part.content)) as pieces:
            async for piece in pieces:
                await _update(digest, piece)
                length += len(piece)
                yield piece
        instances.append(
            PackedInstance(
                sop_instance_uid=part.sop_instance_uid,
                sop_class_uid=part.sop_class_uid,
                transfer_syntax_uid=part.transfer_syntax_uid,
                offset=offset,
                length=length,
                sha256=digest.hexdigest(),
            )
        )
        offset += length


async def _pieces(content: bytes | Iterator[bytes] | AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    if isinstance(content, Iterator):
        while piece := await asyncio.to_thread(next, content, b""):
            yield piece
    else:
        async for piece in blocks(content, PIECE):
            yield piece


async def _update(digest: hashlib._Hash, piece: bytes) -> None:
    if len(piece) <= _HASH_IN_PLACE:
        digest.update(piece)
    else:
        await asyncio.to_thread(digest.update, piece)


def _check(digest: hashlib._Hash, series: PackedSeries, instance: PackedInstance) -> None:
    if digest.hexdigest() != instance.sha256:
        raise Invalid(f"bytes {instance.offset} ff. of {series.pack} do not match their hash")


# ── metadata and manifest ────────────────────────────────────────────────────────────────────────────


async def write_metadata(blobs: Blobs, key: str, elements: Sequence[dict[str, Any]]) -> str:
    """Store the series' DICOM JSON, one element per instance in pack order; returns the object's SHA-256."""
    text = await asyncio.to_thread(_compressed, elements)
    await blobs.put(key, text)
    return hashlib.sha256(text).hexdigest()


async def write_series(
    blobs: Blobs,
    study: str,
    batch: int,
    number: int,
    parts: AsyncIterator[PackPart],
    elements: Sequence[dict[str, Any]],
) -> PackedSeries | None:
    """Store a series' pack and metadata; None, and nothing is stored, if there is no instance.

    `elements` is the DICOM JSON of the parts, and may grow while they pass.
    """
    pack, metadata = pack_key(study, batch, number), metadata_key(study, batch, number)
    instances = await write_pack(blobs, pack, parts)
    if not instances:
        await blobs.delete(pack)
        return None
    return PackedSeries(
        series_instance_uid=_said(elements[0], SERIES_INSTANCE_UID),
        modality=_said(elements[0], MODALITY) or OTHER,
        pack=pack,
        metadata=metadata,
        metadata_sha256=await write_metadata(blobs, metadata, elements),
        instances=tuple(instances),
    )


def _said(element: dict[str, Any], tag: str) -> str:
    """An attribute's first value; empty if it has none."""
    return str((element.get(tag, {}).get("Value") or [""])[0] or "")


async def read_metadata(blobs: Blobs, key: str) -> list[dict[str, Any]]:
    return await asyncio.to_thread(_decompressed, await blobs.read(key))


async def write_manifest(blobs: Blobs, key: str, manifest: Manifest) -> str:
    """Store the batch's manifest; returns the object's SHA-256, which binds that of every instance."""
    await blobs.put(key, encoded(manifest))
    return manifest_sha256(manifest)


def encoded(manifest: Manifest) -> bytes:
    return manifest.model_dump_json().encode()


def manifest_sha256(manifest: Manifest) -> str:
    return hashlib.sha256(encoded(manifest)).hexdigest()


async def read_manifest(blobs: Blobs, key: str) -> Manifest:
    """The batch's manifest; `NotFound` if there is none, `Invalid` if it is not one."""
    text = await blobs.read(key)
    try:
        return await asyncio.to_thread(Manifest.model_validate_json, text)
    except ValidationError as error:
        raise Invalid(f"{key} is not a manifest: {error.error_count()} of its fields are wrong") from error


def _compressed(elements: Sequence[dict[str, Any]]) -> bytes:
    text = json.dumps(elements, ensure_ascii=False, separators=(",", ":"))
    return gzip.compress(text.encode(), compresslevel=6, mtime=0)  # no time inside: the same input, the same bytes


def _decompressed(content: bytes) -> list[dict[str, Any]]:
    elements: list[dict[str, Any]] = json.loads(gzip.decompress(content))
    return elements
