"""What anonymize does when a study, or more of it, is here."""

from __future__ import annotations

from functools import partial

from radrelay_anonymize.batch import Work, identify
from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain.cases import Batch, Case, finished, identified
from radrelay_anonymize.domain.identity import Identity, seal, unseal
from radrelay_anonymize.domain.profile import Profile
from radrelay_shared.events import Envelope, StudyReceived
from radrelay_shared.packs import Manifest, read_manifest

READING = "reading"  # the purpose for which the service de-identifies


async def on_study_received(envelope: Envelope[StudyReceived], context: AnonymizeContext) -> None:
    """De-identify the batch into packs of its own, keep the identity sealed, and say what may go on."""
    event = envelope.data
    if await context.store.handled(Case, event.study, envelope):
        context.store.nudge()
        return
    originals = await read_manifest(context.originals, event.manifest)
    known = await context.store.read(Case, event.study)
    profile = (known and known.profile) or context.profiles.chosen(event.site, READING)
    found = await identify(context, event, originals, profile)
    if found is None:
        batch = unreadable(event, originals)
    else:
        identity, words = found
        kept = await keep(identity, profile, event, context)
        batch = await Work(context, event, originals, kept, words | kept.words, profile).run()
    await context.store.change(Case, event.study, partial(finished, event=event, batch=batch), because=envelope)


async def keep(found: Identity, profile: Profile, event: StudyReceived, context: AnonymizeContext) -> Identity:
    """The study's one identity, sealed in the vault before any copy is made: the first that was found there.

    The profile stays with it, for all batches of a study fare alike.
    """
    known = await context.store.read(Case, event.study)
    if known is None or not known.sealed:
        sealed = seal(context.vault_key, event.study, found)
        decide = partial(identified, study=event.study, site=event.site, sealed=sealed, profile=profile)
        known = await context.store.change(Case, event.study, decide)
    return unseal(context.vault_key, event.study, known.sealed) if known else found


def unreadable(event: StudyReceived, originals: Manifest) -> Batch:
    return Batch(batch=event.batch, quarantined=originals.instance_count, reasons=("unreadable",))
