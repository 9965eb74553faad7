"""A batch's objects, read again byte by byte against the hashes that the ledger and the manifest have of them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from pydantic import ValidationError

from radrelay_shared.errors import NotFound
from radrelay_shared.packs import Manifest, PackedSeries
from radrelay_shared.ports import Blobs

Pace = Callable[[int], Awaitable[None]]  # called with the bytes just read; may wait


@dataclass(frozen=True, slots=True)
class Fault:
    """An object that is not what was stored, and how that was seen."""

    object: str  # key
    why: str

    def __str__(self) -> str:
        return f"{self.object}: {self.why}"


async def at_once(_: int) -> None:
    """Read as fast as it goes."""


async def first_fault(blobs: Blobs, key: str, sha256: str, pace: Pace = at_once) -> Fault | None:
    """What is wrong first with the batch of this manifest, whose SHA-256 the ledger has; None if nothing is."""
    try:
        text = await blobs.read(key)
    except NotFound:
        return Fault(key, "the manifest is missing")
    await pace(len(text))
    if sha256 and hashlib.sha256(text).hexdigest() != sha256:
        return Fault(key, "the manifest is not the one in the ledger")
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError:
        return Fault(key, "this is no manifest")
    for series in manifest.series:
        if found := await _fault_in(blobs, series, pace):
            return found
    return None


async def _fault_in(blobs: Blobs, series: PackedSeries, pace: Pace) -> Fault | None:
    try:
        found = await _fault_in_pack(blobs, series, pace)
        return found or await _fault_beside(blobs, series, pace)
    except NotFound:
        return Fault(series.pack, "it, or its metadata, is missing")


async def _fault_in_pack(blobs: Blobs, series: PackedSeries, pace: Pace) -> Fault | None:
    """The pack is read once, from front to back."""
    source = aiter(_paced(blobs.stream(series.pack), pace))
    rest = b""
    for each in series.instances:
        digest, left = hashlib.sha256(), each.length
        while left:
            piece = rest or await anext(source, b"")
            if not piece:
                return Fault(series.pack, f"it ends before SOP instance {each.sop_instance_uid}")
            taken, rest = piece[:left], piece[left:]
            await asyncio.to_thread(digest.update, taken)
            left -= len(taken)
        if digest.hexdigest() != each.sha256:
            return Fault(series.pack, f"SOP instance {each.sop_instance_uid} is not as it was stored")
    return Fault(series.pack, "it is longer than it was") if rest or await anext(source, b"") else None


async def _fault_beside(blobs: Blobs, series: PackedSeries, pace: Pace) -> Fault | None:
    if series.metadata is None or series.metadata_sha256 is None:
        return None
    text = await blobs.read(series.metadata)
    await pace(len(text))
    same = hashlib.sha256(text).hexdigest() == series.metadata_sha256
    return None if same else Fault(series.metadata, "the metadata is not as it was stored")


async def _paced(pieces: AsyncIterator[bytes], pace: Pace) -> AsyncIterator[bytes]:
    async for piece in pieces:
        await pace(len(piece))
        yield piece
