"""reporting listens to claims and deliveries, and takes a radiologist's words from draft to signed report."""

from __future__ import annotations

from collections.abc import Mapping

from radrelay_reporting.api import router
from radrelay_reporting.domain import Case
from radrelay_reporting.handlers import on_assignment, on_delivery, on_study_stored
from radrelay_shared import events
from radrelay_shared.service import Handler, Service, run

HANDLERS: Mapping[type[events.Event], Handler] = {
    events.StudyAssigned: on_assignment,
    events.AssignmentClaimed: on_assignment,
    events.AssignmentReturned: on_assignment,
    events.StudyStored: on_study_stored,
    events.ReportDelivered: on_delivery,
    events.ReportUndelivered: on_delivery,
}
EMITS = (events.ReportPreliminary, events.ReportFinalized, events.ReportAddended)
SERVICE = Service("reporting", HANDLERS, EMITS, paths=("/reports",), aggregates=(Case,), routers=(router,))


def main() -> None:
    run(SERVICE)
