"""Orders and studies find each other, whichever comes first, and whatever becomes known later.

Each side is written before it looks for the other, so whichever is later finds the earlier.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.matching import Answered, Subject, find
from radrelay_ingest.domain.orders import Order, match, unmatch
from radrelay_ingest.domain.patients import Identifier
from radrelay_ingest.domain.people import Person, remembered
from radrelay_ingest.domain.sealing import answer
from radrelay_ingest.domain.studies import Arrival, Study
from radrelay_ingest.identities import rename
from radrelay_shared.events import Key
from radrelay_shared.ports import Eq

MOST = 1000  # orders of one number, or studies of one accession number
CHAIN = 10  # merges after each other that are followed


async def answered(context: IngestContext, arrival: Arrival, subject: Subject, current: Study | None) -> Answered:
    """The order that a study with this batch answers, as far as orders are here."""
    whole = current.subject.merged(subject) if current else subject
    return await _find(context, arrival.site, arrival.study_instance_uid, arrival.received_at, whole)


async def reconsider(context: IngestContext, key: Key) -> None:
    """Judge a sealed study by the orders as they are now, and tell both of each other. Idempotent."""
    study = await context.store.read(Study, key)
    if study is None:
        return
    for number in study.subject.patient.ids:
        await remember(context, study.site, number, studies=(key,))
    found = await _find(context, study.site, study.study_instance_uid, study.received_at, study.subject)
    study = await context.store.change(Study, key, partial(answer, found=found)) or study
    await _follow_merges(context, study)
    await tell_orders(context, study, await orders_beside(context, study))


async def _follow_merges(context: IngestContext, study: Study) -> None:
    """Images that still bear a retired ID are reported under the surviving one."""
    patient = study.subject.patient
    ids = await surviving(context, study.site, patient.ids)
    if not study.held and ids[:1] != patient.ids[:1]:
        await rename(context, study, patient.model_copy(update={"ids": ids}), "merged")


async def tell_orders(context: IngestContext, study: Study, orders: Iterable[Order]) -> None:
    """Each order learns whether the study answers it; while the study is held back, nothing is said."""
    if study.held:
        return
    if study.order:
        await context.store.change(Order, study.order, partial(match, study=study.study))
    for order in orders:
        if study.study in order.studies and order.order != study.order:
            await context.store.change(Order, order.order, partial(unmatch, study=study.study))


async def studies_for(context: IngestContext, order: Order) -> set[Key]:
    """The sealed studies that may answer the order."""
    request, found = order.request, set(order.studies)
    found.add(context.study_key(order.site, order.study_instance_uid))
    if request.accession.value:
        named = [Eq("site", order.site), Eq("subject.accession.value", request.accession.value)]
        found |= {study.study for study in await context.store.find(Study, named, limit=MOST)}
    for person in await people(context, order.site, request.patient.ids):
        found |= set(person.studies)
    return found


async def orders_numbered(context: IngestContext, site: str, kind: str, value: str) -> list[Order]:
    """The site's orders with this number: `accession`, `placer` or `filler`."""
    return await context.store.find(Order, [Eq("site", site), Eq(f"request.{kind}.value", value)], limit=MOST)


async def remember(
    context: IngestContext, site: str, number: Identifier, orders: tuple[Key, ...] = (), studies: tuple[Key, ...] = ()
) -> None:
    """Enter orders and studies under a patient ID."""
    key = context.person_key(site, number.value)
    await context.store.change(Person, key, partial(remembered, person=key, orders=orders, studies=studies))


async def people(context: IngestContext, site: str, numbers: Iterable[Identifier]) -> list[Person]:
    """What is known under these patient IDs, and under those that took their place."""
    found: dict[Key, Person] = {}
    for number in await surviving(context, site, numbers):
        person = await context.store.read(Person, context.person_key(site, number.value))
        if person:
            found[person.person] = person
    return list(found.values())


async def surviving(context: IngestContext, site: str, numbers: Iterable[Identifier]) -> tuple[Identifier, ...]:
    """These patient IDs after those that took their place, the last one first."""
    chain = list(numbers)
    waiting = list(chain)
    while waiting and len(chain) < CHAIN:
        number = waiting.pop()
        person = await context.store.read(Person, context.person_key(site, number.value))
        heir = person.surviving(number) if person else None
        if heir and heir not in chain:
            chain.insert(0, heir)
            waiting.append(heir)
    return tuple(chain)


async def orders_beside(context: IngestContext, study: Study) -> list[Order]:
    """The orders that may come into question for a study, those that it answers or contradicts among them."""
    orders = await _orders_for(context, study.site, study.study_instance_uid, study.subject)
    known = {order.order for order in orders}
    others = [await context.store.read(Order, key) for key in (study.order, study.against) if key and key not in known]
    return [*orders, *(order for order in others if order)]


async def _find(
    context: IngestContext, site: str, study_instance_uid: str, received_at: datetime, subject: Subject
) -> Answered:
    orders = await _orders_for(context, site, study_instance_uid, subject)
    ids = await surviving(context, site, subject.patient.ids)
    patient = subject.patient.model_copy(update={"ids": ids})
    return find(subject.model_copy(update={"patient": patient}), study_instance_uid, received_at, orders)


async def _orders_for(context: IngestContext, site: str, study_instance_uid: str, subject: Subject) -> list[Order]:
    named = [Eq("site", site), Eq("request.study_instance_uid", study_instance_uid)]
    found = await context.store.find(Order, named, limit=MOST)
    if subject.accession.value:
        found += await orders_numbered(context, site, "accession", subject.accession.value)
    for person in await people(context, site, subject.patient.ids):
        read = [await context.store.read(Order, key) for key in person.orders]
        found += [order for order in read if order]
    return list({order.order: order for order in found}.values())
