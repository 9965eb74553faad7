"""What storage does when anonymize has a de-identified batch, and what its ledger notes of the others' work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from radrelay_shared.aggregate import Decision
from radrelay_shared.envelope import Envelope
from radrelay_shared.events import Event, PackRestored, Report, StudyAnonymized, StudyAssigned
from radrelay_shared.service import Handler
from radrelay_storage import domain
from radrelay_storage.access import every_series
from radrelay_storage.attributes import tag
from radrelay_storage.context import StorageContext
from radrelay_storage.custody.hops import DEIDENTIFIED, HOPS, RESTORED, STORED, hops_of
from radrelay_storage.custody.ledger import record
from radrelay_storage.domain import Series, StoredSeries, Study, series_key
from radrelay_storage.following import follow, share
from radrelay_storage.lifecycle.keeping import Keeping
from radrelay_storage.priors.api import studies_of
from radrelay_storage.priors.ranking import priors_of
from radrelay_storage.relations import FOLLOWED
from radrelay_storage.scrub import is_restored


async def on_study_anonymized(envelope: Envelope[StudyAnonymized], context: StorageContext) -> None:
    """Make a batch findable: its series first, then the study, whose write also says so to everyone else.

    Broken off in between, it is repeated whole; what is already there stays as it is.
    """
    event, store = envelope.data, context.store
    keeping = await store.read(Keeping, event.study)
    if keeping and keeping.purged and event.batch in keeping.purged.batches:
        return  # it comes once more, after its purge
    stored = await context.shelf.batch(event.manifest)
    for each in stored:
        key = series_key(event.study, each.series_instance_uid)
        before = await store.read(Series, key)
        others = await context.shelf.uids(before) if before else {}
        await store.change(Series, key, partial(domain.store_series, stored=each, others=others, of=event))
    instances = sum(each.instances for each in await every_series(event.study, context))
    await record(store, event.study, event.site, [DEIDENTIFIED(envelope), STORED(envelope)])
    siblings = await studies_of(context, event.site, pseudonym_in(stored))

    def decide(study: Study | None) -> Decision[Study] | None:
        return with_priors(domain.store_study(study, stored, instances, event), siblings)

    study = await store.change(Study, event.study, decide, because=envelope)
    if study:
        await share(study, context)
    context.seen.forget()


async def on_study_assigned(envelope: Envelope[StudyAssigned], context: StorageContext) -> None:
    """Let the radiologist see the study, and fetch its packs before they open it."""
    await follow(envelope, context)
    await context.prefetch.expect(await every_series(envelope.data.study, context))


def with_priors(decision: Decision[Study] | None, others: Sequence[Study]) -> Decision[Study] | None:
    """The announcement names the priors that there are now."""
    if decision is None:
        return None
    priors = priors_of(decision.state, others)
    return Decision(decision.state, [each.model_copy(update={"priors": priors}) for each in decision.events])


def pseudonym_in(stored: Sequence[StoredSeries]) -> str:
    found = (each.first.get(tag("PatientID"), {}).get("Value") for each in stored)
    return next((str(each[0]) for each in found if each), "")


async def on_hop(envelope: Envelope[Event], context: StorageContext) -> None:
    """Note in the study's chain of custody what another service did."""
    event = envelope.data
    await record(context.store, event.study, event.site, hops_of(envelope))


async def on_relation(envelope: Envelope[Event], context: StorageContext) -> None:
    """Let somebody see a study from now on, or no more."""
    await follow(envelope, context)


async def on_report(envelope: Envelope[Report], context: StorageContext) -> None:
    """Note it in the chain of custody, and let whoever reported a study keep it in sight."""
    await on_hop(envelope, context)
    await follow(envelope, context)


async def on_pack_restored(envelope: Envelope[PackRestored], context: StorageContext) -> None:
    """Read the batch that was made again, and note that it is whole."""
    event = envelope.data
    if await is_restored(context, event):
        await record(context.store, event.study, event.site, [RESTORED(envelope)])


HANDLERS: Mapping[type[Event], Handler] = {
    StudyAnonymized: on_study_anonymized,
    PackRestored: on_pack_restored,
    **dict.fromkeys(HOPS, on_hop),
    **dict.fromkeys(FOLLOWED, on_relation),
    **dict.fromkeys(HOPS.keys() & FOLLOWED.keys(), on_report),
    StudyAssigned: on_study_assigned,
}
