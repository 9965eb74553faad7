from __future__ import annotations

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain import AGGREGATES
from radrelay_ingest.entrances import ROUTERS, STREAMS, TASKS
from radrelay_ingest.handlers import EMITS, HANDLERS
from radrelay_ingest.settings import IngestSettings
from radrelay_ingest.uploads.protocol import speaking
from radrelay_shared.service import Service, run

SERVICE = Service(
    name="ingest",
    handlers=HANDLERS,
    emits=EMITS,
    paths=("/ingest",),
    settings=IngestSettings,
    context=IngestContext,
    aggregates=AGGREGATES,
    routers=ROUTERS,
    tasks=TASKS,
    streams=STREAMS,
    middleware=speaking,
)


def main() -> None:
    run(SERVICE)
