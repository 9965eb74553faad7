"""Orders: what a clinic wants read, for whom, and which studies answer it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.events import Key, OrderReceived, Priority


class Patient(BaseModel):
    """The patient as the order names them. Identity: it stays in this service."""

    model_config = ConfigDict(frozen=True)

    identifiers: tuple[str, ...] = ()
    name: str | None = None
    birth_date: str | None = None
    sex: str | None = None


class Request(BaseModel):
    """What an order message says, whatever its format."""

    model_config = ConfigDict(frozen=True)

    accession_number: str
    priority: Priority
    modality: str | None = None
    procedure: str | None = None  # a code, never free text
    patient: Patient


class Order(Aggregate):
    """One order of one site, as last placed, and the studies that answer it."""

    collection: ClassVar[str] = "orders"

    order: Key
    site: str
    jurisdiction: str
    content: str  # SHA-256 of the message it was read from
    request: Request
    studies: tuple[Key, ...] = ()


def place(current: Order | None, placed: Order) -> Decision[Order] | None:
    """Take an order as it is placed now; the same message again changes nothing, studies once matched stay."""
    if current is not None and current.content == placed.content:
        return None
    order = placed.model_copy(update={"studies": current.studies if current else ()})
    return Decision(order, [announce(order, study) for study in order.studies or ("",)])


def match(current: Order | None, study: Key) -> Decision[Order] | None:
    """Remember that the study answers the order and say so once; None if that is known or there is no order."""
    if current is None or study in current.studies:
        return None
    order = current.model_copy(update={"studies": (*current.studies, study)})
    return Decision(order, [announce(order, study)])


def announce(order: Order, study: Key) -> OrderReceived:
    return OrderReceived(
        site=order.site,
        study=study,
        priority=order.request.priority,
        order=order.order,
        jurisdiction=order.jurisdiction,
        modality=order.request.modality,
        procedure=order.request.procedure,
    )
