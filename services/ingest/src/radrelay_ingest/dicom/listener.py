"""The DICOM listener: C-ECHO and C-STORE of any storage SOP class, in any transfer syntax, kept byte for byte."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from radrelay_ingest.context import IngestContext
from radrelay_ingest.dicom.association import Association
from radrelay_ingest.dicom.connection import Connection
from radrelay_shared.errors import RadRelayError, Unreachable

log = logging.getLogger("radrelay.ingest")

SITES_SECONDS = 2.0
WAITING_PER_ASSOCIATION = 4  # connections that have not asked yet, or hear that there is no room


async def receive(context: IngestContext) -> None:
    """Take associations until cancelled, then let those under way finish."""
    async with listening(context):
        while True:
            await asyncio.sleep(SITES_SECONDS)
            try:
                await context.refresh_sites()
            except RadRelayError as error:
                log.warning("the register of sites cannot be read; the last one stays: %s", error.detail)


@asynccontextmanager
async def listening(context: IngestContext) -> AsyncIterator[None]:
    """Listen; at the end wait for the associations under way, then abort what is left.

    Raises `Unreachable` if the port cannot be had.
    """
    settings = context.settings
    slots = asyncio.Semaphore(settings.dicom_max_associations)
    under_way: set[asyncio.Task[None]] = set()

    def opened(connection: Connection) -> None:
        if len(under_way) > WAITING_PER_ASSOCIATION * settings.dicom_max_associations:
            connection.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(Association(context, connection, slots).run())
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    try:
        server = await asyncio.get_running_loop().create_server(
            lambda: Connection(opened), settings.dicom_host, settings.dicom_port
        )
    except OSError as error:
        where = f"{settings.dicom_host}:{settings.dicom_port}"
        raise Unreachable(f"DICOM cannot listen on {where}: {error.strerror}") from error
    context.dicom_port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()
        await finish(under_way, settings.drain_seconds)


async def finish(tasks: set[asyncio.Task[None]], seconds: float) -> None:
    """Wait so long for the tasks, then cancel them and wait until they have ended."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
