"""What storage's handlers and routes work with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from importlib.resources import files

from radrelay_shared.security import Principal
from radrelay_shared.service import Context
from radrelay_storage.custody.checkpoints import Signer, signer
from radrelay_storage.descriptions import Descriptions
from radrelay_storage.domain import Series
from radrelay_storage.lifecycle.policy import Rule, rules_in
from radrelay_storage.prefetch import Prefetch
from radrelay_storage.recent import Recent
from radrelay_storage.settings import StorageSettings
from radrelay_storage.shelf import Shelf
from radrelay_storage.workers import Workers

SERIES_SEEN = 256
READINGS_NOTED = 10_000
RECEIVED_AT_ONCE = 4  # requests that bring derived objects
REFUSALS_KEPT = 1000


@dataclass
class StorageContext(Context[StorageSettings]):
    workers: Workers = field(init=False)
    seen: Recent[tuple[Principal, str, str], tuple[float, Series]] = field(
        default_factory=lambda: Recent(SERIES_SEEN)
    )  # by the caller, study and series: until when, and what
    noted: Recent[tuple[Principal, str, str], bool] = field(default_factory=lambda: Recent(READINGS_NOTED))
    refused: Recent[tuple[Principal, str], float] = field(
        default_factory=lambda: Recent(REFUSALS_KEPT)
    )  # by the caller and study: until when nobody waits for it again
    shelf: Shelf = field(init=False)  # the packs, opened
    prefetch: Prefetch = field(init=False)  # before they are asked for
    descriptions: Descriptions = field(init=False)  # and what lies beside them

    query_address: tuple[str, int] | None = None  # where workstations are answered
    signer: Signer | None = None  # of the custody ledger's checkpoints
    receiving: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RECEIVED_AT_ONCE))  # requests
    verifying: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))  # studies are read one by one

    rules: tuple[Rule, ...] = ()  # of retention

    async def open(self) -> None:
        file = self.settings.retention_file or files("radrelay_storage") / "lifecycle" / "retention.yaml"
        self.rules = rules_in(file.read_text("utf-8"))
        key = self.settings.custody_key
        self.signer = signer(key.get_secret_value()) if key else None
        self.workers = Workers(self.settings.decoders)
        self.shelf = Shelf(self.blobs, self.settings, self.workers)
        self.prefetch = Prefetch(self.shelf)
        self.descriptions = Descriptions(self.blobs, self.settings, self.workers)

    @property
    def viewer_key(self) -> bytes | None:
        """Signs links to viewers."""
        key = self.settings.viewer_key
        return key.get_secret_value().encode() if key else None

    async def close(self) -> None:
        await self.shelf.cache.close()

    @property
    def public_keys(self) -> dict[str, str]:
        """Those that checkpoints are verified with, in hexadecimal by their ids."""
        known = self.signer.public if self.signer else {}
        return {name: key.public_bytes_raw().hex() for name, key in known.items()}
