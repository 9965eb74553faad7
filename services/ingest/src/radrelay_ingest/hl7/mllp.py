"""MLLP (HL7 Transport Specification, release 1): messages between 0x0B and 0x1C 0x0D, one at a time, each answered."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from radrelay_ingest.context import IngestContext
from radrelay_ingest.dicom.listener import tls_of
from radrelay_ingest.hl7.acks import acknowledged
from radrelay_ingest.hl7.er7 import Message
from radrelay_ingest.hl7.errors import INTERNAL, Rejected
from radrelay_ingest.hl7.taking import answer
from radrelay_shared.envelope import uuid7
from radrelay_shared.errors import Unreachable

BEGIN, END = b"\x0b", b"\x1c\r"


async def serve_mllp(context: IngestContext) -> None:
    """Take messages until cancelled, on the ports that are set; what is under way is answered first."""
    plain, tls = context.settings.mllp_port, context.settings.mllp_tls_port
    async with AsyncExitStack() as servers:
        if plain is not None:
            context.mllp_port = await servers.enter_async_context(listening(context, plain))
        if tls is not None:
            certificate = await asyncio.to_thread(tls_of, context.settings)
            context.mllp_tls_port = await servers.enter_async_context(listening(context, tls, certificate))
        await asyncio.Event().wait()


@asynccontextmanager
async def listening(context: IngestContext, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port that is listened on; raises `Unreachable` if it cannot be had."""
    settings, connections = context.settings, set[Connection]()

    async def opened(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(context, reader, writer)
        if len(connections) < settings.mllp_max_connections:
            connections.add(connection)
            await connection.run()
            connections.discard(connection)
        writer.transport.abort()

    try:
        server = await asyncio.start_server(opened, settings.mllp_host, port, limit=settings.mllp_max_bytes, ssl=tls)
    except OSError as error:
        where = f"{settings.mllp_host}:{port}"
        raise Unreachable(f"MLLP cannot listen on {where}: {error.strerror}") from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*(each.close(settings.drain_seconds) for each in connections))


class Connection:
    """One sender; its next message is read when the last one is answered."""

    def __init__(self, context: IngestContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.context, self.reader, self.writer = context, reader, writer
        self.address = str(writer.get_extra_info("peername")[0])
        self.idle = asyncio.Event()  # no message is under way
        self.idle.set()

    async def run(self) -> None:
        """Until the sender goes, is silent for too long, or sends more than a message may have."""
        with suppress(OSError, asyncio.IncompleteReadError):  # TimeoutError is an OSError
            while (message := await self._next()) is not None:
                self.idle.clear()
                acknowledgement, _ = await answer(self.context, message, self._site_of)
                await self._say(acknowledgement)
                self.idle.set()
        self.idle.set()

    async def close(self, seconds: float) -> None:
        """Let the message under way be answered, then hang up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.idle.wait()
        self.writer.transport.abort()

    async def _next(self) -> bytes | None:
        """The next message; None after one that is too long, which is answered."""
        async with asyncio.timeout(self.context.settings.mllp_timeout):
            try:
                frame = await self.reader.readuntil(END)
            except asyncio.LimitOverrunError:
                most = self.context.settings.mllp_max_bytes
                too_long = Rejected(f"a message has at most {most} bytes", INTERNAL)
                await self._say(acknowledged(None, self.context.clock(), uuid7(), too_long))
                return None
        return frame.removesuffix(END).partition(BEGIN)[2] or frame.removesuffix(END)

    async def _say(self, acknowledgement: str) -> None:
        self.writer.write(BEGIN + acknowledgement.encode() + END)
        async with asyncio.timeout(self.context.settings.mllp_timeout):
            await self.writer.drain()

    def _site_of(self, message: Message) -> str | None:
        return self.context.sites.sending_hl7(message.header.text(4), self.address)
