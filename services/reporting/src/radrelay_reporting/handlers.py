"""What reporting does when other services say something."""

from __future__ import annotations

from functools import partial
from typing import Any

from radrelay_reporting import domain
from radrelay_reporting.domain import AssignmentEvent, Case
from radrelay_shared.envelope import Envelope
from radrelay_shared.events import ReportDelivered, ReportUndelivered, StudyStored
from radrelay_shared.service import Context


async def on_assignment(envelope: Envelope[AssignmentEvent], context: Context[Any]) -> None:
    """Offered, claimed, returned: the case follows the workitem."""
    decide = partial(domain.assigned, event=envelope.data, sequence=envelope.sequence)
    await context.store.change(Case, envelope.data.study, decide, because=envelope)


async def on_study_stored(envelope: Envelope[StudyStored], context: Context[Any]) -> None:
    """Images came, perhaps after the report."""
    decide = partial(domain.images_came, event=envelope.data)
    await context.store.change(Case, envelope.data.study, decide, because=envelope)


async def on_delivery(envelope: Envelope[ReportDelivered | ReportUndelivered], context: Context[Any]) -> None:
    """A report arrived at the hospital, or did not."""
    decide = partial(domain.delivered, event=envelope.data)
    await context.store.change(Case, envelope.data.study, decide, because=envelope)
