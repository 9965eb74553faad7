"""The packs, opened: manifests, metadata, whole instances and frames, with every byte's hash checked."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO

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
from radrelay_storage.domain import Series, SeriesBatch, StoredSeries
from radrelay_storage.frames import Frame, index_frames
from radrelay_storage.problems import Damaged, damaged, present
from radrelay_storage.recent import Recent
from radrelay_storage.settings import StorageSettings
from radrelay_storage.workers import Workers

PIECE = 1 << 20
READ_TOGETHER = 4 << 20  # bytes of small instances

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
        """Each instance's file, proven; small neighbours in a pack are read together, the next while one is sent."""
        runs = list(neighbours(found, self.settings.spool_bytes))
        ahead = asyncio.create_task(self._run(runs[0])) if runs else None
        try:
            for number in range(len(runs)):
                files = await ahead if ahead else []
                ahead = asyncio.create_task(self._run(runs[number + 1])) if number + 1 < len(runs) else None
                for each, file in files:
                    if file is None:
                        raise each.damaged()
                    with file:
                        yield each, file
        finally:
            if ahead:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)
                if not ahead.cancelled() and ahead.exception() is None:
                    close(ahead.result())

    async def _run(self, run: Sequence[Located]) -> list[tuple[Located, IO[bytes] | None]]:
        """The files of neighbours in one pack; None in the place of one that is not as it was stored."""
        first, last = run[0], run[-1]
        if len(run) == 1:
            return [(first, await self.whole(first))]
        length = last.packed.offset + last.packed.length - first.packed.offset
        try:
            content = await self.blobs.read(first.series.pack, start=first.packed.offset, length=length)
        except NotFound as error:
            raise first.damaged() from error
        return list(zip(run, await self.workers.compute(cut, content, run), strict=True))

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
            table = await self.workers.compute(index_frames, file)
        return self.frame_tables.keep(located.packed.sha256, table, len(table))

    async def frame(self, located: Located, frame: Frame) -> bytes:
        """One frame by one ranged read; raises `Damaged` if it is not the frame that was indexed."""
        offset, length = frame.span
        try:
            run = await self.blobs.read(located.series.pack, start=located.packed.offset + offset, length=length)
        except NotFound as error:
            raise located.damaged() from error
        found = frame.cut(run)
        intact = frame.intact(found) if len(found) <= PIECE else await asyncio.to_thread(frame.intact, found)
        if not intact:
            raise located.damaged()
        return found


def metadata_of(packed: PackedSeries) -> str:
    """The key of a series' metadata, which anonymize always writes."""
    if packed.metadata is None:
        raise Invalid(f"{packed.pack} has no metadata beside it")
    return packed.metadata


def neighbours(found: Sequence[Located], longest: int) -> Iterator[list[Located]]:
    """Runs of instances that lie back to back in one pack, together at most `READ_TOGETHER` long, or one alone."""
    most, run, end = min(READ_TOGETHER, longest), list[Located](), 0
    for each in found:
        packed = each.packed
        follows = run and each.series.pack == run[0].series.pack and packed.offset == end
        if not follows or packed.offset + packed.length - run[0].packed.offset > most:
            if run:
                yield run
            run = []
        run.append(each)
        end = packed.offset + packed.length
    if run:
        yield run


def close(files: Sequence[tuple[Located, IO[bytes] | None]]) -> None:
    for _, file in files:
        if file is not None:
            file.close()


def cut(content: bytes, run: Sequence[Located]) -> list[IO[bytes] | None]:
    """The run's instances out of its bytes, each only if its hash is right."""
    start, view = run[0].packed.offset, memoryview(content)
    parts = [view[each.packed.offset - start :][: each.packed.length] for each in run]
    return [
        BytesIO(part) if hashlib.sha256(part).hexdigest() == each.packed.sha256 else None
        for part, each in zip(parts, run, strict=True)
    ]


async def pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    """The file in pieces of 1 MiB; one in memory at once."""
    if isinstance(file, BytesIO):
        yield file.getvalue()
        return
    while piece := await asyncio.to_thread(file.read, PIECE):
        yield piece
