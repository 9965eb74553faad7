"""Studies: batches of instances that came together, each sealed once and never discarded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict

from radrelay_ingest.domain.completeness import Whole
from radrelay_ingest.domain.orders import Order
from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.events import Event, Key, Priority, StudyQuarantined, StudyReceived, StudyUpdated
from radrelay_shared.ports import Index

SAME_UID_OTHER_BYTES = "sop-instance-conflict"
OTHER_PATIENT = "order-patient-mismatch"


@dataclass(frozen=True, slots=True)
class Head:
    """What the front door reads of an instance (PS3.10 §7.1 and the tags up to Series Instance UID)."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    accession_number: str
    patient_id: str
    study_instances: int | None = None  # Number of Study Related Instances, where the sender wrote it


class Arrival(BaseModel):
    """What was known when the first instance of a batch came; it lies beside the instances in the spool."""

    model_config = ConfigDict(frozen=True)

    id: str  # of this batch on its way, so that no crash seals it twice
    site: str
    study: Key
    study_instance_uid: str
    expects: Key | None  # the order that its accession number names
    received_at: AwareDatetime
    study_instances: int | None = None  # as the first one's header counts them
    traceparent: str | None = None


class Batch(BaseModel):
    """One sealed set of instances."""

    model_config = ConfigDict(frozen=True)

    number: int
    manifest: str
    instances: int
    size: int
    completed_at: AwareDatetime
    whole: Whole = Whole()  # the verdict under which it was sealed


@dataclass(frozen=True, slots=True)
class Harvest:
    """What sealing found in the spool: new instances under a manifest, and those in conflict with earlier ones."""

    jurisdiction: str
    completed_at: AwareDatetime
    batch: int
    manifest: str
    manifest_sha256: str
    instances: int  # new ones; 0 if all were known or in conflict
    size: int
    modalities: tuple[str, ...]
    patient_ids: frozenset[str]
    conflicts: int
    whole: Whole


class Study(Aggregate):
    """A study of one site as far as it is sealed."""

    collection: ClassVar[str] = "studies"
    indexes: ClassVar[tuple[Index, ...]] = (Index("studies", ("site",)), Index("studies", ("expects",)))

    study: Key
    site: str
    study_instance_uid: str
    expects: Key | None
    order: Key | None = None
    priority: Priority = Priority.ROUTINE
    received_at: AwareDatetime
    patient_ids: tuple[str, ...] = ()
    batches: tuple[Batch, ...] = ()
    notes: tuple[str, ...] = ()  # what a person should look at, as codes
    sealed: str = ""  # the arrival sealed last

    @property
    def next_batch(self) -> int:
        return len(self.batches) + 1


def seal(current: Study | None, arrival: Arrival, harvest: Harvest, order: Order | None) -> Decision[Study] | None:
    """Add what was harvested as the next batch and say so; None if this arrival is sealed already."""
    study = current or _new(arrival)
    if study.sealed == arrival.id:
        return None
    patients = tuple(sorted({*study.patient_ids, *harvest.patient_ids}))
    study = study.model_copy(update={"sealed": arrival.id, "patient_ids": patients})
    if order is not None:
        study = _answer(study, order)
    events: list[Event] = []
    if harvest.instances:
        study = study.model_copy(update={"batches": (*study.batches, _batch(harvest))})
        events.append(_received(study, harvest))
    if harvest.conflicts:
        reason = f"{SAME_UID_OTHER_BYTES}:{harvest.conflicts}"
        study = study.model_copy(update={"notes": _with(study.notes, SAME_UID_OTHER_BYTES)})
        events.append(_quarantined(study, harvest, reason))
    return Decision(study, events)


def answer(current: Study | None, order: Order) -> Decision[Study] | None:
    """Match a sealed study to its order; None if there is nothing to learn from it."""
    if current is None:
        return None
    study = _answer(current, order)
    return None if study == current else Decision(study)


def _answer(study: Study, order: Order) -> Study:
    """A patient id that the order does not know is noted, and holds nothing up."""
    known = order.request.patient.identifiers
    mismatch = bool(known) and any(patient not in known for patient in study.patient_ids)
    notes = _with(study.notes, OTHER_PATIENT) if mismatch else study.notes
    return study.model_copy(update={"order": order.order, "priority": order.request.priority, "notes": notes})


def _new(arrival: Arrival) -> Study:
    return Study(
        study=arrival.study,
        site=arrival.site,
        study_instance_uid=arrival.study_instance_uid,
        expects=arrival.expects,
        received_at=arrival.received_at,
    )


def _batch(harvest: Harvest) -> Batch:
    return Batch(
        number=harvest.batch,
        manifest=harvest.manifest,
        instances=harvest.instances,
        size=harvest.size,
        completed_at=harvest.completed_at,
        whole=harvest.whole,
    )


def _received(study: Study, harvest: Harvest) -> StudyReceived:
    kind = StudyReceived if harvest.batch == 1 else StudyUpdated
    return kind(
        site=study.site,
        study=study.study,
        priority=study.priority,
        order=study.order,
        jurisdiction=harvest.jurisdiction,
        received_at=study.received_at,
        completed_at=harvest.completed_at,
        batch=harvest.batch,
        manifest=harvest.manifest,
        manifest_sha256=harvest.manifest_sha256,
        instances=harvest.instances,
        size=harvest.size,
        modalities=harvest.modalities,
        **harvest.whole.model_dump(),
    )


def _quarantined(study: Study, harvest: Harvest, reason: str) -> StudyQuarantined:
    return StudyQuarantined(
        site=study.site,
        study=study.study,
        priority=study.priority,
        batch=harvest.batch,
        reasons=(reason,),
        instances=harvest.conflicts,
    )


def _with(notes: tuple[str, ...], note: str) -> tuple[str, ...]:
    return notes if note in notes else (*notes, note)
