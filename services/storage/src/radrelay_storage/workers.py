"""Work that needs a processor, in threads, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Workers:
    def __init__(self, number: int) -> None:
        self.free = asyncio.Semaphore(number)

    async def compute(self, work: Callable[..., T], *arguments: Any) -> T:
        async with self.free:
            return await asyncio.to_thread(work, *arguments)
