"""What storage's handlers and routes work with."""

from __future__ import annotations

from dataclasses import dataclass, field

from radrelay_shared.service import Context
from radrelay_storage.descriptions import Descriptions
from radrelay_storage.domain import Series
from radrelay_storage.recent import Recent
from radrelay_storage.settings import StorageSettings
from radrelay_storage.shelf import Shelf
from radrelay_storage.workers import Workers

SERIES_SEEN = 256


@dataclass
class StorageContext(Context[StorageSettings]):
    workers: Workers = field(init=False)
    seen: Recent[tuple[frozenset[str], str, str], tuple[float, Series]] = field(
        default_factory=lambda: Recent(SERIES_SEEN)
    )  # by the caller's sites, study and series: until when, and what
    shelf: Shelf = field(init=False)  # the packs, opened
    descriptions: Descriptions = field(init=False)  # and what lies beside them

    async def open(self) -> None:
        self.workers = Workers(self.settings.decoders)
        self.shelf = Shelf(self.blobs, self.settings, self.workers)
        self.descriptions = Descriptions(self.blobs, self.settings, self.workers)

    async def close(self) -> None:
        await self.shelf.cache.close()
