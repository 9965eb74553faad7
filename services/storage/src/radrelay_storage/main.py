"""Storage: de-identified studies, found by QIDO-RS and read by WADO-RS, and the ledger of their custody."""

from __future__ import annotations

from radrelay_shared.events import StudyAnonymized, StudyAssigned, StudyPurged, StudyStored
from radrelay_shared.service import Service, run
from radrelay_storage.context import StorageContext
from radrelay_storage.custody.hops import HOPS
from radrelay_storage.front import front
from radrelay_storage.handlers import on_hop, on_study_anonymized, on_study_assigned
from radrelay_storage.routes import PATHS, ROUTERS
from radrelay_storage.settings import StorageSettings
from radrelay_storage.tasks import AGGREGATES, TASKS

SERVICE = Service(
    name="storage",
    handlers={StudyAnonymized: on_study_anonymized, StudyAssigned: on_study_assigned, **dict.fromkeys(HOPS, on_hop)},
    emits=(StudyStored, StudyPurged),
    paths=PATHS,
    settings=StorageSettings,
    context=StorageContext,
    aggregates=AGGREGATES,
    routers=ROUTERS,
    tasks=TASKS,
    middleware=front,
)


def main() -> None:
    run(SERVICE)
