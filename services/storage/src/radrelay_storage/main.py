"""Storage: de-identified studies, found by QIDO-RS and read by WADO-RS."""

from __future__ import annotations

from radrelay_shared.events import StudyAnonymized, StudyStored
from radrelay_shared.service import Service, run
from radrelay_storage import pictures, retrieve, search, wado_uri
from radrelay_storage.context import StorageContext
from radrelay_storage.domain import Series, Study
from radrelay_storage.front import front
from radrelay_storage.handlers import on_study_anonymized
from radrelay_storage.settings import StorageSettings

SERVICE = Service(
    name="storage",
    handlers={StudyAnonymized: on_study_anonymized},
    emits=(StudyStored,),
    paths=("/dicom-web",),
    settings=StorageSettings,
    context=StorageContext,
    aggregates=(Study, Series),
    routers=(search.router, retrieve.router, pictures.router, wado_uri.router),
    middleware=front,
)


def main() -> None:
    run(SERVICE)
