"""The relay: publishes what was stored with documents, then strikes it off. Crash-safe by repetition."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial

from radrelay_shared.errors import RadRelayError
from radrelay_shared.ports import Bus, Documents, Message, Outgoing
from radrelay_shared.telemetry import Telemetry

log = logging.getLogger("radrelay.outbox")

AT_ONCE = 128
POLL_SECONDS = 2.0
BACKOFF_SECONDS = (0.2, 1.0, 2.0, 5.0)


class Relay:
    """Publishes each document's events in order, documents side by side; polling is only the fallback."""

    def __init__(self, documents: Documents, bus: Bus, telemetry: Telemetry) -> None:
        self.documents, self.bus, self.telemetry = documents, bus, telemetry
        self.wake = asyncio.Event()
        self.under_way: dict[tuple[str, str], asyncio.Task[None]] = {}

    def nudge(self) -> None:
        """Something was stored; look at once."""
        self.wake.set()

    async def run(self) -> None:
        """Relay until cancelled; what is under way is then cancelled too and will be published again."""
        try:
            while True:
                self.wake.clear()
                await self._start_waiting()
                try:
                    async with asyncio.timeout(POLL_SECONDS):
                        await self.wake.wait()
                except TimeoutError:
                    pass
        finally:
            for task in self.under_way.values():
                task.cancel()

    async def idle(self) -> None:
        """Wait until nothing is left to publish."""
        while self.under_way or await self._waiting():
            self.nudge()
            await asyncio.sleep(0.02)

    async def _waiting(self) -> list[Outgoing]:
        return await self.documents.outgoing(limit=1)

    async def _start_waiting(self) -> None:
        """Start a task for each document that waits, as far as there is room."""
        before = set(self.under_way)  # their events may be settled while we read, so what we read of them is stale
        if len(before) >= AT_ONCE:
            return
        try:
            found = await self.documents.outgoing(limit=2 * AT_ONCE)
        except RadRelayError as error:
            log.warning("the outbox cannot be read and is tried again: %s", error.detail)
            return
        for item in found:
            key = (item.collection, item.document_id)
            if key not in before and len(self.under_way) < AT_ONCE:
                task = asyncio.create_task(self._relay(item), name=f"relay {item.collection}")
                self.under_way[key] = task
                task.add_done_callback(partial(self._done, key))

    def _done(self, key: tuple[str, str], _: asyncio.Task[None]) -> None:
        del self.under_way[key]
        self.nudge()

    async def _relay(self, item: Outgoing) -> None:
        """Publish one document's events; a failure keeps this document's place and waits longer each time.

        After the longest wait the document is read afresh.
        """
        waiting = list(item.messages)
        for pause in BACKOFF_SECONDS:
            try:
                while waiting:
                    await self._publish(waiting[0])
                    await self.documents.settle(item.collection, item.document_id, [waiting[0].id])
                    del waiting[0]
            except Exception as error:  # whatever failed, the events must not be forgotten
                log.warning("an event of %s waits in the outbox", item.collection, exc_info=error)
                await asyncio.sleep(pause)
            else:
                return

    async def _publish(self, message: Message) -> None:
        with self.telemetry.send(message) as headers:
            await self.bus.publish(replace(message, headers=headers))
