from __future__ import annotations

from radrelay_ingest.api import router
from radrelay_ingest.context import IngestContext
from radrelay_ingest.dicom.listener import receive
from radrelay_ingest.domain.orders import Order
from radrelay_ingest.domain.sites import Sites
from radrelay_ingest.domain.studies import Study
from radrelay_ingest.sealer import seal
from radrelay_ingest.settings import IngestSettings
from radrelay_shared.events import OrderReceived, StudyQuarantined, StudyReceived, StudyUpdated
from radrelay_shared.service import Service, run

SERVICE = Service(
    name="ingest",
    handlers={},  # everything here begins outside
    emits=(OrderReceived, StudyReceived, StudyUpdated, StudyQuarantined),
    paths=("/ingest",),
    settings=IngestSettings,
    context=IngestContext,
    aggregates=(Sites, Order, Study),
    routers=(router,),
    tasks=(receive, seal),
    streams=("/ingest/dicom-web",),
)


def main() -> None:
    run(SERVICE)
