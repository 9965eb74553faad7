"""Notification: signed webhooks to the hospitals that own the patients."""

from __future__ import annotations

from radrelay_notification.api import router
from radrelay_notification.domain import Delivery, Endpoint
from radrelay_notification.handlers import on_assignment_stranded, on_report, on_study_quarantined
from radrelay_notification.sender import NotificationContext, send_due
from radrelay_notification.settings import NotificationSettings
from radrelay_shared import events
from radrelay_shared.service import Service, run

SERVICE = Service(
    name="notification",
    handlers={
        events.ReportPreliminary: on_report,
        events.ReportFinalized: on_report,
        events.ReportAddended: on_report,
        events.StudyQuarantined: on_study_quarantined,
        events.AssignmentStranded: on_assignment_stranded,
    },
    emits=(events.ReportDelivered, events.ReportUndelivered),
    paths=("/webhooks",),
    settings=NotificationSettings,
    context=NotificationContext,
    aggregates=(Delivery, Endpoint),
    routers=(router,),
    tasks=(send_due,),
)


def main() -> None:
    run(SERVICE)
