"""The dispatcher: returns what lapsed, and offers what waits, the most urgent first."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from radrelay_assignment.domain.radiologists import Radiologist
from radrelay_assignment.domain.rules import Busy, Chosen, Nobody, choose
from radrelay_assignment.domain.workitems import HELD, Workitem, lapse, offer, stamp, strand
from radrelay_assignment.settings import AssignmentSettings
from radrelay_shared.aggregate import Clock, Decision, Store
from radrelay_shared.errors import Retryable
from radrelay_shared.events import Priority
from radrelay_shared.ports import Eq, In, Range, Where

log = logging.getLogger("radrelay.assignment")

PAGE = 100
ALL = 10_000
GATHER_SECONDS = 0.02  # nudges of one burst are answered together

OpenItems = defaultdict[str, Counter[Priority]]


@dataclass
class Dispatcher:
    """Decisions one after the other within a process. Between processes the documents' revisions decide: of two
    that offer the same workitem one wins, and a load counted a moment too early costs an offer, never a study.
    """

    store: Store
    settings: AssignmentSettings
    clock: Clock
    tail: int = 0  # how far the long tail of waiting workitems was tried
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def nudge(self) -> None:
        """Something changed; look at once."""
        self.wake.set()

    async def run(self) -> None:
        """Sweep after each nudge, and every `sweep_seconds`, for time itself ends offers and begins shifts."""
        while True:
            self.wake.clear()
            try:
                async with asyncio.timeout(self.settings.handler_seconds):
                    await self.sweep()
            except (Retryable, TimeoutError) as error:
                log.warning("the sweep is tried again: %s %s", type(error).__name__, error)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.sweep_seconds):
                    await self.wake.wait()
                await asyncio.sleep(GATHER_SECONDS)

    async def sweep(self) -> None:
        """Return every lapsed offer and lease, then offer what waits."""
        async with self.turn:
            now = self.clock()
            await self._return_lapsed(now)
            waiting = await self._waiting()
            if waiting:
                await self._offer(waiting, now)

    async def _return_lapsed(self, now: datetime) -> None:
        over: list[Where] = [In("state", HELD), Range("until", high=stamp(now))]
        for item in await self.store.find(Workitem, over, sort="until", limit=ALL):
            await self.store.change(Workitem, item.id, partial(lapsed, now=now))

    async def _waiting(self) -> list[Workitem]:
        """The most urgent page, and one more page in turn, so that a long tail is neither starved nor costly."""
        find = partial(self.store.find, Workitem, [Eq("state", "waiting")], sort="turn", limit=PAGE)
        front = await find()
        if len(front) < PAGE:
            self.tail = 0
            return front
        more = await find(offset=PAGE + self.tail)
        self.tail = self.tail + PAGE if len(more) == PAGE else 0
        return front + more

    async def _offer(self, waiting: Sequence[Workitem], now: datetime) -> None:
        radiologists = await self.store.find(Radiologist, limit=ALL)
        loads = await open_items(self.store)
        decide = partial(self._decide, radiologists=radiologists, loads=loads, now=now)
        for seen in waiting:
            await asyncio.sleep(0)  # a long list of decisions never holds up the event loop
            if decide(seen) is None:
                continue
            item = await self.store.change(Workitem, seen.id, decide)
            if item and item.state == "offered":
                loads[str(item.radiologist)][item.priority] += 1

    def _decide(
        self, item: Workitem | None, radiologists: Sequence[Radiologist], loads: OpenItems, now: datetime
    ) -> Decision[Workitem] | None:
        """What becomes of a waiting workitem; None if it must wait on, or is not waiting any more."""
        if item is None or item.state != "waiting":
            return None
        match choose(item, radiologists, loads, now):
            case Chosen(radiologist, reasons):
                return offer(item, radiologist.id, reasons, now + self.settings.offer_lasts(item.priority))
            case Nobody(reasons):
                return strand(item, reasons)
            case Busy():
                return None


def lapsed(item: Workitem | None, now: datetime) -> Decision[Workitem] | None:
    return lapse(item, now) if item else None


async def open_items(store: Store, radiologist: str | None = None) -> OpenItems:
    """How many workitems each radiologist (or this one) has open, by priority, counted now."""
    where: list[Where] = [In("state", HELD)]
    if radiologist:
        where.append(Eq("radiologist", radiologist))
    loads: OpenItems = defaultdict(Counter)
    for document in await store.documents.find(Workitem.collection, where, limit=ALL):
        loads[document.state["radiologist"]][Priority(document.state["priority"])] += 1
    return loads
