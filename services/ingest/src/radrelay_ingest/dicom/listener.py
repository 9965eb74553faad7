"""The DICOM listener: C-ECHO and C-STORE of any storage SOP class, in any transfer syntax, kept byte for byte."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context

from radrelay_ingest.context import IngestContext
from radrelay_ingest.dicom.association import Association
from radrelay_ingest.dicom.connection import Connection
from radrelay_ingest.dicom.slots import Slots
from radrelay_shared.errors import RadRelayError, Unreachable

log = logging.getLogger("radrelay.ingest")

SITES_SECONDS = 2.0
AGAIN_SECONDS = 1.0  # until the next try, when no connection can be taken
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
    try:
        family = socket.AF_INET6 if ":" in settings.dicom_host else socket.AF_INET
        server = socket.create_server((settings.dicom_host, settings.dicom_port), family=family)
    except OSError as error:
        where = f"{settings.dicom_host}:{settings.dicom_port}"
        raise Unreachable(f"DICOM cannot listen on {where}: {error.strerror}") from error
    context.dicom_port = server.getsockname()[1]
    with server:
        door = Door(context, server)
        taking = asyncio.create_task(door.take_connections())
        try:
            yield
        finally:
            taking.cancel()
            await door.close(settings.drain_seconds)


class Door:
    """Takes connections, and gives each association a thread."""

    def __init__(self, context: IngestContext, server: socket.socket) -> None:
        self.context, self.server = context, server
        settings = context.settings
        self.slots = Slots(settings.dicom_max_associations, settings.dicom_max_associations_per_peer)
        most = (1 + WAITING_PER_ASSOCIATION) * settings.dicom_max_associations
        self.threads = ThreadPoolExecutor(most, thread_name_prefix="dicom")
        self.most = most
        self.under_way: dict[asyncio.Future[None], Association] = {}

    async def take_connections(self) -> None:
        self.server.setblocking(False)
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, address = await loop.sock_accept(self.server)
            except OSError as error:  # too many open files, for instance
                log.warning("no connection can be taken now: %s", error.strerror)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if len(self.under_way) < self.most:
                self._serve(Connection(peer, address[0], self.context.settings.dicom_timeout))
            else:
                peer.close()

    def _serve(self, connection: Connection) -> None:
        association = Association(self.context, connection, self.slots)
        loop = asyncio.get_running_loop()
        serving = loop.run_in_executor(self.threads, copy_context().run, association.run)
        self.under_way[serving] = association
        serving.add_done_callback(self.under_way.pop)

    async def close(self, seconds: float) -> None:
        """Wait so long for the associations under way, then abort them, and wait until they have ended."""
        if self.under_way:
            _, late = await asyncio.wait(self.under_way, timeout=seconds)
            for serving in late:
                self.under_way[serving].cut()
            await asyncio.gather(*late)
        self.threads.shutdown()
