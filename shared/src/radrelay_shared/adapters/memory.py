from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from radrelay_shared.adapters import check_size
from radrelay_shared.errors import Full, Unreachable
from radrelay_shared.ports import (
    RETRY_TIERS,
    Ack,
    Consumer,
    Dead,
    DeadLetter,
    Delivery,
    Message,
    Retry,
    Verdict,
)

log = logging.getLogger("radrelay.bus")

CLOSE_SECONDS = 10


class MemoryBus:
    """The bus inside one process: `publish` returns once every subscriber has acked or its dead letter is kept.

    Until then the message is the publisher's: a crash, a cancelled publish or a drain leaves it in the outbox.
    Retries wait inside `publish`. Dead letters survive a restart if there is a folder for them.
    """

    def __init__(self, folder: Path | None = None, *, retry_tiers: Sequence[timedelta] = RETRY_TIERS) -> None:
        self._after_crash = retry_tiers[0]
        self._letters: Letters = Drawer() if folder is None else Folder(folder)
        self._services: dict[str, Subscription] = {}
        self._draining = asyncio.Event()
        self._calls: set[asyncio.Task[Verdict]] = set()
        self._deliveries: set[asyncio.Task[None]] = set()
        self._replaying: set[tuple[str, str]] = set()

    async def publish(self, message: Message) -> None:
        check_size(message)
        readers = [service for service, sub in self._services.items() if message.type in sub.consumers]
        if not readers:
            raise Unreachable(f"nobody listens for {message.type} yet")
        deliveries = [self._start(self._deliver(service, message)) for service in readers]
        try:
            await asyncio.gather(*deliveries)
        finally:
            for delivery in deliveries:
                delivery.cancel()

    async def subscribe(
        self, service: str, types: Sequence[str], consumer: Consumer, *, prefetch: int = 8
    ) -> None:
        subscription = self._services.setdefault(service, Subscription(prefetch))
        subscription.consumers.update(dict.fromkeys(types, consumer))

    async def healthy(self) -> None:
        if self._draining.is_set():
            raise Unreachable("the bus is draining")

    async def dead_letters(self, service: str, *, limit: int = 100) -> list[DeadLetter]:
        letters = await asyncio.to_thread(self._letters.of, service)
        return [letter for letter in letters if (service, letter.message.id) not in self._replaying][:limit]

    async def replay(self, service: str, message_id: str | None = None) -> int:
        """Start the deliveries; a letter stays kept, though unlisted, until its delivery is settled."""
        listed = await self.dead_letters(service, limit=-1)
        letters = [letter for letter in listed if message_id in (None, letter.message.id)]
        for letter in letters:
            self._start(self._redeliver(letter))
        return len(letters)

    async def drain(self) -> None:
        self._draining.set()
        while under_way := self._calls | self._deliveries:
            await asyncio.wait(under_way)

    async def close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.drain()
        except TimeoutError:
            for task in self._calls:
                task.cancel()

    def _start(self, delivery: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(delivery)
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)
        return task

    async def _deliver(self, service: str, message: Message) -> None:
        """Return once the service's verdict is final and durable."""
        attempt = 1
        while True:
            match await self._attempt(self._services[service], Delivery(message, attempt)):
                case Ack():
                    return
                case Dead(reason):
                    letter = DeadLetter(message, service, reason, attempt)
                    return await keep(self._letters, letter)
                case Retry(after):
                    await self._pause(after)
            attempt += 1

    async def _attempt(self, subscription: Subscription, delivery: Delivery) -> Verdict:
        """One call of the consumer. A publisher that gives up leaves it to finish, as a real broker's would."""
        lane = subscription.lane(delivery.message)
        await lane.acquire()
        if self._draining.is_set():
            lane.release()
            raise Unreachable("the bus is draining")
        call = asyncio.create_task(self._call(subscription.consumers[delivery.message.type], delivery))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        call.add_done_callback(lambda _: lane.release())
        return await asyncio.shield(call)

