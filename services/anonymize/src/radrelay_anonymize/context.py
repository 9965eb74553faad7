"""What anonymize works with beside its ports: two secrets, and room for a bounded number of instances."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from radrelay_anonymize.domain.profile import profiles_in
from radrelay_anonymize.domain.seals import keyring
from radrelay_anonymize.pixels.worker import Washer
from radrelay_anonymize.settings import AnonymizeSettings
from radrelay_shared.events import Priority
from radrelay_shared.service import Context


@dataclass
class AnonymizeContext(Context[AnonymizeSettings]):
    async def open(self) -> None:
        self.tenant_secret = self.settings.tenant_secret.get_secret_value().encode()
        self.keys = keyring(self.settings.vault_key.get_secret_value())
        file = self.settings.profiles_file
        self.profiles = profiles_in(file.read_text("utf-8") if file else "")
        self.rooms = {urgent: asyncio.Semaphore(self.settings.at_once) for urgent in (False, True)}
        self.washers = {urgent: Washer() for urgent in (False, True)}

    async def close(self) -> None:
        await asyncio.gather(*(asyncio.to_thread(each.close) for each in self.washers.values()))

    def room(self, priority: Priority) -> asyncio.Semaphore:
        """Held while an instance is in memory. STAT has room of its own: it never waits behind routine instances."""
        return self.rooms[priority is Priority.STAT]

    def washer(self, priority: Priority) -> Washer:
        """Who looks at pixels; STAT has a process of its own, too."""
        return self.washers[priority is Priority.STAT]
