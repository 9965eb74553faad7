"""Each event that a hospital should hear of becomes one delivery per endpoint of that hospital."""

from __future__ import annotations

from functools import partial

from radrelay_notification import domain
from radrelay_notification.domain import Delivery, Endpoint
from radrelay_notification.sender import NotificationContext
from radrelay_shared.envelope import Envelope
from radrelay_shared.events import AssignmentStranded, Event, Report, StudyQuarantined
from radrelay_shared.ports import Eq


async def on_report(envelope: Envelope[Report], context: NotificationContext) -> None:
    """Preliminary, final, addendum: the clinic gets each version."""
    await queue(envelope, context, version=envelope.data.version)


async def on_study_quarantined(envelope: Envelope[StudyQuarantined], context: NotificationContext) -> None:
    """The clinic hears that a person must look, and why."""
    await queue(envelope, context, version=envelope.data.batch)


async def on_assignment_stranded(envelope: Envelope[AssignmentStranded], context: NotificationContext) -> None:
    """The clinic hears that nobody on shift may read this study, while there is time to act."""
    await queue(envelope, context, version=int(envelope.sequence))


async def queue(envelope: Envelope[Event], context: NotificationContext, *, version: int) -> None:
    """Idempotent: a delivery's id follows from the event, so a second delivery of it changes nothing."""
    where = (Eq("site", envelope.site), Eq("disabled", None))
    for endpoint in await context.store.find(Endpoint, where, limit=1000):
        new = domain.new_delivery(envelope.data, envelope.time, endpoint, version=version)
        await context.store.change(Delivery, new.id, partial(domain.queued, new=new), because=envelope)
    context.wake.set()
