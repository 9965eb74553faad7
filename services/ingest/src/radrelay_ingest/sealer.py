"""Sealing: a study that is whole goes from the spool to object storage, the world is told, the spool forgets it.

A crash anywhere is repaired by doing it again: a claimed batch never changes, its keys follow from its number, and
the study remembers which arrival it was sealed from.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from functools import partial

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.orders import Order
from radrelay_ingest.domain.sites import still_to_wait
from radrelay_ingest.domain.studies import Arrival, Study
from radrelay_ingest.domain.studies import seal as decide
from radrelay_ingest.orders import match_study
from radrelay_ingest.packing import bring_in
from radrelay_shared.errors import RadRelayError
from radrelay_shared.events import Key, Priority
from radrelay_shared.telemetry import PROPAGATOR, current_study

log = logging.getLogger("radrelay.ingest")

DONE = timedelta()
SHORTEST_PAUSE = 0.05  # seconds between looks at the spool, however many studies become whole one after the other
PAUSES = (1.0, 5.0, 15.0, 60.0)  # seconds between tries; the last one for ever


async def seal(context: IngestContext) -> None:
    """Seal every study that is whole until cancelled; what is under way then is done again after the restart."""
    await Sealer(context).run()


class Sealer:
    """Watches the spool; each study has a task of its own, so one that cannot be sealed holds up no other."""

    def __init__(self, context: IngestContext) -> None:
        self.context, self.spool = context, context.spool
        self.under_way: dict[Key, asyncio.Task[None]] = {}
        # STAT has slots of its own: it never waits while a backlog of routine studies is sealed.
        self.slots = {urgent: asyncio.Semaphore(context.settings.seal_at_once) for urgent in (False, True)}

    async def run(self) -> None:
        try:
            while True:
                pause = await self._sweep()
                await asyncio.sleep(pause)
        finally:
            tasks = list(self.under_way.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _sweep(self) -> float:
        """Go on with what was claimed before, claim what has become whole; in so many seconds look again."""
        for study in await asyncio.to_thread(self.spool.claimed) - self.under_way.keys():
            self._start(study)
        pause = self.context.settings.sweep_seconds
        for study, last in (await asyncio.to_thread(self.spool.waiting)).items():
            if study in self.under_way:
                continue
            try:
                left = await self._left(study, last)
                if left <= DONE:
                    await asyncio.to_thread(self.spool.claim, study)
                    self._start(study)
                else:
                    pause = min(pause, left.total_seconds())
            except (RadRelayError, OSError) as error:
                log.warning("a study cannot be judged now; it stays in the spool", exc_info=error)
        return max(pause, SHORTEST_PAUSE)

    async def _left(self, study: Key, last: datetime) -> timedelta:
        """What is left of the site's quiet period: of the shorter one if the study's order is STAT.

        While it is too early for any study of any site, neither arrival nor order is looked at.
        """
        now, sites = self.context.clock(), self.context.sites
        if (left := still_to_wait(last, now, sites.shortest_quiet)) > DONE:
            return left
        arrival = await asyncio.to_thread(self.spool.arrival, study)
        priority = priority_of(await order_of(self.context, arrival))
        return still_to_wait(last, now, self.context.site(arrival.site).quiet(priority))

    def _start(self, study: Key) -> None:
        task = asyncio.create_task(self._keep_trying(study), name=f"seal {study}")
        self.under_way[study] = task
        task.add_done_callback(lambda _: self.under_way.pop(study))

    async def _keep_trying(self, study: Key) -> None:
        current_study.set(study)
        tries = 0
        while True:
            try:
                async with await self._slot(study), asyncio.timeout(self.context.settings.handler_seconds):
                    await seal_batch(self.context, study)
                return
            except Exception as error:  # whatever it is, the batch stays and is tried again
                log.warning("the study cannot be sealed now; it stays in the spool", exc_info=error)
            await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)] * self.context.settings.retry_scale)
            tries += 1

    async def _slot(self, study: Key) -> asyncio.Semaphore:
        order = await order_of(self.context, await asyncio.to_thread(self.spool.arrival, study))
        return self.slots[priority_of(order) is Priority.STAT]


async def seal_batch(context: IngestContext, study: Key) -> None:
    """Seal the study's claimed batch: packs and manifest, then study and event, then the spool lets go."""
    spool = context.spool
    arrival = await asyncio.to_thread(spool.arrival, study)
    parent = PROPAGATOR.extract({"traceparent": arrival.traceparent} if arrival.traceparent else {})
    with context.telemetry.span("seal", parent=parent):
        files = await asyncio.to_thread(spool.batch, study)
        current = await context.store.read(Study, study)
        if files and (current is None or current.sealed != arrival.id):
            harvest = await bring_in(context, arrival, files, current)
            order = await order_of(context, arrival)
            await context.store.change(Study, study, partial(decide, arrival=arrival, harvest=harvest, order=order))
        if arrival.expects:
            await match_study(context, arrival.expects, study)
        await asyncio.to_thread(spool.drop, study)


async def order_of(context: IngestContext, arrival: Arrival) -> Order | None:
    return await context.store.read(Order, arrival.expects) if arrival.expects else None


def priority_of(order: Order | None) -> Priority:
    return order.request.priority if order else Priority.ROUTINE
