from __future__ import annotations

from functools import partial

from radrelay_assignment.context import AssignmentContext
from radrelay_assignment.domain.workitems import Workitem, add, finish, to_read, workitem_key
from radrelay_shared.envelope import Envelope
from radrelay_shared.events import ReportAddended, ReportFinalized, StudyTriaged


async def on_study_triaged(envelope: Envelope[StudyTriaged], context: AssignmentContext) -> None:
    decide = partial(to_read, event=envelope.data, sequence=int(envelope.sequence))
    await context.store.change(Workitem, workitem_key(envelope.data.study), decide, because=envelope)
    context.dispatcher.nudge()


async def on_report_finalized(envelope: Envelope[ReportFinalized], context: AssignmentContext) -> None:
    decide = partial(finish, event=envelope.data, now=envelope.time)
    await context.store.change(Workitem, workitem_key(envelope.data.study), decide, because=envelope)
    context.dispatcher.nudge()


async def on_report_addended(envelope: Envelope[ReportAddended], context: AssignmentContext) -> None:
    await context.store.change(Workitem, workitem_key(envelope.data.study), add, because=envelope)
