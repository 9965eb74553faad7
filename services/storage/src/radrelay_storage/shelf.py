"""The packs, opened: manifests, metadata, whole instances and frames, with every byte's hash checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO

from radrelay_shared.errors import Invalid, NotFound
from radrelay_shared.packs import (
    Manifest,
    PackedInstance,
    PackedSeries,
    pour_instance,
    read_manifest,
    read_metadata,
)
from radrelay_shared.ports import Blobs
from radrelay_storage.copies import Bytes, CopiedInstance, Copy, runs
from radrelay_storage.domain import Series, SeriesBatch, StoredSeries
from radrelay_storage.frames import Frame, index_frames
from radrelay_storage.packcache import PackCache
from radrelay_storage.problems import Damaged, damaged, present
from radrelay_storage.recent import Recent
from radrelay_storage.settings import StorageSettings
from radrelay_storage.workers import Workers

BatchesOf = tuple[str, str, tuple[int, ...]]  # a study's key, a series' UID, and which batches it has


@dataclass(frozen=True, slots=True)
class Located:
    """An instance, and the packed series and study (by key, for messages) that it is part of."""

    study: str
    series: PackedSeries
    packed: PackedInstance
    place: int  # in the pack, and so in the metadata

    @property
    def metadata(self) -> str:
        """The key of the array that has the instance's metadata at its place."""
        return metadata_of(self.series)

    def damaged(self) -> Damaged:
        return damaged(
            f"study {self.study}: SOP instance {self.packed.sop_instance_uid} is not as it was stored; not served"
        )


class Shelf:
    """Reads what anonymize packed."""

    def __init__(self, blobs: Blobs, settings: StorageSettings, workers: Workers) -> None:
        self.blobs, self.settings, self.workers = blobs, settings, workers
        self.cache = PackCache(blobs, settings.pack_cache, settings.pack_cache_bytes)
        self.manifests: Recent[str, Manifest] = Recent(settings.manifests_kept)
        self.located: Recent[BatchesOf, dict[str, Located]] = Recent(settings.manifests_kept)
        self.frame_tables: Recent[str, tuple[Frame, ...]] = Recent(settings.frame_tables_kept)

    async def manifest(self, key: str) -> Manifest:
        known = self.manifests.get(key)
        if known is None:
            with present(key.partition("/")[0], "manifest"):
                known = await read_manifest(self.blobs, key)
            self.manifests.keep(key, known, known.instance_count)
        return known

    async def forget(self, manifest: str) -> None:
        """Drop what is kept of a batch that is deleted on purpose, on disk and in memory."""
        try:
            found = await self.manifest(manifest)
        except Damaged:
            return  # it was deleted before, and its packs are forgotten
        for series in found.series:
            await self.cache.forget(series)
        self.manifests.drop(manifest)
        self.located.forget()

    async def batch(self, manifest: str) -> list[StoredSeries]:
        """The series of a batch, each with the attributes of its first instance."""
        found = await self.manifest(manifest)
        return [await self._stored(found, manifest, packed) for packed in found.series]

    async def _stored(self, manifest: Manifest, key: str, packed: PackedSeries) -> StoredSeries:
        metadata = metadata_of(packed)
        with present(manifest.study, "metadata"):
            first, *_ = await read_metadata(self.blobs, metadata)
        where = SeriesBatch(batch=manifest.batch, manifest=key, metadata=metadata, instances=len(packed.instances))
        return StoredSeries(
            series_instance_uid=packed.series_instance_uid,
            modality=packed.modality,
            where=where,
            first=first,
            uids=frozenset(each.sop_instance_uid for each in packed.instances),
        )

    async def uids(self, series: Series) -> dict[int, frozenset[str]]:
        """The SOP instances of each batch of a series."""
        return {
            batch.batch: frozenset(
                each.sop_instance_uid for packed in await self._packed(series, batch) for each in packed.instances
            )
            for batch in series.batches
        }

    async def _packed(self, series: Series, batch: SeriesBatch) -> list[PackedSeries]:
        manifest = await self.manifest(batch.manifest)
        return [each for each in manifest.series if each.series_instance_uid == series.series_instance_uid]

    # ── instances ────────────────────────────────────────────────────────────────────────────────────

    async def instances(self, series: Series) -> list[Located]:
        """Every instance of a series, in the order of its batches; one that came again is the later one."""
        return list((await self._located(series)).values())

    async def instance(self, series: Series, sop_instance_uid: str) -> Located:
        found = (await self._located(series)).get(sop_instance_uid)
        if found is None:
            raise NotFound("this series has no such instance")
        return found

    async def _located(self, series: Series) -> dict[str, Located]:
        """By SOP Instance UID, for the batches that the series has now."""
        key: BatchesOf = (series.study, series.series_instance_uid, tuple(each.batch for each in series.batches))
        known = self.located.get(key)
        if known is None:
            known = {
                each.sop_instance_uid: Located(series.study, packed, each, place)
                for batch in series.batches
                for packed in await self._packed(series, batch)
                for place, each in enumerate(packed.instances)
            }
            self.located.keep(key, known, len(known))
        return known

    async def every(self, found: Sequence[Located]) -> AsyncGenerator[tuple[Located, IO[bytes]]]:
        """Each instance's file, proven, while the packs still come."""
        for each in found:
            with await self.whole(each, follow=True) as file:
                yield each, file

    async def whole(self, located: Located, *, follow: bool = False) -> IO[bytes]:
        """The instance's file, once its hash is proven. Close it.

        It is part of the pack's copy on this disk. While that comes, large instances are waited for, and all are by
        those who `follow` it; others are read by themselves. Raises `Damaged` rather than hand out a wrong byte.
        """
        copy = self.cache.copy(located.series)
        if copy is not None and (follow or located.packed.length > self.settings.spool_bytes):
            await copy.reached(located.packed)
        if copy is not None and copy.proves(located.packed):
            return CopiedInstance(copy, located.packed)
        return await self._by_itself(located)

    async def _by_itself(self, located: Located) -> IO[bytes]:
        """The instance out of the object store; small ones in memory, large ones on disk."""
        file: IO[bytes] = SpooledTemporaryFile(max_size=self.settings.spool_bytes)  # noqa: SIM115  the caller closes it
        try:
            await pour_instance(self.blobs, located.series, located.packed, file.write)
        except BaseException as error:
            file.close()
            if isinstance(error, Invalid | NotFound):
                raise located.damaged() from error
            raise
        file.seek(0)
        return file

    # ── frames ───────────────────────────────────────────────────────────────────────────────────────

    async def frame_table(self, located: Located) -> tuple[Frame, ...]:
        """Where the instance's frames are: read once from the whole, proven instance."""
        known = self.frame_tables.get(located.packed.sha256)
        if known is not None:
            return known
        with await self.whole(located) as file:
            table = await self.workers.compute(index_frames, file)
        return self.frame_tables.keep(located.packed.sha256, table, len(table))

    async def copied_whole(self, series: Series) -> None:
        """Return once every pack of the series has its copy on this disk, or will have none."""
        packs = {each.series.pack: each for each in await self.instances(series)}  # its last instance, by pack
        for last in packs.values():
            copy = self.cache.copy(last.series)
            if copy is not None:
                await copy.reached(last.packed)

    def copied(self, located: Located) -> Copy | None:
        """The pack's copy on this disk, if the instance is in it by now."""
        copy = self.cache.copy(located.series)
        return copy if copy is not None and copy.proves(located.packed) else None

    async def frame(self, located: Located, frame: Frame) -> Bytes:
        """One frame by one ranged read; raises `Damaged` if it is not the frame that was indexed."""
        (start, length), copy = frame.span, self.copied(located)
        if copy is not None:
            return frame.cut(await copy.read(located.packed.offset + start, length))
        try:
            run = await self.blobs.read(located.series.pack, start=located.packed.offset + start, length=length)
        except NotFound as error:
            raise located.damaged() from error
        found = frame.cut(run)
        if not await asyncio.to_thread(frame.intact, found):
            raise located.damaged()
        return found


def metadata_of(packed: PackedSeries) -> str:
    """The key of a series' metadata, which anonymize always writes."""
    if packed.metadata is None:
        raise Invalid(f"{packed.pack} has no metadata beside it")
    return packed.metadata


def pieces(file: IO[bytes], span: range, head: bytes = b"") -> AsyncIterator[Bytes]:
    """The head and these bytes of the file in pieces of about 1 MiB; one in memory at once."""
    return file.pieces(span, head) if isinstance(file, CopiedInstance) else read_on(file, span, head)


async def read_on(file: IO[bytes], span: range, head: bytes) -> AsyncIterator[bytes]:
    yield head
    file.seek(span.start)
    for run in runs(span):
        yield await asyncio.to_thread(file.read, len(run))
