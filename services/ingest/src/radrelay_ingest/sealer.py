"""Sealing: a study that is whole goes from the spool to object storage, the world is told, the spool forgets it.

A crash anywhere is repaired by doing it again: a claimed batch never changes, its keys follow from its number, and
the study remembers which arrival it was sealed from.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from functools import partial

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.completeness import Basis, Wait
from radrelay_ingest.domain.sealing import grown
from radrelay_ingest.domain.sealing import seal as decide
from radrelay_ingest.domain.studies import Study
from radrelay_ingest.judging import Judge, Said, expected_priority
from radrelay_ingest.matches import answered, reconsider
from radrelay_ingest.originals import lock
from radrelay_ingest.packing import bring_in
from radrelay_ingest.questions import Questions
from radrelay_shared.errors import RadRelayError
from radrelay_shared.events import Key, Priority
from radrelay_shared.telemetry import PROPAGATOR, current_study

log = logging.getLogger("radrelay.ingest")

SHORTEST_PAUSE = 0.05  # seconds between looks at the spool, however many studies become whole one after the other
PAUSES = (1.0, 5.0, 15.0, 60.0)  # seconds between tries; the last one for ever


async def seal(context: IngestContext) -> None:
    """Seal every study that is whole until cancelled; what is under way then is done again after the restart."""
    await Sealer(context).run()


class Sealer:
    """Watches the spool; each study has a task of its own, so one that cannot be sealed holds up no other."""

    def __init__(self, context: IngestContext) -> None:
        self.context, self.spool = context, context.spool
        self.judge, self.questions = Judge(context), Questions(context)
        self.under_way: dict[Key, asyncio.Task[None]] = {}
        # STAT has slots of its own: it never waits while a backlog of routine studies is sealed.
        self.slots = {urgent: asyncio.Semaphore(context.settings.seal_at_once) for urgent in (False, True)}

    async def run(self) -> None:
        try:
            while True:
                pause = await self._sweep()
                await asyncio.sleep(pause)
        finally:
            tasks = [*self.under_way.values(), *self.questions.under_way.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _sweep(self) -> float:
        """Go on with what was claimed before, claim what has become whole; in so many seconds look again."""
        for study in await asyncio.to_thread(self.spool.claimed) - self.under_way.keys():
            self._start(study)
        pause = self.context.settings.sweep_seconds
        waiting = {study: last for study, last in self.spool.waiting().items() if study not in self.under_way}
        try:
            said = await self.judge.evidence(waiting)
        except RadRelayError as error:
            log.warning("no study can be judged now; all stay in the spool", exc_info=error)
            return pause
        for study, last in waiting.items():
            try:
                pause = min(pause, await self._look_at(study, last, said.get(study)))
            except (RadRelayError, OSError) as error:
                log.warning("a study cannot be judged now; it stays in the spool", exc_info=error)
        return max(pause, SHORTEST_PAUSE)

    async def _look_at(self, study: Key, last: datetime, said: Said | None) -> float:
        """Claim the study if it is whole, once its sender was asked where it can be; seconds until the next look."""
        found = await self.judge.judge(study, last, said)
        if isinstance(found, Wait):
            return (found.until - self.context.clock()).total_seconds()
        if found.basis is Basis.QUIET and self.questions.ask(study, last, said.sender if said else None):
            return self.context.settings.sweep_seconds
        if await asyncio.to_thread(self.spool.claim, study, last):  # or what came meanwhile is judged first
            self._start(study)
        return SHORTEST_PAUSE

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
        arrival = await asyncio.to_thread(self.spool.arrival, study)
        return self.slots[await expected_priority(self.context, arrival) is Priority.STAT]


async def seal_batch(context: IngestContext, study: Key) -> None:
    """Seal the study's claimed batch: packs and manifest, then study and event, then the spool lets go."""
    spool = context.spool
    arrival = await asyncio.to_thread(spool.arrival, study)
    parent = PROPAGATOR.extract({"traceparent": arrival.traceparent} if arrival.traceparent else {})
    with context.telemetry.span("seal", parent=parent):
        files = await asyncio.to_thread(spool.batch, study)
        current = await context.store.read(Study, study)
        if files and (current is None or current.sealed != arrival.id):
            whole = await Judge(context).sealed_as(study)
            harvest = await bring_in(context, arrival, files, current, whole)
            found, words = await answered(context, grown(current, arrival, harvest))
            change = partial(decide, arrival=arrival, harvest=harvest, found=found, words=words)
            await context.store.change(Study, study, change)
        if sealed := await context.store.read(Study, study):
            await lock(context, sealed)
        await reconsider(context, study)
        await asyncio.to_thread(spool.drop, study)
