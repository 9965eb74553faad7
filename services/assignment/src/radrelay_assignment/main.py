"""assignment listens to triage and signatures, and brings each study to one radiologist who may read it now."""

from __future__ import annotations

from collections.abc import Mapping

from radrelay_assignment.api import router
from radrelay_assignment.context import AssignmentContext, dispatch
from radrelay_assignment.domain.radiologists import Radiologist
from radrelay_assignment.domain.workitems import Workitem
from radrelay_assignment.handlers import on_report_addended, on_report_finalized, on_study_triaged
from radrelay_assignment.settings import AssignmentSettings
from radrelay_shared import events
from radrelay_shared.service import Handler, Service, run

HANDLERS: Mapping[type[events.Event], Handler] = {
    events.StudyTriaged: on_study_triaged,
    events.ReportFinalized: on_report_finalized,
    events.ReportAddended: on_report_addended,
}
EMITS = (events.StudyAssigned, events.AssignmentClaimed, events.AssignmentReturned, events.AssignmentStranded)
PATHS = ("/workitems", "/worklist", "/radiologists")
STATE = (Workitem, Radiologist)
SERVICE = Service(
    "assignment", HANDLERS, EMITS, PATHS, AssignmentSettings, AssignmentContext, STATE, (router,), (dispatch,)
)


def main() -> None:
    run(SERVICE)
