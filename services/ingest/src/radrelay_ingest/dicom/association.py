"""One association (PS3.8 §7): admitted or rejected, then one C-ECHO or C-STORE after the other, then released.

It has a thread of its own, which reads the socket, writes the spool and answers: nothing is handed over on the way from
the last byte to the acknowledgement, and an association that waits for the disk holds up no other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from opentelemetry.trace import SpanKind

from radrelay_ingest.context import IngestContext, Sender
from radrelay_ingest.dicom.connection import Connection
from radrelay_ingest.dicom.elements import RESPONSE, Command, Request, read_request, response
from radrelay_ingest.dicom.negotiation import NO_SUCH_CALLER, TOO_MANY, Rejection, accept, read_proposal
from radrelay_ingest.dicom.pdu import (
    RELEASE_RP,
    Fragment,
    Kind,
    Pdu,
    ProtocolError,
    Reason,
    Splitter,
    abort,
    command_pdu,
    reject,
)
from radrelay_ingest.dicom.reception import Reception
from radrelay_ingest.dicom.slots import Slots
from radrelay_ingest.statuses import failure_reason
from radrelay_shared.aggregate import current_traceparent
from radrelay_shared.errors import RadRelayError

log = logging.getLogger("radrelay.ingest")

SUCCESS, PROCESSING_FAILURE, UNRECOGNIZED_OPERATION = 0x0000, 0x0110, 0x0211  # PS3.7 §C
ARTIM_SECONDS = 30.0  # for the request to come, at most
LINGER_SECONDS = 2.0  # for the peer to close after the last PDU
MAX_COMMAND_SET = 1 << 16


class Association:
    reception: Reception  # once the peer is admitted

    def __init__(self, context: IngestContext, connection: Connection, slots: Slots) -> None:
        self.context, self.connection, self.slots = context, connection, slots
        self.splitter = Splitter(context.settings.dicom_max_pdu)
        self.contexts: dict[int, str] = {}  # accepted ones: id → transfer syntax
        self.command = bytearray()
        self.asked: tuple[int, Request] | None = None  # whose data set comes now, and in which context

    def run(self) -> None:
        """Serve the peer until either side ends it; never raises."""
        try:
            self._serve()
        except ProtocolError as error:
            self._abort(error.reason, error.detail)
        except TimeoutError:
            self._abort(Reason.NOT_SPECIFIED, "nothing came for too long")
        except ConnectionError:
            log.info("an association ends: the peer is gone")
        except Exception:
            log.exception("an association is aborted")
            self.connection.finish(abort(Reason.NOT_SPECIFIED), LINGER_SECONDS)
        finally:
            self.connection.close()

    def cut(self) -> None:
        """Abort it from another thread."""
        self.connection.cut(abort(Reason.NOT_SPECIFIED))

    def _abort(self, reason: Reason, detail: str) -> None:
        log.warning("an association is aborted: %s", detail)
        self.connection.finish(abort(reason), LINGER_SECONDS)

    def _serve(self) -> None:
        first = self._first()
        if first is None:
            return
        if not isinstance(first, Pdu) or first.kind is not Kind.ASSOCIATE_RQ:
            raise ProtocolError(Reason.UNEXPECTED_PDU, "the first PDU is not an association request")
class Association:
    reception: Reception  # once the peer is admitted

    def __init__(self, context: IngestContext, connection: Connection, slots: asyncio.Semaphore) -> None:
        self.context, self.connection, self.slots = context, connection, slots
        self.patience = context.settings.dicom_timeout
        self.splitter = Splitter(context.settings.dicom_max_pdu)
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="dicom")  # its thread starts with the first data set
        self.lent = False  # the chunk that is being looked at is also in the writer's hands
        self.contexts: dict[int, str] = {}  # accepted ones: id → transfer syntax
        self.command = bytearray()
        self.asked: tuple[int, Request] | None = None  # whose data set comes now, and in which context
        self.pieces: list[memoryview] = []  # of the data set, in this chunk

    async def run(self) -> None:
        """Serve the peer until either side ends it; never raises but when cancelled."""
        try:
            await self._serve()
        except ProtocolError as error:
            await self._abort(error.reason, error.detail)
        except TimeoutError:
            await self._abort(Reason.NOT_SPECIFIED, "nothing came for too long")
        except asyncio.CancelledError:
            self.connection.transport.write(abort(Reason.NOT_SPECIFIED))
            raise
        except Exception:
            log.exception("an association is aborted")
            await self.connection.finish(abort(Reason.NOT_SPECIFIED), LINGER_SECONDS)
        finally:
            self.connection.transport.close()
            await asyncio.to_thread(self.writer.shutdown)

    async def _abort(self, reason: Reason, detail: str) -> None:
        log.warning("an association is aborted: %s", detail)
        await self.connection.finish(abort(reason), LINGER_SECONDS)

    async def _serve(self) -> None:
        async with aclosing(self._parts()) as parts:
            async with asyncio.timeout(min(ARTIM_SECONDS, self.patience)):
                first = await anext(parts, None)
            if first is None:
                return
            if not isinstance(first, Pdu) or first.kind is not Kind.ASSOCIATE_RQ:
                raise ProtocolError(Reason.UNEXPECTED_PDU, "the first PDU is not an association request")
            if self.slots.locked():
                await self._reject(TOO_MANY)
                return
            async with self.slots:
                sender = await self._admit(first.encoded)
                if sender is not None:
                    self.reception = Reception(self.context, sender)
                    try:
                        await self._converse(parts)
                    finally:
                        self.writer.submit(self.reception.close)

    async def _parts(self) -> AsyncGenerator[Pdu | Fragment, None]:
        """What comes, part by part; raises `TimeoutError` if nothing does."""
        while True:
            async with asyncio.timeout(self.patience):
                chunk = await self.connection.receive()
            if chunk is None:
                return
            self.lent = False
            for part in self.splitter.feed(chunk.content):
                yield part
            self._release(chunk)

    def _release(self, chunk: Chunk) -> None:
        """Give its buffer back once nobody works with it any more."""
        self._write()
        if self.lent:
            loop = asyncio.get_running_loop()
            self.writer.submit(loop.call_soon_threadsafe, self.connection.release, chunk)
        else:
            self.connection.release(chunk)

    # ── the association ──

    async def _admit(self, request: bytes) -> Sender | None:
        """Know the calling AE title, or reject the association (PS3.8 §9.3.4)."""
        proposal = await asyncio.to_thread(read_proposal, request)  # pynetdicom takes milliseconds
        site = self.context.sites.calling(proposal.calling)
        if proposal.rejection is not None:
            log.warning("an association is refused: its protocol version or application context is not ours")
            await self._reject(proposal.rejection)
            return None
        if site is None:
            log.warning("an association is refused: AE title %r names no site", proposal.calling)
            await self._reject(NO_SUCH_CALLER)
            return None
        accepted, self.contexts = await asyncio.to_thread(accept, proposal, self.context.settings.dicom_max_pdu)
        with self.context.telemetry.span("associate", SpanKind.SERVER):
            sender = Sender(site, current_traceparent())
        await self._send(accepted)
        return sender

    async def _reject(self, rejection: Rejection) -> None:
        await self.connection.finish(reject(*rejection), LINGER_SECONDS)

    async def _converse(self, parts: AsyncIterator[Pdu | Fragment]) -> None:
        async for part in parts:
            match part:
                case Fragment(command=True):
                    await self._take_command(part)
                case Fragment():
                    await self._take_data(part)
                case Pdu(Kind.RELEASE_RQ):
                    await self.connection.finish(RELEASE_RP, LINGER_SECONDS)
                    return
                case Pdu(Kind.ABORT):
                    return
                case _:
                    raise ProtocolError(Reason.UNEXPECTED_PDU, f"a PDU of type {part.kind} makes no sense now")

    # ── its messages (PS3.7) ──

    async def _take_command(self, part: Fragment) -> None:
        if self.asked is not None or part.context not in self.contexts:
            raise ProtocolError(Reason.INVALID_PARAMETER, "a command comes where none is due")
        self.command += part.content
        if len(self.command) > MAX_COMMAND_SET:
            raise ProtocolError(Reason.INVALID_PARAMETER, "a command set is too long")
        if not part.last:
            return
        request = read_request(bytes(self.command))
        self.command.clear()
        if request.command & RESPONSE:
            raise ProtocolError(Reason.UNEXPECTED_PDU, "a response comes, and nothing was asked")
        if request.command == Command.C_STORE_RQ:
            self.writer.submit(self.reception.begin, request, self.contexts[part.context])
        self.asked = part.context, request
        if not request.has_data_set:
            await self._answer()

    async def _take_data(self, part: Fragment) -> None:
        if self.asked is None or self.asked[0] != part.context:
            raise ProtocolError(Reason.INVALID_PARAMETER, "a data set comes where none is due")
        if self.asked[1].command == Command.C_STORE_RQ:
            self.pieces.append(part.content)
        if part.last:
            await self._answer()

    def _write(self) -> None:
        """Hand the writer what there is of the data set."""
        if self.pieces:
            self.writer.submit(self.reception.write, self.pieces)
            self.pieces, self.lent = [], True

    async def _answer(self) -> None:
        """Do what was asked, and say what came of it."""
        assert self.asked is not None  # noqa: S101  both callers have just looked
        context, request = self.asked
        match request.command:
            case Command.C_STORE_RQ:
                status, comment = await self._store(request)
            case Command.C_ECHO_RQ:
                status, comment = SUCCESS, ""
            case _:
                status, comment = UNRECOGNIZED_OPERATION, ""
        self.asked = None
        if request.command != Command.C_CANCEL_RQ:
            await self._send(command_pdu(context, response(request, status, comment)))

    async def _store(self, request: Request) -> tuple[int, str]:
        """Keep one instance; the status says what the sender can do about a failure (PS3.4 §B.2.3)."""
        self._write()
        try:
            await asyncio.get_running_loop().run_in_executor(self.writer, self.reception.finish, request)
        except RadRelayError as error:
            log.warning("an instance is not taken: %s", error.detail)
            return failure_reason(error), error.detail
        except Exception:
            log.exception("an instance is not taken")
            return PROCESSING_FAILURE, "an error inside RadRelay; send it again"
        return SUCCESS, ""

    async def _send(self, encoded: bytes) -> None:
        async with asyncio.timeout(self.patience):
            await self.connection.send(encoded)
