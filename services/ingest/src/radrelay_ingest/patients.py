"""What becomes known of patients later: new names, IDs that were merged, visits that ended."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.orders import Order, Visit, of_patient, visited
from radrelay_ingest.domain.patients import Identifier, Patient, contradictions
from radrelay_ingest.domain.people import Merge, Person, remembered
from radrelay_ingest.domain.reviews import Reason
from radrelay_ingest.domain.studies import Study
from radrelay_ingest.identities import rename
from radrelay_ingest.matches import people, reconsider, remember
from radrelay_shared.named import Named

NOBODY = Named()


async def update(context: IngestContext, site: str, patient: Patient, besides: Named) -> None:
    """The clinic knows this patient better now: orders, and reports on studies, follow (HL7 A04, A08).

    `besides` is whom and what else it names of the patient: no text of what comes may say it.
    """
    await _follow(context, site, patient, patient.ids, "updated", besides)


async def merge(context: IngestContext, site: str, patient: Patient, retired: Iterable[Identifier]) -> None:
    """The retired IDs are this patient's, too: all that is known under them follows, and what comes later (HL7 A40)."""
    surviving = patient.ids[0]
    for number in retired:
        key = context.person_key(site, number.value)
        change = partial(remembered, person=key, merges=(Merge(retired=number, surviving=surviving),))
        person = await context.store.change(Person, key, change)
        if person and not number.means(surviving):
            await remember(context, site, surviving, person.orders, person.studies)
            await _follow(context, site, patient, (number,), "merged")


async def visit(context: IngestContext, site: str, patient: Patient, number: str, state: Visit) -> None:
    """The patient went home, or never came (HL7 A03, A11): noted on the visit's orders."""
    for order in await _orders(context, site, patient.ids):
        await context.store.change(Order, order.order, partial(visited, number=number, visit=state))


async def _follow(
    context: IngestContext,
    site: str,
    patient: Patient,
    known_as: tuple[Identifier, ...],
    reason: Reason,
    besides: Named = NOBODY,
) -> None:
    """Orders first, then studies; those held back, or maybe somebody else's, only look at the orders again."""
    studies = {key for person in await people(context, site, known_as) for key in person.studies}
    for order in await _orders(context, site, known_as):
        corrected = order.request.patient.corrected(patient)
        await context.store.change(Order, order.order, partial(of_patient, patient=corrected, besides=besides))
    for key in sorted(studies):
        study = await context.store.read(Study, key)
        if study and study.subject.patient.known_as(Patient(ids=known_as)) and _surely(study, patient):
            await rename(context, study, study.subject.patient.corrected(patient), reason)
        await reconsider(context, key)


async def _orders(context: IngestContext, site: str, numbers: tuple[Identifier, ...]) -> list[Order]:
    """The orders of a patient with one of these IDs."""
    keys = dict.fromkeys(key for person in await people(context, site, numbers) for key in person.orders)
    read = [await context.store.read(Order, key) for key in keys]
    return [order for order in read if order and order.request.patient.known_as(Patient(ids=numbers))]


def _surely(study: Study, patient: Patient) -> bool:
    """A study that answers its order is the order's patient's; another one may change in one thing, not in two."""
    if study.held:
        return False
    named = patient.model_copy(update={"ids": ()})
    return study.order is not None or len(contradictions(study.subject.patient, named)) <= 1
