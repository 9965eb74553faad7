"""One HL7 message from its bytes to its acknowledgement: kept, carried out, and only then answered."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.orders import Visit
from radrelay_ingest.hl7.acks import acknowledged
from radrelay_ingest.hl7.er7 import Message, read
from radrelay_ingest.hl7.errors import (
    EVENT,
    INTERNAL,
    MESSAGE_TYPE,
    PROCESSING_ID,
    REQUIRED,
    UNKNOWN_KEY,
    VERSION,
    Rejected,
    Unacceptable,
    reason_of,
)
from radrelay_ingest.hl7.named import named_in
from radrelay_ingest.hl7.reading import merges_in, orders_in, patient_of
from radrelay_ingest.orders import keep_message, take
from radrelay_ingest.patients import merge, update, visit
from radrelay_ingest.receipts import Answer, once
from radrelay_shared.envelope import uuid7
from radrelay_shared.errors import RadRelayError

log = logging.getLogger("radrelay.ingest")

Work = Callable[[], Awaitable[None]]
SiteOf = Callable[[Message], str | None]


async def answer(context: IngestContext, body: bytes, site_of: SiteOf, charset: str | None = None) -> tuple[str, bool]:
    """The acknowledgement of a message, whatever it is, and whether it is positive: once all of it is durable."""
    message = None
    try:
        message = read(body, charset)
        await _take(context, message, body, site_of)
    except RadRelayError as error:
        return _acknowledged(context, message, reason_of(error)), False
    except Exception:
        log.exception("an HL7 message could not be taken; its sender was told to send it again")
        return _acknowledged(context, message, Rejected("an error in RadRelay; send it again", INTERNAL)), False
    return _acknowledged(context, message, None), True


def _acknowledged(context: IngestContext, message: Message | None, error: Unacceptable | None) -> str:
    return acknowledged(message, context.clock(), uuid7(), error)


async def _take(context: IngestContext, message: Message, body: bytes, site_of: SiteOf) -> None:
    """Once for each control ID and content: the same control ID over other content is another message."""
    control_id = _checked(message)
    site = site_of(message)
    if site is None:
        raise Rejected("no site is registered for this sender (hl7_facilities, networks)", UNKNOWN_KEY, "MSH^1^4")
    work = _work(context, site, message, _content(body))
    sender = (message.header.text(3), message.header.text(4))

    async def carry_out() -> Answer:
        await keep_message(context, site, body, "hl7")
        await work()
        return {"taken": True}

    name = ("hl7", *sender, control_id, hashlib.sha256(body).hexdigest())
    await once(context, site, name, body, carry_out)


def _checked(message: Message) -> str:
    """The message's control ID; raises `Rejected` if the header says that this is not for RadRelay."""
    header = message.header
    if not header.text(10):
        raise Rejected("the message control ID is missing", REQUIRED, "MSH^1^10")
    if header.text(11)[:1] not in ("P", ""):
        raise Rejected("only production messages are taken", PROCESSING_ID, "MSH^1^11")
    if not header.text(12).startswith("2"):
        raise Rejected("only HL7 version 2 is read", VERSION, "MSH^1^12")
    return header.text(10)


def _content(body: bytes) -> str:
    """SHA-256 of all but the header, which is another one each time a message is made."""
    header, _, rest = body.replace(b"\n", b"\r").partition(b"\r")
    return hashlib.sha256(rest or header).hexdigest()


# ── what each message does ──


def _work(context: IngestContext, site: str, message: Message, content: str) -> Work:
    """What is to be done, once all of the message was read; raises `Unacceptable` with the place that is wrong."""
    code, event = message.type
    if code not in {known for known, _ in WORKS}:
        raise Rejected("this message type is not taken", MESSAGE_TYPE, "MSH^1^9")
    if (code, event) not in WORKS:
        raise Rejected("this trigger event is not taken", EVENT, "MSH^1^9")
    return WORKS[code, event](context, site, message, content)


def _orders(context: IngestContext, site: str, message: Message, content: str) -> Work:
    requests = orders_in(message)

    async def work() -> None:
        for request in requests:
            await take(context, site, request, content)

    return work


def _update(context: IngestContext, site: str, message: Message, _content: str) -> Work:
    patient, besides = patient_of(message), named_in(message)
    return lambda: update(context, site, patient, besides)


def _merge(context: IngestContext, site: str, message: Message, _content: str) -> Work:
    merges = list(merges_in(message))

    async def work() -> None:
        for patient, retired in merges:
            await merge(context, site, patient, retired)

    return work


def _visit(state: Visit) -> Callable[[IngestContext, str, Message, str], Work]:
    def ended(context: IngestContext, site: str, message: Message, _content: str) -> Work:
        patient, segment = patient_of(message), message.first("PV1")
        number = segment.text(19) if segment else ""
        return lambda: visit(context, site, patient, number, state)

    return ended


WORKS: dict[tuple[str, str], Callable[[IngestContext, str, Message, str], Work]] = {
    ("ORM", "O01"): _orders,
    ("OMI", "O23"): _orders,
    ("ADT", "A01"): _update,
    ("ADT", "A04"): _update,
    ("ADT", "A08"): _update,
    ("ADT", "A31"): _update,
    ("ADT", "A40"): _merge,
    ("ADT", "A03"): _visit(Visit.DISCHARGED),
    ("ADT", "A11"): _visit(Visit.CANCELLED),
}
