"""The packs, opened: manifests, metadata, whole instances and frames, with every byte's hash checked."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Generic, TypeVar

from radrelay_shared.errors import Invalid, NotFound
from radrelay_shared.packs import (
    Manifest,
    PackedInstance,
    PackedSeries,
    read_manifest,
    read_metadata,
    stream_instance,
)
from radrelay_shared.ports import Blobs
from radrelay_storage.attributes import Attributes
from radrelay_storage.domain import Series, SeriesBatch, StoredSeries
from radrelay_storage.frames import Frame, index_frames
from radrelay_storage.problems import Damaged
from radrelay_storage.settings import StorageSettings

log = logging.getLogger("radrelay.storage")

PIECE = 1 << 20
K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Recent(Generic[K, V]):
    """The values used last, at most `size` of them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if key in self.values:
            self.values.move_to_end(key)
        return self.values.get(key)

    def keep(self, key: K, value: V) -> V:
        self.values[key] = value
        self.values.move_to_end(key)
        if len(self.values) > self.size:
            self.values.popitem(last=False)
        return value


@dataclass(frozen=True, slots=True)
class Located:
    """An instance, and the packed series and study (by key, for messages) that it is part of."""

    study: str
    series: PackedSeries
    packed: PackedInstance

    def damaged(self) -> Damaged:
        detail = f"study {self.study}: SOP instance {self.packed.sop_instance_uid} is not as it was stored; not served"
        log.error(detail)
        return Damaged(f"{detail}. An operator must restore it")


class Shelf:
    """Reads what anonymize packed."""

    def __init__(self, blobs: Blobs, settings: StorageSettings) -> None:
        self.blobs, self.settings = blobs, settings
        self.manifests: Recent[str, Manifest] = Recent(settings.manifests_kept)
        self.frame_tables: Recent[str, tuple[Frame, ...]] = Recent(settings.frame_tables_kept)
        self.decoders = asyncio.Semaphore(settings.decoders)

    async def compute(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run work that needs a processor in a thread, a bounded number at a time."""
        async with self.decoders:
            return await asyncio.to_thread(work, *arguments)

    async def manifest(self, key: str) -> Manifest:
        return self.manifests.get(key) or self.manifests.keep(key, await read_manifest(self.blobs, key))

    async def batch(self, manifest: str) -> list[StoredSeries]:
        """The series of a batch, each with the attributes of its first instance."""
        found = await self.manifest(manifest)
        return [
            StoredSeries(
                series_instance_uid=packed.series_instance_uid,
                modality=packed.modality,
                where=SeriesBatch(
                    batch=found.batch,
                    manifest=manifest,
                    metadata=metadata_of(packed),
                    instances=len(packed.instances),
                ),
                first=(await read_metadata(self.blobs, metadata_of(packed)))[0],
            )
            for packed in found.series
        ]

    async def metadata_json(self, key: str) -> bytes:
        """The DICOM JSON array beside a pack, one object per instance."""
        return await self.compute(gzip.decompress, await self.blobs.read(key))

    async def metadata(self, series: Series) -> list[Attributes]:
        return [each for batch in series.batches for each in await read_metadata(self.blobs, batch.metadata)]

    async def metadata_of(self, located: Located) -> Attributes:
        """One instance's metadata; it has the instance's place in the pack."""
        place = located.series.instances.index(located.packed)
        return (await read_metadata(self.blobs, metadata_of(located.series)))[place]

    # ── instances ────────────────────────────────────────────────────────────────────────────────────

    async def instances(self, series: Series) -> list[Located]:
        """Every instance of a series, in the order of its batches; one that came again is the later one."""
        found: dict[str, Located] = {}
        for batch in series.batches:
            for packed in (await self.manifest(batch.manifest)).series:
                if packed.series_instance_uid == series.series_instance_uid:
                    found |= {each.sop_instance_uid: Located(series.study, packed, each) for each in packed.instances}
        return list(found.values())

    async def instance(self, series: Series, sop_instance_uid: str) -> Located:
        for each in await self.instances(series):
            if each.packed.sop_instance_uid == sop_instance_uid:
                return each
        raise NotFound("this series has no such instance")

    async def whole(self, located: Located) -> IO[bytes]:
        """The instance's file, once its hash is proven; small ones in memory, large ones on disk. Close it.

        Raises `Damaged` rather than hand out a wrong byte.
        """
        file: IO[bytes] = SpooledTemporaryFile(max_size=self.settings.spool_bytes)  # noqa: SIM115  the caller closes it
        try:
            await self._copy(located, file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    async def _copy(self, located: Located, file: IO[bytes]) -> None:
        try:
            async for piece in stream_instance(self.blobs, located.series, located.packed):
                await asyncio.to_thread(file.write, piece)
        except (Invalid, NotFound) as error:
            raise located.damaged() from error

    # ── frames ───────────────────────────────────────────────────────────────────────────────────────

    async def frame_table(self, located: Located) -> tuple[Frame, ...]:
        """Where the instance's frames are: read once from the whole, proven instance."""
        known = self.frame_tables.get(located.packed.sha256)
        if known is not None:
            return known
        with await self.whole(located) as file:
            return self.frame_tables.keep(located.packed.sha256, await self.compute(index_frames, file))

    async def frame(self, located: Located, frame: Frame) -> bytes:
        """One frame by one ranged read; raises `Damaged` if it is not the frame that was indexed."""
        offset, length = frame.span
        try:
            run = await self.blobs.read(located.series.pack, start=located.packed.offset + offset, length=length)
        except NotFound as error:
            raise located.damaged() from error
        found = frame.cut(run)
        if not frame.intact(found):
            raise located.damaged()
        return found


def metadata_of(packed: PackedSeries) -> str:
    """The key of a series' metadata, which anonymize always writes."""
    if packed.metadata is None:
        raise Invalid(f"{packed.pack} has no metadata beside it")
    return packed.metadata


async def pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    """The file in pieces of 1 MiB."""
    while piece := await asyncio.to_thread(file.read, PIECE):
        yield piece
