"""Orders and studies find each other, whichever comes first, and whatever becomes known later.

Each side is written before it looks for the other, so whichever is later finds the earlier; and what a look found
counts for the study as it was when the look began, or is looked for again.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.matching import Answered, find
from radrelay_ingest.domain.orders import Order, match, unmatch
from radrelay_ingest.domain.patients import Identifier
from radrelay_ingest.domain.people import Person, remembered
from radrelay_ingest.domain.sealing import answer
from radrelay_ingest.domain.studies import Study
from radrelay_ingest.identities import keep_words, rename
from radrelay_shared.events import Key
from radrelay_shared.ports import Eq

MOST = 1000  # orders of one number, or studies of one accession number
CHAIN = 10  # merges after each other that are followed


async def answered(context: IngestContext, study: Study) -> tuple[Answered, Key]:
    """The order that a study answers, as far as orders are here, and the blob of whom all that may be its own name."""
    orders = await orders_beside(context, study)
    patient = study.subject.patient
    ids = await surviving(context, study.site, patient.ids)
    subject = study.subject.model_copy(update={"patient": patient.model_copy(update={"ids": ids})})
    found = find(subject, study.study_instance_uid, study.received_at, orders)
    return found, await keep_words(context, study.model_copy(update={"subject": subject}), orders)


async def reconsider(context: IngestContext, key: Key) -> None:
    """Judge a sealed study by the orders as they are now, and tell both of each other. Idempotent.

    One that was purged is left alone: nothing of it goes on, and nobody's identity is kept for it again.
    """
    study = await context.store.read(Study, key)
    if study is None or study.purged:
        return
    for number in study.subject.patient.ids:
        await remember(context, study.site, number, studies=(key,))
    while True:
        found, words = await answered(context, study)
        judged = await context.store.change(Study, key, partial(answer, seen=study, found=found, words=words)) or study
        if judged.purged:  # meanwhile
            await context.originals.delete(words)
            return
        if judged == study:
            break
        study = judged  # here or elsewhere, and maybe by orders that have changed since
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
    named = [Eq("site", study.site), Eq("request.study_instance_uid", study.study_instance_uid)]
    found = {order.order: order for order in await context.store.find(Order, named, limit=MOST)}
    subject = study.subject
    if subject.accession.value:
        numbered = await orders_numbered(context, study.site, "accession", subject.accession.value)
        found |= {order.order: order for order in numbered}
    keys = [key for person in await people(context, study.site, subject.patient.ids) for key in person.orders]
    for key in dict.fromkeys((study.order, study.against, *keys)):
        if key and key not in found and (order := await context.store.read(Order, key)):
            found[key] = order
    return list(found.values())
