"""What anonymize does when a study, or more of it, is here."""

from __future__ import annotations

from functools import partial

from radrelay_anonymize.batch import Work, identify
from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain.cases import Batch, Case, finished
from radrelay_anonymize.domain.identity import Identity, Patient, seal, unseal
from radrelay_shared.errors import Invalid
from radrelay_shared.events import Envelope, StudyReceived
from radrelay_shared.packs import Manifest, read_manifest

UNREADABLE = Identity(patient=Patient())


async def on_study_received(envelope: Envelope[StudyReceived], context: AnonymizeContext) -> None:
    """De-identify the batch into packs of its own, keep the identity sealed, and say what may go on."""
    event = envelope.data
    if await context.store.handled(Case, event.study, envelope):
        context.store.nudge()
        return
    originals = await read_manifest(context.originals, event.manifest)
    known = await context.store.read(Case, event.study)
    try:
        identity, words = await identify(context, originals)
    except Invalid:
        identity, batch = UNREADABLE, unreadable(event, originals)
    else:
        if known:
            identity = unseal(context.vault_key, event.study, known.sealed)
        batch = await Work(context, event, originals, identity, words).run()
    sealed = seal(context.vault_key, event.study, identity)
    decide = partial(finished, event=event, batch=batch, sealed=sealed)
    await context.store.change(Case, event.study, decide, because=envelope)


def unreadable(event: StudyReceived, originals: Manifest) -> Batch:
    return Batch(batch=event.batch, quarantined=originals.instance_count, reasons=("unreadable",))
