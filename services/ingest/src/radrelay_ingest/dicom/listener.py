"""The DICOM listener: doors with and without TLS, and a thread for each association that comes in."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import copy_context

from radrelay_ingest.context import IngestContext
from radrelay_ingest.dicom.association import Association
from radrelay_ingest.dicom.connection import Connection
from radrelay_ingest.dicom.slots import Slots
from radrelay_ingest.settings import IngestSettings
from radrelay_shared.errors import Invalid, RadRelayError, Unreachable

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

    Raises `Unreachable` if a port cannot be had, `Invalid` if TLS is wanted and its files are no use.
    """
    settings = context.settings
    slots = Slots(settings.dicom_max_associations, settings.dicom_max_associations_per_peer)
    async with AsyncExitStack() as doors:
        plain = await doors.enter_async_context(opened(context, slots, settings.dicom_port))
        context.dicom_port = plain.port
        if settings.dicom_tls_port is not None:
            tls = await asyncio.to_thread(tls_of, settings)
            secure = await doors.enter_async_context(opened(context, slots, settings.dicom_tls_port, tls))
            context.dicom_tls_port = secure.port
        yield


def tls_of(settings: IngestSettings) -> ssl.SSLContext:
    """TLS as BCP 195 (RFC 9325) wants it: 1.2 or later, forward secrecy, authenticated encryption."""
    if settings.dicom_tls_certificate is None:
        raise Invalid("TLS needs RADRELAY_DICOM_TLS_CERTIFICATE and RADRELAY_DICOM_TLS_KEY")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    tls.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    try:
        tls.load_cert_chain(settings.dicom_tls_certificate, settings.dicom_tls_key)
        if settings.dicom_tls_client_ca is not None:
            tls.load_verify_locations(settings.dicom_tls_client_ca)
            tls.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise Invalid(f"the certificates for TLS cannot be used ({type(error).__name__})") from error
    return tls


@asynccontextmanager
async def opened(
    context: IngestContext, slots: Slots, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Door]:
    """A door on this port; raises `Unreachable` if it cannot be had."""
    host = context.settings.dicom_host
    try:
        server = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise Unreachable(f"DICOM cannot listen on {host}:{port}: {error.strerror}") from error
    with server:
        door = Door(context, server, slots, tls)
        taking = asyncio.create_task(door.take_connections())
        try:
            yield door
        finally:
            taking.cancel()
            await door.close(context.settings.drain_seconds)


class Door:
    """Takes connections, and gives each association a thread."""

    def __init__(self, context: IngestContext, server: socket.socket, slots: Slots, tls: ssl.SSLContext | None) -> None:
        self.context, self.server, self.slots, self.tls = context, server, slots, tls
        self.port: int = server.getsockname()[1]
        most = (1 + WAITING_PER_ASSOCIATION) * context.settings.dicom_max_associations
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
                self._serve(Connection(peer, address[0], self.context.settings.dicom_timeout, self.tls))
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
