"""triage listens to orders, stored studies and signatures, and says how fast who must read what, and why."""

from __future__ import annotations

from collections.abc import Mapping

from radrelay_shared.events import Event, ModelAsked, OrderReceived, ReportFinalized, StudyStored, StudyTriaged
from radrelay_shared.service import Handler, Service, run
from radrelay_triage.api import router
from radrelay_triage.context import TriageContext
from radrelay_triage.domain.studies import Order, Study
from radrelay_triage.handlers import on_order_received, on_report_finalized, on_study_stored
from radrelay_triage.settings import TriageSettings

HANDLERS: Mapping[type[Event], Handler] = {
    OrderReceived: on_order_received,
    StudyStored: on_study_stored,
    ReportFinalized: on_report_finalized,
}
EMITS = (StudyTriaged, ModelAsked)
STATE = (Order, Study)
SERVICE = Service("triage", HANDLERS, EMITS, ("/triage",), TriageSettings, TriageContext, STATE, (router,))


def main() -> None:
    run(SERVICE)
