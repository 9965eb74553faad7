"""The compressed DICOM JSON beside the packs: whole arrays as they are stored, and single instances of them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Sequence

from radrelay_shared.ports import Blobs
from radrelay_storage.domain import Series
from radrelay_storage.listing import Listed, elements, listed
from radrelay_storage.problems import present
from radrelay_storage.recent import Recent
from radrelay_storage.settings import StorageSettings
from radrelay_storage.workers import Workers

BROKEN = (gzip.BadGzipFile, EOFError, zlib.error, ValueError, KeyError)  # what is no compressed JSON raises


class Descriptions:
    """Reads what anonymize wrote about the instances of each batch of a series."""

    def __init__(self, blobs: Blobs, settings: StorageSettings, workers: Workers) -> None:
        self.blobs, self.workers = blobs, workers
        self.stored: Recent[str, bytes] = Recent(settings.metadata_bytes)
        self.texts: Recent[str, tuple[bytes, ...]] = Recent(settings.metadata_bytes)
        self.listings: Recent[str, tuple[Listed, ...]] = Recent(settings.instances_listed)

    async def compressed(self, study: str, key: str) -> bytes:
        """One array as it is stored."""
        known = self.stored.get(key)
        if known is None:
            with present(study, "metadata"):
                known = await self.blobs.read(key)
            self.stored.keep(key, known, len(known))
        return known

    async def elements(self, study: str, key: str) -> tuple[bytes, ...]:
        """The JSON texts of one array's instances, in pack order."""
        known = self.texts.get(key)
        if known is None:
            compressed = await self.compressed(study, key)
            with present(study, "metadata", *BROKEN):
                known = await self.workers.compute(elements, compressed)
            self.texts.keep(key, known, sum(map(len, known)))
        return known

    async def listing(self, series: Series) -> list[Listed]:
        """Every instance of a series, in the order of its batches; one that came again is the later one."""
        found: dict[str, Listed] = {}
        for batch in series.batches:
            found |= {each.uid: each for each in await self._listed(series.study, batch.metadata)}
        return list(found.values())

    async def _listed(self, study: str, key: str) -> tuple[Listed, ...]:
        known = self.listings.get(key)
        if known is None:
            texts = await self.elements(study, key)
            with present(study, "metadata", *BROKEN):
                known = await self.workers.compute(listed, key, texts)
            self.listings.keep(key, known, len(known))
        return known

    async def text(self, study: str, key: str, place: int) -> bytes:
        """One instance's metadata as JSON; it has the instance's place in the pack."""
        return (await self.elements(study, key))[place]

    async def one_array(self, found: Sequence[Series]) -> AsyncIterator[bytes]:
        """One JSON array of every instance of these series, a series' batch at a time."""
        start = b"["
        async for texts in self.batches(found):
            yield start + b",".join(texts)
            start = b","
        yield b"]" if start == b"," else b"[]"

    async def batches(self, found: Sequence[Series]) -> AsyncIterator[tuple[bytes, ...]]:
        """The JSON texts of every instance of these series, a series' batch at a time."""
        for series in found:
            chosen = await self.listing(series) if series.repeats else None
            for batch in series.batches:
                texts = await self.elements(series.study, batch.metadata)
                if chosen is not None:
                    texts = tuple(texts[each.place] for each in chosen if each.metadata == batch.metadata)
                if texts:
                    yield texts
