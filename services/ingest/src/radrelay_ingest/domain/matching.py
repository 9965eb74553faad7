"""Which order a study answers, strongest evidence first, and in what the two contradict each other. One site only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from radrelay_ingest.domain.orders import Order, Request, Status, moment
from radrelay_ingest.domain.patients import Identifier, Patient, contradictions
from radrelay_shared.aggregate import Part
from radrelay_shared.errors import Invalid

LATERALITY = "laterality"
BEFORE, AFTER = timedelta(hours=24), timedelta(hours=72)  # a study is made so long around its order's time


class Subject(Part):
    """Whom and what the images of a study show, in their own words. Identity: it stays in this service."""

    patient: Patient = Patient()
    accession: Identifier = Identifier()
    performed: str = ""  # Study Date and Time as a DT
    modalities: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()  # of procedures, performed or requested
    requested_procedures: tuple[str, ...] = ()  # IDs
    lateralities: tuple[str, ...] = ()

    def merged(self, other: Subject) -> Subject:
        """With what a later batch says, too: first words stay, lists grow."""
        lists = ("modalities", "codes", "requested_procedures", "lateralities")
        grown = {name: tuple(sorted({*getattr(self, name), *getattr(other, name)})) for name in lists}
        return Subject(
            patient=self.patient if self.patient != Patient() else other.patient,
            accession=self.accession if self.accession.value else other.accession,
            performed=self.performed or other.performed,
            **grown,
        )


class Basis(StrEnum):
    """Why a study is thought to answer an order."""

    STUDY_UID = "study-uid"  # the order or its worklist entry names it
    ACCESSION = "accession-number"
    PATIENT = "patient-time-procedure"
    PERSON = "person"  # an assistant said so


@dataclass(frozen=True, slots=True)
class Found:
    """An order, why it is this one, and the images' words that it was found by."""

    order: Order
    basis: Basis
    subject: Subject


class Ambiguous:
    """Several orders fit equally well; a person chooses."""


Answered = Found | Ambiguous | None


def find(subject: Subject, study_instance_uid: str, received_at: datetime, orders: Sequence[Order]) -> Answered:
    """The order that these images answer, of those of their site that may come into question."""
    at = performed_at(subject, received_at)
    rules: tuple[tuple[Basis, Callable[[Order], bool]], ...] = (
        (Basis.STUDY_UID, lambda order: order.study_instance_uid == study_instance_uid),
        (Basis.ACCESSION, lambda order: subject.accession.means(order.request.accession)),
        (Basis.PATIENT, lambda order: _plausible(order.request, subject, at)),
    )
    for basis, fits in rules:
        fitting = [order for order in orders if fits(order)]
        if fitting:
            best = _best(fitting, subject, at)
            return Found(best[0], basis, subject) if len(best) == 1 else Ambiguous()
    return None


def _plausible(request: Request, subject: Subject, at: datetime) -> bool:
    """The patient's, of this time and modality, wanted, and with no accession number that says otherwise."""
    planned = request.planned
    return (
        request.patient.known_as(subject.patient)
        and not (subject.accession.value and request.accession.value)
        and request.status is Status.ACTIVE
        and planned is not None
        and planned - BEFORE <= at <= planned + AFTER
        and (request.modality is None or request.modality in subject.modalities)
    )


def _best(orders: Sequence[Order], subject: Subject, at: datetime) -> list[Order]:
    """The best: fewest contradictions, then same requested procedure, patient, code, modality, then nearest in time."""

    def rank(order: Order) -> tuple[int, bool, bool, bool, bool, float]:
        request = order.request
        return (
            len(contradicted(request, subject)),
            request.requested_procedure_id not in subject.requested_procedures,
            not request.patient.known_as(subject.patient),
            not set(request.codes) & set(subject.codes),
            request.modality not in subject.modalities,
            abs(((request.planned or at) - at).total_seconds()),
        )

    best = min(map(rank, orders))
    return [order for order in orders if rank(order) == best]


def contradicted(request: Request, subject: Subject) -> tuple[str, ...]:
    """In what images and order contradict each other, as codes."""
    found = contradictions(request.patient, subject.patient)
    sides = {*subject.lateralities} - {""}
    other_side = request.laterality in ("L", "R") and sides == {"R" if request.laterality == "L" else "L"}
    return (*found, LATERALITY) if other_side else found


def performed_at(subject: Subject, received_at: datetime) -> datetime:
    """When the images were made; when they came, if they do not say it or say nonsense."""
    try:
        return moment(subject.performed) or received_at
    except Invalid:
        return received_at
