"""What storage's handlers and routes work with."""

from __future__ import annotations

from dataclasses import dataclass, field

from radrelay_shared.service import Context
from radrelay_storage.descriptions import Descriptions
from radrelay_storage.settings import StorageSettings
from radrelay_storage.shelf import Shelf
from radrelay_storage.workers import Workers


@dataclass
class StorageContext(Context[StorageSettings]):
    workers: Workers = field(init=False)
    shelf: Shelf = field(init=False)  # the packs, opened
    descriptions: Descriptions = field(init=False)  # and what lies beside them

    async def open(self) -> None:
        self.workers = Workers(self.settings.decoders)
        self.shelf = Shelf(self.blobs, self.settings, self.workers)
        self.descriptions = Descriptions(self.blobs, self.settings, self.workers)
