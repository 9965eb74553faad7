"""What storage does when anonymize has a de-identified batch."""

from __future__ import annotations

from functools import partial

from radrelay_shared.events import Envelope, StudyAnonymized
from radrelay_storage import domain
from radrelay_storage.context import StorageContext
from radrelay_storage.domain import Series, Study, series_key


async def on_study_anonymized(envelope: Envelope[StudyAnonymized], context: StorageContext) -> None:
    """Make a batch findable: its series first, then the study, whose write also says so to everyone else.

    Broken off in between, it is repeated whole; what is already there stays as it is.
    """
    event = envelope.data
    stored = await context.shelf.batch(event.manifest)
    for each in stored:
        key = series_key(event.study, each.series_instance_uid)
        await context.store.change(Series, key, partial(domain.store_series, stored=each, event=event))
    decide = partial(domain.store_study, stored=stored, event=event)
    await context.store.change(Study, event.study, decide, because=envelope)
