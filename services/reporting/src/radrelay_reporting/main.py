"""Reporting: draft, preliminary, final, addendum."""

from __future__ import annotations

from radrelay_reporting.api import router
from radrelay_reporting.domain import Case
from radrelay_reporting.handlers import on_assignment, on_delivery
from radrelay_shared import events
from radrelay_shared.service import Service, run

SERVICE = Service(
    name="reporting",
    handlers={
        events.StudyAssigned: on_assignment,
        events.AssignmentClaimed: on_assignment,
        events.AssignmentReturned: on_assignment,
        events.ReportDelivered: on_delivery,
        events.ReportUndelivered: on_delivery,
    },
    emits=(events.ReportPreliminary, events.ReportFinalized, events.ReportAddended),
    paths=("/reports",),
    aggregates=(Case,),
    routers=(router,),
)


def main() -> None:
    run(SERVICE)
