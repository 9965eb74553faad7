"""Orders: what a clinic wants read, for whom, and which studies answer it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from radrelay_ingest.domain.patients import Identifier, Patient
from radrelay_shared.aggregate import Aggregate, Decision, Part
from radrelay_shared.errors import Invalid
from radrelay_shared.events import Key, OrderReceived, Priority
from radrelay_shared.named import Named
from radrelay_shared.ports import Index


class Status(StrEnum):
    """Whether the clinic still wants it."""

    ACTIVE = "active"
    ON_HOLD = "on-hold"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


class Visit(StrEnum):
    OPEN = "open"
    DISCHARGED = "discharged"
    CANCELLED = "cancelled"


class Request(Part):
    """What an order message says, whatever its format; what it does not say is empty. Identity: it stays here.

    Times are written as DICOM's DT (PS3.5 §6.2), as the clinic wrote them, with their offset if it gave one.
    """

    accession: Identifier = Identifier()
    placer: Identifier = Identifier()  # the order's number where it was given
    filler: Identifier = Identifier()  # and where it is carried out
    status: Status = Status.ACTIVE
    priority: Priority
    modality: str | None = None
    procedure: str | None = None  # a code of a public system, never free text
    codes: tuple[str, ...] = ()  # of the procedure in any system
    description: str = ""  # of the procedure, in the clinic's words
    reason: str = ""
    requested_procedure_id: str = ""
    step_id: str = ""  # of the scheduled procedure step
    scheduled: str = ""
    ordered: str = ""
    station_ae: str = ""
    referring_physician: str = ""  # PN
    study_instance_uid: str = ""
    laterality: str = ""  # L, R or B
    visit: Identifier = Identifier()
    patient: Patient
    besides: Named = Named()  # whom and what else the message names

    @property
    def numbers(self) -> tuple[Identifier, ...]:
        """What names the order, most telling first."""
        return tuple(each for each in (self.accession, self.placer, self.filler) if each.value)

    @property
    def named(self) -> Named:
        """Everybody and everything that the order names."""
        numbers = [each.value for each in (*self.numbers, self.visit)]
        own = Named.of(people=[self.referring_physician], numbers=numbers)
        return Named.union(self.patient.named, own, self.besides)

    @property
    def planned(self) -> datetime | None:
        """When it is to be carried out, or was asked for."""
        return moment(self.scheduled) or moment(self.ordered)


class Order(Aggregate):
    """One order of one site, as last placed, and the studies that answer it."""

    collection: ClassVar[str] = "orders"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("orders", ("site", "request.accession.value")),
        Index("orders", ("site", "request.placer.value")),
        Index("orders", ("site", "request.filler.value")),
        Index("orders", ("site", "request.study_instance_uid")),
        Index("orders", ("site", "request.status", "request.scheduled")),
    )

    order: Key
    site: str
    jurisdiction: str
    content: str  # SHA-256 of what the message says
    request: Request
    visit: Visit = Visit.OPEN
    studies: tuple[Key, ...] = ()

    @property
    def study_instance_uid(self) -> str:
        """What images bear whose scanner took the order from the worklist; if it names none, one made of its key."""
        made = UUID(bytes=hashlib.sha256(self.order.encode()).digest()[:16], version=4)
        return self.request.study_instance_uid or f"2.25.{made.int}"


def place(current: Order | None, placed: Order) -> Decision[Order] | None:
    """Take an order as it is placed now; the same message again changes nothing, studies once matched stay.

    What this message leaves out and an earlier one said still holds: a status change says little more than that.
    """
    if current is None:
        return Decision(placed, [announce(placed, "")])
    if current.content == placed.content:
        return None
    besides = placed.request.besides | current.request.named
    request = current.request.model_copy(update=_said(placed.request) | {"besides": besides})
    order = current.model_copy(update={"content": placed.content, "request": request})
    return Decision(order, [announce(order, study) for study in order.studies or ("",)])


def match(current: Order | None, study: Key) -> Decision[Order] | None:
    """Remember that the study answers the order and say so once; None if that is known or there is no order."""
    if current is None or study in current.studies:
        return None
    order = current.model_copy(update={"studies": (*current.studies, study)})
    return Decision(order, [announce(order, study)])


def unmatch(current: Order | None, study: Key) -> Decision[Order] | None:
    """A person found that the study answers another order, or none."""
    if current is None or study not in current.studies:
        return None
    return Decision(current.model_copy(update={"studies": tuple(each for each in current.studies if each != study)}))


def of_patient(current: Order | None, patient: Patient, besides: Named) -> Decision[Order] | None:
    """The clinic knows the order's patient better now; a former name stays one that no text may say."""
    if current is None:
        return None
    named = current.request.besides | besides
    if current.request.patient != patient:
        named |= current.request.patient.named
    request = current.request.model_copy(update={"patient": patient, "besides": named})
    return None if request == current.request else Decision(current.model_copy(update={"request": request}))


def visited(current: Order | None, number: str, visit: Visit) -> Decision[Order] | None:
    """The patient's visit ended or was cancelled; an order that names another visit is not concerned."""
    if current is None or current.visit is visit or (number and current.request.visit.value not in ("", number)):
        return None
    return Decision(current.model_copy(update={"visit": visit}))


def announce(order: Order, study: Key) -> OrderReceived:
    return OrderReceived(
        site=order.site,
        study=study,
        priority=order.request.priority,
        order=order.order,
        jurisdiction=order.jurisdiction,
        modality=order.request.modality,
        procedure=order.request.procedure,
        status=order.request.status.value,
    )


def moment(text: str) -> datetime | None:
    """A DICOM DT of at least a day (PS3.5 §6.2); without an offset it is taken as UTC. Raises `Invalid`."""
    if not text:
        return None
    digits, sign, offset = _offset_of(text)
    day, time = digits[:8], digits[8:14].ljust(6, "0")
    try:
        zone = timezone(sign * timedelta(hours=int(offset[:2]), minutes=int(offset[2:4]))) if offset else UTC
        return datetime.strptime(day + time, "%Y%m%d%H%M%S").replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid("a date and time that does not exist") from None


def _offset_of(text: str) -> tuple[str, int, str]:
    for mark, sign in (("+", 1), ("-", -1)):
        digits, found, offset = text.partition(mark)
        if found:
            return digits, sign, offset
    return text, 1, ""


def _said(request: Request) -> dict[str, object]:
    said = {name: getattr(request, name) for name in Request.model_fields}
    always = {"status", "priority", "patient"}
    return {name: value for name, value in said.items() if name in always or value not in ("", None, (), Identifier())}
