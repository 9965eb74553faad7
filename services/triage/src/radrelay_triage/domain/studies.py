"""One study's triage: what is known of it, what was decided and why, and its clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.events import OrderReceived, Prior, Priority, ReportFinalized, StudyStored, StudyTriaged
from radrelay_shared.ports import Index
from radrelay_triage.domain.contracts import Contract, contract_for
from radrelay_triage.domain.subspecialties import subspecialty_of

BY_URGENCY = tuple(Priority)  # the enumeration is in this order: stat, urgent, routine
Clock = Literal["waiting", "running", "met", "missed"]


class Order(Aggregate):
    """What a clinic asked for; it may come long before or after the images."""

    collection: ClassVar[str] = "orders"
    indexes: ClassVar[tuple[Index, ...]] = (Index("orders", ("study",)),)

    order: str
    study: str = ""  # "" until ingest matched it
    priority: Priority
    procedure: str | None = None
    status: str = "active"
    told_at: AwareDatetime


class Images(BaseModel):
    """What the batches stored so far say about the study, together."""

    model_config = ConfigDict(frozen=True)

    study_instance_uid: str
    jurisdiction: str
    order: str | None
    priority: Priority  # the most urgent that any batch said
    received_at: AwareDatetime
    completed_at: AwareDatetime  # of the first batch: late instances do not reset the clock
    batch: int
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    priors: tuple[Prior, ...] = ()  # as the last batch to be stored found them


class Triage(BaseModel):
    """The decision, with its reasons."""

    model_config = ConfigDict(frozen=True)

    priority: Priority
    subspecialty: str
    due_at: AwareDatetime
    reasons: tuple[str, ...]


class Study(Aggregate):
    """A study from triage's point of view; any of its parts may come first."""

    collection: ClassVar[str] = "studies"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("studies", ("images.order",)),
        Index("studies", ("triage.due_at",)),
        Index("studies", ("site", "triage.due_at")),
    )

    site: str
    study: str
    images: Images | None = None
    triage: Triage | None = None
    signed_at: AwareDatetime | None = None
    asked: tuple[str, ...] = ()  # models

    @property
    def clock(self) -> Clock:
        """Running from completion; stopped by the signature, in time or not."""
        if self.triage is None:
            return "waiting"
        if self.signed_at is None:
            return "running"
        return "met" if self.signed_at <= self.triage.due_at else "missed"


def keep_order(known: Order | None, event: OrderReceived, told_at: datetime) -> Decision[Order] | None:
    """The newest word of the clinic; an older one that comes late adds at most the match it names."""
    if known is None:
        told = Order(**event.model_dump(include={"order", "study", "priority", "procedure", "status"}), told_at=told_at)
        return Decision(told)
    study = known.study or event.study
    newer = told_at >= known.told_at
    said = event.model_dump(include={"priority", "procedure", "status"}) | {"told_at": told_at} if newer else {}
    return Decision(known.model_copy(update={**said, "study": study}))


def add_images(
    known: Study | None, event: StudyStored, orders: Sequence[Order], contracts: Sequence[Contract]
) -> Decision[Study]:
    """The study with this batch, triaged: late batches may widen it, and never reset its clock or priority.

    Whoever reads it, or has read it, hears of a late batch, though the decision be the same.
    """
    study = known or Study(site=event.site, study=event.study)
    images = merge(study.images, event)
    widened = study.model_copy(update={"images": images})
    decision = retriage(widened, orders, contracts) or Decision(widened)
    late = study.images is not None and images.batch > study.images.batch
    if late and decision.state.triage and not decision.events:
        return Decision(decision.state, (triaged(decision.state, images, decision.state.triage),))
    return decision


def merge(known: Images | None, event: StudyStored) -> Images:
    """Batches in any order give the same whole."""
    new = Images.model_validate(event.model_dump(include=set(Images.model_fields)))
    known = known or new
    return Images(
        study_instance_uid=known.study_instance_uid,
        jurisdiction=known.jurisdiction,
        order=known.order or new.order,
        priority=most_urgent((known.priority, new.priority)),
        received_at=min(known.received_at, new.received_at),
        completed_at=min(known.completed_at, new.completed_at),
        batch=max(known.batch, new.batch),
        modalities=tuple(sorted({*known.modalities, *new.modalities})),
        body_parts=tuple(sorted({*known.body_parts, *new.body_parts})),
        priors=new.priors or known.priors,
    )


def retriage(study: Study, orders: Sequence[Order], contracts: Sequence[Contract]) -> Decision[Study] | None:
    """Decide on what is known now; None if nothing new comes of it. A signed study keeps its decision."""
    if study.images is None or (study.signed_at and study.triage):
        return None
    triage = decide(study, study.images, orders, contracts)
    if triage == study.triage:
        return None
    decided = study.model_copy(update={"triage": triage})
    if study.signed_at or same_outcome(triage, study.triage):
        return Decision(decided)
    return Decision(decided, (triaged(decided, study.images, triage),))


def decide(study: Study, images: Images, orders: Sequence[Order], contracts: Sequence[Contract]) -> Triage:
    orders = [order for order in orders if order.status != "cancelled"]
    priority, asked = priority_of(images, orders)
    subspecialty, why = subspecialty_of(images.modalities, images.body_parts)
    procedures = [order.procedure for order in orders if order.procedure]
    contract = contract_for(contracts, study.site, priority, images.modalities, procedures)
    due_at = images.completed_at.astimezone(UTC) + timedelta(minutes=contract.minutes)
    return Triage(priority=priority, subspecialty=subspecialty, due_at=due_at, reasons=(asked, why, contract.reason))


def priority_of(images: Images, orders: Sequence[Order]) -> tuple[Priority, str]:
    """(The most urgent of what study and orders say, who said so)."""
    priority = most_urgent((images.priority, *(order.priority for order in orders)))
    word = priority.value if priority is Priority.ROUTINE else priority.value.upper()
    asking = next((order.order for order in orders if order.priority is priority), None)
    if asking:
        return priority, f"{word} asked by order {asking}"
    return priority, f"{word} by the study; no order says more"


def most_urgent(priorities: Iterable[Priority]) -> Priority:
    return min(priorities, key=BY_URGENCY.index)


def same_outcome(one: Triage, other: Triage | None) -> bool:
    """Whether only the reasons differ: nobody downstream acts on that."""
    return other is not None and one.model_copy(update={"reasons": other.reasons}) == other


def triaged(study: Study, images: Images, triage: Triage) -> StudyTriaged:
    facts = images.model_dump(exclude={"body_parts", "priority"})
    return StudyTriaged(site=study.site, study=study.study, **facts, **triage.model_dump())


def stop_clock(known: Study | None, event: ReportFinalized, signed_at: datetime) -> Decision[Study] | None:
    """The first signature stops the clock, also when it comes before the images."""
    study = known or Study(site=event.site, study=event.study)
    if study.signed_at is not None and study.signed_at <= signed_at:
        return None
    return Decision(study.model_copy(update={"signed_at": signed_at}))
