"""What storage's handlers and routes work with."""

from __future__ import annotations

from dataclasses import dataclass, field

from radrelay_shared.service import Context
from radrelay_storage.settings import StorageSettings
from radrelay_storage.shelf import Shelf


@dataclass
class StorageContext(Context[StorageSettings]):
    shelf: Shelf = field(init=False)  # the packs, opened

    async def open(self) -> None:
        self.shelf = Shelf(self.blobs, self.settings)
