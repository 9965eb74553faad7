"""One association (PS3.8 §7): admitted or rejected, then one request after the other, then released.

It has a thread of its own, which reads the socket, writes the spool and answers: nothing is handed over on the way from
the last byte to the acknowledgement, and an association that waits for the disk holds up no other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from opentelemetry.trace import SpanKind

from radrelay_ingest.context import IngestContext, Sender
from radrelay_ingest.dicom.connection import Connection
from radrelay_ingest.dicom.conversation import Conversation
from radrelay_ingest.dicom.elements import RESPONSE, Command, Request, read_request, response
from radrelay_ingest.dicom.messages import PROCESSING_FAILURE, SUCCESS
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

ARTIM_SECONDS = 30.0  # for the request to come, at most
LINGER_SECONDS = 2.0  # for the peer to close after the last PDU
MAX_COMMAND_SET = 1 << 16


class Association:
    reception: Reception  # of instances, once the peer is admitted
    conversation: Conversation  # on anything else

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
        """Abort it, from another thread."""
        self.connection.cut(abort(Reason.NOT_SPECIFIED))

    def _abort(self, reason: Reason, detail: str) -> None:
        log.warning("an association is aborted: %s", detail)
        self.connection.finish(abort(reason), LINGER_SECONDS)

    def _serve(self) -> None:
        parts = self._parts()
        with self.connection.within(ARTIM_SECONDS):
            self.connection.secure()
            first = next(parts, None)
        if first is None:
            return
        if not isinstance(first, Pdu) or first.kind is not Kind.ASSOCIATE_RQ:
            raise ProtocolError(Reason.UNEXPECTED_PDU, "the first PDU is not an association request")
        with self.slots.one_for(self.connection.address) as free:
            if not free:
                self._reject(TOO_MANY)
            elif self._admit(first.encoded):
                try:
                    self._converse(parts)
                finally:
                    self.reception.close()

    def _parts(self) -> Iterator[Pdu | Fragment]:
        """What comes, part by part; raises `TimeoutError` if nothing does."""
        while received := self.connection.receive():
            yield from self.splitter.feed(received)

    # ── the association ──

    def _admit(self, request: bytes) -> bool:
        """Know the calling AE title, or reject the association (PS3.8 §9.3.4)."""
        proposal = read_proposal(request)
        site = self.context.sites.calling(proposal.calling, self.connection.address)
        if proposal.rejection is not None:
            log.warning("an association is refused: its protocol version or application context is not ours")
            self._reject(proposal.rejection)
            return False
        if site is None:
            log.warning("an association is refused: AE title %r names no site that calls from there", proposal.calling)
            self._reject(NO_SUCH_CALLER)
            return False
        accepted, self.contexts = accept(proposal, self.context.settings.dicom_max_pdu)
        with self.context.telemetry.span("associate", SpanKind.SERVER):
            sender = Sender(site, current_traceparent())
        self.reception = Reception(self.context, sender)
        longest = proposal.primitive.maximum_length_received or 0
        self.conversation = Conversation(self.context, self.connection, sender, proposal.calling, longest)
        self.connection.send(accepted)
        return True

    def _reject(self, rejection: Rejection) -> None:
        self.connection.finish(reject(*rejection), LINGER_SECONDS)

    def _converse(self, parts: Iterator[Pdu | Fragment]) -> None:
        for part in parts:
            match part:
                case Fragment(command=True):
                    self._take_command(part)
                case Fragment():
                    self._take_data(part)
                case Pdu(Kind.RELEASE_RQ):
                    self.connection.finish(RELEASE_RP, LINGER_SECONDS)
                    return
                case Pdu(Kind.ABORT):
                    return
                case _:
                    raise ProtocolError(Reason.UNEXPECTED_PDU, f"a PDU of type {part.kind} makes no sense now")

    # ── its messages (PS3.7) ──

    def _take_command(self, part: Fragment) -> None:
        if self.asked is not None or part.context not in self.contexts:
            raise ProtocolError(Reason.INVALID_PARAMETER, "a command comes where none is due")
        self.command += part.content
        if len(self.command) > MAX_COMMAND_SET:
            raise ProtocolError(Reason.INVALID_PARAMETER, "a command set is too long")
        if not part.last:
            return
        request = read_request(bytes(self.command))
        self.command.clear()
        if request.command == Command.N_EVENT_REPORT_RSP:
            return  # the peer took note
        if request.command & RESPONSE:
            raise ProtocolError(Reason.UNEXPECTED_PDU, "a response comes, and nothing was asked")
        if request.command == Command.C_STORE_RQ:
            self.reception.begin(request, self.contexts[part.context])
        self.asked = part.context, request
        if not request.has_data_set:
            self._answer()

    def _take_data(self, part: Fragment) -> None:
        if self.asked is None or self.asked[0] != part.context:
            raise ProtocolError(Reason.INVALID_PARAMETER, "a data set comes where none is due")
        receiving = self.asked[1].command == Command.C_STORE_RQ
        (self.reception if receiving else self.conversation).write(part.content)
        if part.last:
            self._answer()

    def _answer(self) -> None:
        """Do what was asked, and say what came of it."""
        assert self.asked is not None  # noqa: S101  both callers have just looked
        context, request = self.asked
        self.asked = None
        match request.command:
            case Command.C_STORE_RQ:
                self.connection.send(command_pdu(context, response(request, *self._store(request))))
            case Command.C_ECHO_RQ:
                self.connection.send(command_pdu(context, response(request, SUCCESS)))
            case Command.C_CANCEL_RQ:
                pass  # what it would cancel is answered already
            case _:
                self.conversation.answer(context, self.contexts[context], request)

    def _store(self, request: Request) -> tuple[int, str]:
        """Keep one instance; the status says what the sender can do about a failure (PS3.4 §B.2.3)."""
        try:
            self.reception.finish(request)
        except RadRelayError as error:
            log.warning("an instance is not taken: %s", error.detail)
            return failure_reason(error), error.detail
        except Exception:
            log.exception("an instance is not taken")
            return PROCESSING_FAILURE, "an error inside RadRelay; send it again"
        return SUCCESS, ""
