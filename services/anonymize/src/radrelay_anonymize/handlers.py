"""What anonymize does when a study, or more of it, is here."""

from __future__ import annotations

from functools import partial
from typing import Any

from radrelay_anonymize.batch import Work, identify
from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain.cases import Batch, Case, Held, erased, finished, legally_held
from radrelay_anonymize.restoring import made_again
from radrelay_anonymize.vault import identity_in, keep, keep_called, keep_uids, purge
from radrelay_shared.aggregate import Decision
from radrelay_shared.confided import confided
from radrelay_shared.envelope import Envelope
from radrelay_shared.events import (
    Event,
    PackDamaged,
    PackRestored,
    PatientChanged,
    StudyHeld,
    StudyPurged,
    StudyReceived,
    StudyUpdated,
)
from radrelay_shared.packs import Manifest, read_manifest

READING = "reading"  # the purpose for which the service de-identifies
UNREADABLE, PURGED = "unreadable", "identity-purged"


async def on_study_received(envelope: Envelope[StudyReceived], context: AnonymizeContext) -> None:
    """De-identify the batch into packs of its own, keep the identity sealed, and say what may go on."""
    event = envelope.data
    if await context.store.handled(Case, event.study, envelope):
        context.store.nudge()
        return
    originals = await read_manifest(context.originals, event.manifest)
    batch = await worked(context, event, originals)
    await context.store.change(Case, event.study, partial(finished, event=event, batch=batch), because=envelope)


async def on_patient_changed(envelope: Envelope[PatientChanged], context: AnonymizeContext) -> None:
    """Reports go back under what the clinic calls the patient now, whether or not the study is here yet."""
    event = envelope.data
    content = await confided(context.originals, event.identity)
    await keep_called(context, event.site, event.study, content, envelope.time)


async def on_study_held(envelope: Envelope[StudyHeld], context: AnonymizeContext) -> None:
    """Remember it, for the vault's own purge."""
    noted = partial(legally_held, sequence=envelope.sequence, held=envelope.data.held)
    await context.store.change(Case, envelope.data.study, noted, because=envelope)


async def on_study_purged(envelope: Envelope[StudyPurged], context: AnonymizeContext) -> None:
    """Destroy the way back to the patient, and say so."""
    await purge(context, envelope.data.study)
    await context.store.change(Case, envelope.data.study, erased, because=envelope)


async def on_pack_damaged(envelope: Envelope[PackDamaged], context: AnonymizeContext) -> None:
    """Make the batch again, and put it in the damaged one's place only if it came to the same bytes."""
    event = envelope.data
    await made_again(context, event, worked)
    told = PackRestored(site=event.site, study=event.study, batch=event.batch, manifest_sha256=event.manifest_sha256)
    await context.store.change(
        Case, event.study, lambda case: Decision(case, [told]) if case else None, because=envelope
    )


async def worked(context: AnonymizeContext, event: StudyReceived, originals: Manifest) -> Batch:
    """What de-identifying the batch comes to."""
    known = await context.store.read(Case, event.study)
    if known is not None and known.purged:
        return all_held(event, originals, PURGED)
    profile = (known and known.profile) or context.profiles.chosen(event.site, READING)
    found = await identify(context, event, originals, profile)
    if found is None:
        return all_held(event, originals, UNREADABLE)
    identity, words = found
    case = await keep(context, event.site, event.study, identity, profile)
    await keep_uids(context, case, event.batch, [*uids_in(originals), *words.uids])
    kept = identity_in(context, case)
    return await Work(context, event, originals, kept, words | kept.words, profile).run()


def uids_in(originals: Manifest) -> list[str]:
    series = [each.series_instance_uid for each in originals.series]
    instances = [each.sop_instance_uid for one in originals.series for each in one.instances]
    return [originals.study_instance_uid, *series, *instances]


def all_held(event: StudyReceived, originals: Manifest, reason: str) -> Batch:
    """Nothing of the batch may leave."""
    held = tuple(
        Held(series=number, place=place, reasons=(reason,))
        for number, series in enumerate(originals.series, 1)
        for place, _ in enumerate(series.instances, 1)
    )
    return Batch(batch=event.batch, held=held, reasons=(reason,), received=event)


HANDLERS: dict[type[Event], Any] = {
    PatientChanged: on_patient_changed,
    StudyReceived: on_study_received,
    StudyUpdated: on_study_received,
    StudyHeld: on_study_held,
    StudyPurged: on_study_purged,
    PackDamaged: on_pack_damaged,
}
