"""Events in, triage out. Order and images may come in any order: whichever comes second finds the first."""

from __future__ import annotations

from functools import partial

from radrelay_shared.aggregate import Decision
from radrelay_shared.envelope import Envelope
from radrelay_shared.events import OrderReceived, ReportFinalized, StudyStored
from radrelay_shared.ports import Eq
from radrelay_triage.context import TriageContext
from radrelay_triage.domain.models import asking
from radrelay_triage.domain.studies import Order, Study, add_images, keep_order, retriage, stop_clock


async def on_order_received(envelope: Envelope[OrderReceived], context: TriageContext) -> None:
    event = envelope.data
    decide = partial(keep_order, event=event, told_at=envelope.time)
    order = await context.store.change(Order, event.order, decide, because=envelope)
    named = {order.study} if order and order.study else set()
    matched = await context.store.find(Study, [Eq("images.order", event.order)])
    for study in sorted(named.union(study.study for study in matched)):
        await reconsider(study, context)


async def on_study_stored(envelope: Envelope[StudyStored], context: TriageContext) -> None:
    event = envelope.data
    orders = await orders_of(event.study, event.order, context)

    def decide(known: Study | None) -> Decision[Study]:
        return asking(add_images(known, event, orders, context.contracts), context.models)

    await context.store.change(Study, event.study, decide, because=envelope)
    # An order that was written meanwhile looked for this study before it was there; so look for it once more.
    await reconsider(event.study, context)


async def on_report_finalized(envelope: Envelope[ReportFinalized], context: TriageContext) -> None:
    decide = partial(stop_clock, event=envelope.data, signed_at=envelope.time)
    await context.store.change(Study, envelope.data.study, decide, because=envelope)


async def reconsider(study_key: str, context: TriageContext) -> None:
    """Triage the study again on the orders as they are now; nothing is said if nothing changes."""
    known = await context.store.read(Study, study_key)
    if known is None or known.images is None:
        return
    orders = await orders_of(study_key, known.images.order, context)

    def decide(study: Study | None) -> Decision[Study] | None:
        return retriage(study, orders, context.contracts) if study else None

    await context.store.change(Study, study_key, decide)


async def orders_of(study_key: str, order_key: str | None, context: TriageContext) -> list[Order]:
    """The order that the study names, and those that name the study."""
    found = {order.order: order for order in await context.store.find(Order, [Eq("study", study_key)])}
    named = await context.store.read(Order, order_key) if order_key else None
    if named:
        found[named.order] = named
    return [found[key] for key in sorted(found)]
