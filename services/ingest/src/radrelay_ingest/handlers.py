"""What ingest does when the others decided on a study: so far, that it is to be deleted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.sealing import erased
from radrelay_ingest.domain.studies import Study
from radrelay_ingest.originals import delete_originals
from radrelay_shared import events
from radrelay_shared.envelope import Envelope
from radrelay_shared.events import Event, StudyPurged
from radrelay_shared.service import Handler


async def on_study_purged(envelope: Envelope[StudyPurged], context: IngestContext) -> None:
    """Delete the originals of every batch that was sealed before the decision, and say so.

    Where a retention lock still holds one, this is `Refused` and waits among the dead letters: replay it after that.
    """
    event = envelope.data
    study = await context.store.read(Study, event.study)
    if study is None or await context.store.handled(Study, event.study, envelope):
        context.store.nudge()
        return
    objects = await delete_originals(context.originals, study, event.purged_at)
    decide = partial(erased, event=event, objects=objects)
    study = await context.store.change(Study, event.study, decide, because=envelope) or study
    await delete_originals(context.originals, study, event.purged_at)  # what was kept while it was judged once more


HANDLERS: Mapping[type[Event], Handler] = {StudyPurged: on_study_purged}  # all else here begins outside
EMITS = (
    events.OrderReceived,
    events.PatientChanged,
    events.StudyReceived,
    events.StudyUpdated,
    events.StudyQuarantined,
    events.StudyErased,
)
