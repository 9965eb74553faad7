"""What an assistant sees of studies that wait for a person, and what comes of the decision."""

from __future__ import annotations

from functools import partial

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain import reviews
from radrelay_ingest.domain.orders import Order
from radrelay_ingest.domain.patients import Patient
from radrelay_ingest.domain.studies import Study
from radrelay_ingest.identities import keep_words, rename
from radrelay_ingest.matches import orders_beside, reconsider, tell_orders
from radrelay_shared.aggregate import Decision
from radrelay_shared.errors import NotFound, Refused
from radrelay_shared.events import Key
from radrelay_shared.ports import Eq, In, Where
from radrelay_shared.security import EVERY_SITE, Principal


async def waiting(context: IngestContext, caller: Principal, limit: int) -> list[Study]:
    """Studies of the caller's sites that wait for a person, those received first first."""
    where: list[Where] = [Eq("review", True)]
    if not caller.sees(EVERY_SITE):
        where.append(In("site", tuple(sorted(caller.sites))))
    return await context.store.find(Study, where, sort="received_at", limit=limit)


async def study_for(context: IngestContext, caller: Principal, key: Key) -> Study:
    found = await context.store.read(Study, key)
    if found is None or not caller.sees(found.site):
        raise NotFound("there is no study for you here")
    return found


async def order_for(context: IngestContext, study: Study, key: Key) -> Order:
    """An order of the study's own site."""
    found = await context.store.read(Order, key)
    if found is None or found.site != study.site:
        raise NotFound("there is no order of this key at the study's site")
    return found


async def release(context: IngestContext, study: Study, order: Order | None) -> Study:
    """Let it go on, with this order or none; raises `Refused` if it was purged."""
    _must_be_here(study)
    current = await context.store.read(Study, study.study) or study
    before = await orders_beside(context, current)
    words = await keep_words(context, current, [*before, order] if order else before)
    released = await _decide(context, study, partial(reviews.release, order=order, words=words))
    await tell_orders(context, released, before)
    await reconsider(context, study.study)
    return released


async def reject(context: IngestContext, study: Study) -> Study:
    return await _decide(context, study, reviews.reject)


async def dismiss(context: IngestContext, study: Study) -> Study:
    return await _decide(context, study, reviews.dismiss)


async def correct(context: IngestContext, study: Study, patient: Patient, order: Order | None) -> Study:
    """The images name the wrong patient: its reports go back under this one; the originals stay as they are."""
    _must_be_here(study)
    await rename(context, study, patient, "corrected")
    return await release(context, study, order)


def _must_be_here(study: Study) -> None:
    if study.purged:
        raise Refused(f"{study.study} was purged: there is nothing of it that could go on")


async def _decide(context: IngestContext, study: Study, decision: reviews.Decide) -> Study:
    def decide(current: Study | None) -> Decision[Study]:
        return decision(current or study)

    return await context.store.change(Study, study.study, decide) or study
