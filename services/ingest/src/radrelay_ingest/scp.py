"""The DICOM listener: C-ECHO and C-STORE of any storage SOP class, in any transfer syntax, kept byte for byte.

pynetdicom runs a thread per association; each writes to the spool itself, so a slow disk slows its sender down,
and success is answered only when the instance is durable.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.trace import SpanKind
from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.dsutils import encode_file_meta
from pynetdicom.sop_class import Verification

from radrelay_ingest.context import IngestContext, Sender
from radrelay_ingest.domain.studies import Head
from radrelay_ingest.statuses import Mismatch, failure_reason
from radrelay_shared.aggregate import current_traceparent
from radrelay_shared.errors import Forbidden, Invalid, RadRelayError, Unreachable
from radrelay_shared.telemetry import current_service

log = logging.getLogger("radrelay.ingest")

SUCCESS, PROCESSING_FAILURE = 0x0000, 0x0110
STRANGER = (0x01, 0x01, 0x03)  # PS3.8 §9.3.4: rejected permanent, by the service user, calling AE title not recognised
BUSY = (0x02, 0x03, 0x02)  # rejected transient, by the provider's presentation, local limit exceeded
REQUEST_SECONDS = 10.0  # for a connection to say what it is: probes and port scans never do
CONNECTIONS = 1_000  # of any kind; pynetdicom counts silent ones, too, which must not shut modalities out
COMMENT_LENGTH = 64  # Error Comment (0000,0902) is LO
SITES_SECONDS = 2.0
PREAMBLE = bytes(128) + b"DICM"


async def receive(context: IngestContext) -> None:
    """Take associations until cancelled, then let those under way finish."""
    listener = Listener(context)
    await asyncio.to_thread(listener.start)
    try:
        while True:
            await asyncio.sleep(SITES_SECONDS)
            try:
                await context.refresh_sites()
            except RadRelayError as error:
                log.warning("the register of sites cannot be read; the last one stays: %s", error.detail)
    finally:
        await asyncio.to_thread(listener.stop, context.settings.drain_seconds)


class Listener:
    """A storage SCP whose callers are known by their AE titles."""

    def __init__(self, context: IngestContext) -> None:
        self.context = context
        self.senders: WeakKeyDictionary[Any, Sender] = WeakKeyDictionary()  # by association
        # Of the whole process: any abstract syntax that is no other service's is storage; logs never quote data sets.
        _config.UNRESTRICTED_STORAGE_SERVICE = True
        _config.LOG_HANDLER_LEVEL = "none"
        settings = context.settings
        self.ae = AE(settings.dicom_ae_title)
        self.ae.add_supported_context(Verification)
        self.ae.maximum_associations = CONNECTIONS
        self.ae.maximum_pdu_size = settings.dicom_max_pdu
        self.ae.network_timeout = self.ae.dimse_timeout = settings.dicom_timeout
        self.ae.acse_timeout = REQUEST_SECONDS

    def start(self) -> None:
        """Listen; raises `Unreachable` if the port cannot be had."""
        host, port = self.context.settings.dicom_host, self.context.settings.dicom_port
        handlers = [(evt.EVT_REQUESTED, self.admit), (evt.EVT_C_STORE, self.store)]
        try:
            self.server = self.ae.start_server((host, port), block=False, evt_handlers=handlers)
        except OSError as error:
            raise Unreachable(f"DICOM cannot listen on {host}:{port}: {error.strerror}") from error
        self.context.dicom_port = self.server.server_address[1]

    def stop(self, drain_seconds: float) -> None:
        """Take no more associations, wait for those under way, then abort what is left."""
        self.server.shutdown()
        until = time.monotonic() + drain_seconds
        while self.under_way() and time.monotonic() < until:
            time.sleep(0.02)
        self.ae.shutdown()

    def under_way(self) -> int:
        """How many associations were admitted and still live."""
        return sum(each in self.senders for each in self.ae.active_associations)

    def admit(self, event: Any) -> None:
        """Know the calling AE title and have room for it, or reject the association (PS3.8 §9.3.4)."""
        current_service.set("ingest")
        title = event.assoc.requestor.primitive.calling_ae_title
        site = self.context.sites.calling(title)
        if site is None:
            log.warning("an association is refused: AE title %r names no site", title)
            reject(event.assoc, STRANGER)
            return
        if self.under_way() >= self.context.settings.dicom_max_associations:
            log.warning("an association is refused: RADRELAY_DICOM_MAX_ASSOCIATIONS are under way")
            reject(event.assoc, BUSY)
            return
        with self.context.telemetry.span("associate", SpanKind.SERVER):
            self.senders[event.assoc] = Sender(site, current_traceparent())

    def store(self, event: Any) -> Dataset:
        """Keep one instance; the status says what the sender can do about a failure (PS3.4 §B.2.3)."""
        try:
            self.keep(event, self.senders.get(event.assoc))
        except RadRelayError as error:
            log.warning("an instance is not taken: %s", error.detail)
            return status(failure_reason(error), error.detail)
        except Exception:
            log.exception("an instance is not taken")
            return status(PROCESSING_FAILURE, "an error inside RadRelay; send it again")
        return status(SUCCESS)

    def keep(self, event: Any, sender: Sender | None) -> None:
        """To the spool and durable, or an error that says why not."""
        if sender is None:
            raise Forbidden("this association belongs to no site")
        incoming = self.context.spool.receive()
        try:
            for piece in part10(event):
                incoming.write(piece)
            head = incoming.finish()
            check_command(event.request, head)
            self.context.keep(incoming, head, sender)
        finally:
            incoming.discard()


def reject(association: Any, why: tuple[int, int, int]) -> None:
    association.acse.send_reject(*why)
    association.kill()


def part10(event: Any) -> Iterator[bytes | memoryview]:
    """The data set as it was sent, behind a preamble and file meta information of our own (PS3.10 §7.1)."""
    if event.request.DataSet is None:
        raise Invalid("the C-STORE request has no data set")
    yield PREAMBLE
    yield encode_file_meta(event.file_meta)
    with event.request.DataSet.getbuffer() as content:
        yield content


def check_command(request: Any, head: Head) -> None:
    """Raise `Mismatch` unless the request announced the instance that came (PS3.7 §9.1.1)."""
    if (request.AffectedSOPClassUID, request.AffectedSOPInstanceUID) != (head.sop_class_uid, head.sop_instance_uid):
        raise Mismatch("the data set is not of the SOP class or instance that the request names")


def status(code: int, comment: str = "") -> Dataset:
    answer = Dataset()
    answer.Status = code
    if comment:
        answer.ErrorComment = comment[:COMMENT_LENGTH]
    return answer
