"""notification listens to reports and to what needs a person, and tells the hospital that owns the patient."""

from __future__ import annotations

from collections.abc import Mapping

from radrelay_notification.api import router
from radrelay_notification.domain import Delivery, Endpoint
from radrelay_notification.handlers import on_assignment_stranded, on_report, on_study_quarantined
from radrelay_notification.sender import NotificationContext, send_due
from radrelay_notification.settings import NotificationSettings
from radrelay_shared import events
from radrelay_shared.service import Handler, Service, run

HANDLERS: Mapping[type[events.Event], Handler] = {
    events.ReportPreliminary: on_report,
    events.ReportFinalized: on_report,
    events.ReportAddended: on_report,
    events.StudyQuarantined: on_study_quarantined,
    events.AssignmentStranded: on_assignment_stranded,
}
EMITS, PATHS, STATE = (events.ReportDelivered, events.ReportUndelivered), ("/webhooks",), (Delivery, Endpoint)
SERVICE = Service(
    "notification", HANDLERS, EMITS, PATHS, NotificationSettings, NotificationContext, STATE, (router,), (send_due,)
)


def main() -> None:
    run(SERVICE)
