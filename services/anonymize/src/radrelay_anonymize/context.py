"""What anonymize works with beside its ports: two secrets, and room for a bounded number of instances."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from radrelay_anonymize.domain.identity import vault_key
from radrelay_anonymize.settings import AnonymizeSettings
from radrelay_shared.service import Context

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class AnonymizeContext(Context[AnonymizeSettings]):
    async def open(self) -> None:
        self.tenant_secret = self.settings.tenant_secret.get_secret_value().encode()
        self.vault_key = vault_key(self.settings.vault_key.get_secret_value())
        self.room = asyncio.Semaphore(self.settings.at_once)

    async def compute(self, work: Callable[P, T], *arguments: P.args, **more: P.kwargs) -> T:
        """Run work that needs a processor in a thread, a bounded number at a time."""
        async with self.room:
            return await asyncio.to_thread(work, *arguments, **more)
