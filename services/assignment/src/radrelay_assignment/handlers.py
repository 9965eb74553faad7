from __future__ import annotations

from functools import partial

from radrelay_assignment.context import AssignmentContext
from radrelay_assignment.domain.workitems import Workitem, finish, to_read, workitem_key
from radrelay_shared.events import Envelope, ReportFinalized, StudyTriaged


async def on_study_triaged(envelope: Envelope[StudyTriaged], context: AssignmentContext) -> None:
    decide = partial(to_read, event=envelope.data, sequence=int(envelope.sequence))
    await context.store.change(Workitem, workitem_key(envelope.data.study), decide, because=envelope)
    context.dispatcher.nudge()


async def on_report_finalized(envelope: Envelope[ReportFinalized], context: AssignmentContext) -> None:
    decide = partial(finish, event=envelope.data, now=envelope.time)
    await context.store.change(Workitem, workitem_key(envelope.data.study), decide, because=envelope)
    context.dispatcher.nudge()
