"""Storage: de-identified studies, found by QIDO-RS and read by WADO-RS, and the ledger of their custody."""

from __future__ import annotations

from radrelay_shared.events import PackDamaged, StudyHeld, StudyPurged, StudyStored
from radrelay_shared.service import Service, run
from radrelay_storage.context import StorageContext
from radrelay_storage.front import front
from radrelay_storage.handlers import HANDLERS
from radrelay_storage.routes import PATHS, ROUTERS, STREAMS
from radrelay_storage.settings import StorageSettings
from radrelay_storage.tasks import AGGREGATES, TASKS

SERVICE = Service(
    name="storage",
    handlers=HANDLERS,
    emits=(StudyStored, StudyHeld, StudyPurged, PackDamaged),
    paths=PATHS,
    settings=StorageSettings,
    context=StorageContext,
    aggregates=AGGREGATES,
    routers=ROUTERS,
    tasks=TASKS,
    middleware=front,
    streams=STREAMS,
)


def main() -> None:
    run(SERVICE)
