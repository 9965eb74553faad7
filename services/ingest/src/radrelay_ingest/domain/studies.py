"""Studies: batches of instances that came together, each sealed once and never discarded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict

from radrelay_ingest.domain.completeness import Whole
from radrelay_ingest.domain.matching import Ambiguous, Answered, Basis, Found, Subject, contradicted
from radrelay_ingest.domain.orders import Order, Status
from radrelay_ingest.domain.patients import Patient
from radrelay_shared.aggregate import Aggregate, Decision, Part
from radrelay_shared.events import (
    Event,
    Key,
    Priority,
    StudyErased,
    StudyPurged,
    StudyQuarantined,
    StudyReceived,
    StudyUpdated,
)
from radrelay_shared.ports import Index

# What a person should look at, as codes; beside these, whatever `matching.contradicted` finds.
SAME_UID_OTHER_BYTES = "sop-instance-conflict"
OTHER_PATIENT_ID = "order-patient-id-differs"
AMBIGUOUS = "order-ambiguous"
ORDER_CANCELLED = "order-cancelled"
MOST_CONFLICTS = 1000  # listed one by one


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
    accession_number: str = ""
    received_at: AwareDatetime
    study_instances: int | None = None  # as the first one's header counts them
    traceparent: str | None = None


class Batch(BaseModel):
    """One sealed set of instances."""

    model_config = ConfigDict(frozen=True)

    number: int
    manifest: str
    manifest_sha256: str = ""
    instances: int
    size: int
    modalities: tuple[str, ...] = ()
    completed_at: AwareDatetime
    erased: bool = False  # on purpose; nothing of it is in object storage any more
    whole: Whole = Whole()  # the verdict under which it was sealed


class Conflict(Part):
    """An instance whose SOP Instance UID came before with other bytes: the first one goes on, both are kept."""

    sop_instance_uid: str
    first: str  # SHA-256 of the one that goes on
    other: str  # and of this one,
    kept_as: str  # which lies among the originals under this key
    arrived_at: AwareDatetime


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
    subject: Subject
    conflicts: tuple[Conflict, ...]
    repeats: int  # instances that were here already, byte for byte
    whole: Whole


class Study(Aggregate):
    """A study of one site as far as it is sealed.

    While `held` names a reason nothing of it goes on; what is `noted` holds nothing up. Both wait for a person.
    """

    collection: ClassVar[str] = "studies"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("studies", ("site",)),
        Index("studies", ("site", "subject.accession.value")),
        Index("studies", ("review", "site")),
    )

    study: Key
    site: str
    jurisdiction: str
    study_instance_uid: str
    received_at: AwareDatetime
    subject: Subject = Subject()
    order: Key | None = None
    basis: Basis | None = None  # why this order
    priority: Priority = Priority.ROUTINE
    held: tuple[str, ...] = ()
    against: Key | None = None  # the order that it contradicts
    notes: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()  # notes that a person has seen
    decided: bool = False  # a person chose the order, or none; nothing chooses again
    review: bool = False  # a person should look
    identity: str = ""  # blob of what its patient is called now, if that is not what the images say
    batches: tuple[Batch, ...] = ()
    conflicts: tuple[Conflict, ...] = ()  # the first `MOST_CONFLICTS`
    repeats: int = 0  # so often an instance came that was here already, byte for byte
    announced: int = 0  # so many batches went on
    sealed: str = ""  # the arrival sealed last

    @property
    def next_batch(self) -> int:
        return len(self.batches) + 1


def seal(current: Study | None, arrival: Arrival, harvest: Harvest, found: Answered) -> Decision[Study] | None:
    """Add what was harvested as the next batch and say so; None if this arrival is sealed already."""
    study = current or _new(arrival, harvest.jurisdiction)
    if study.sealed == arrival.id:
        return None
    before = study
    study = _grown(study, arrival, harvest)
    study = judged(study, found)
    if harvest.instances:
        study = study.model_copy(update={"batches": (*study.batches, _batch(harvest))})
    if harvest.conflicts:
        study = noted(study, SAME_UID_OTHER_BYTES, again=True)
    return told(study, before, conflicts=len(harvest.conflicts))


def _grown(study: Study, arrival: Arrival, harvest: Harvest) -> Study:
    known = {each.kept_as for each in study.conflicts}
    fresh = [each for each in harvest.conflicts if each.kept_as not in known]
    return study.model_copy(
        update={
            "sealed": arrival.id,
            "subject": study.subject.merged(harvest.subject),
            "conflicts": (*study.conflicts, *fresh)[:MOST_CONFLICTS],
            "repeats": study.repeats + harvest.repeats,
        }
    )


def erased(current: Study | None, event: StudyPurged, objects: int) -> Decision[Study] | None:
    """Note that the batches sealed before the decision are deleted; their numbers are never used again."""
    if current is None:
        return None
    batches = tuple(
        each.model_copy(update={"erased": each.erased or each.completed_at <= event.purged_at})
        for each in current.batches
    )
    said = StudyErased(site=current.site, study=current.study, what="originals", objects=objects)
    left = {"batches": batches, "announced": len(batches), "subject": Subject(), "conflicts": ()}
    return Decision(current.model_copy(update=left), [said])


def answer(current: Study | None, found: Answered) -> Decision[Study] | None:
    """Judge a sealed study by the orders as they are now; None if there is nothing to learn from them."""
    if current is None:
        return None
    study = judged(current, found)
    return None if study == current else told(study, current)


def judged(study: Study, found: Answered) -> Study:
    """The study with the order that it answers, or held back from the order that it contradicts."""
    match found:
        case Ambiguous() if not study.order:
            return noted(study, AMBIGUOUS)
        case Found(order) if study.decided:
            fresh = {"priority": order.request.priority} if order.order == study.order else {}
            return study.model_copy(update=fresh)
        case Found(order, basis, subject) if study.order in (None, order.order) or _stronger(basis, study.basis):
            if held := contradicted(order.request, subject):
                return study.model_copy(update={"held": held, "against": order.order})
            return _with_notes(_answering(study, order, basis), order, subject.patient)
        case None if not study.decided:
            return study.model_copy(update={"held": (), "against": None})
    return study


def _stronger(basis: Basis, than: Basis | None) -> bool:
    ranks = list(Basis)
    return than is None or ranks.index(basis) < ranks.index(than)


def _answering(study: Study, order: Order, basis: Basis) -> Study:
    fresh = {"order": order.order, "basis": basis, "priority": order.request.priority, "held": (), "against": None}
    notes = tuple(note for note in study.notes if note != AMBIGUOUS)
    return study.model_copy(update=fresh | {"notes": notes})


def _with_notes(study: Study, order: Order, mine: Patient) -> Study:
    """What is odd about this match and holds nothing up."""
    theirs = order.request.patient
    if mine.ids and theirs.ids and not mine.known_as(theirs):
        study = noted(study, OTHER_PATIENT_ID)
    if order.request.status is Status.CANCELLED:
        study = noted(study, ORDER_CANCELLED)
    return study


def noted(study: Study, note: str, *, again: bool = False) -> Study:
    """With one more note for a person; one that was seen is shown once more only if it came `again`."""
    if note in study.notes or (note in study.seen and not again):
        return study
    return study.model_copy(update={"notes": (*study.notes, note)})


def told(study: Study, before: Study, *, conflicts: int = 0) -> Decision[Study]:
    """The study, whatever of it may go on, and that a person must look if that is new."""
    events: list[Event] = []
    if not study.held:
        events += [_received(study, batch) for batch in study.batches[study.announced :]]
        study = study.model_copy(update={"announced": len(study.batches)})
    reasons = study.held if study.held != before.held else ()
    instances = sum(batch.instances for batch in study.batches) if reasons else conflicts
    if conflicts:
        reasons = (*reasons, f"{SAME_UID_OTHER_BYTES}:{conflicts}")
    if reasons:
        events.append(_quarantined(study, reasons, instances))
    return Decision(study.model_copy(update={"review": bool(study.held or study.notes)}), events)


def _new(arrival: Arrival, jurisdiction: str) -> Study:
    return Study(
        study=arrival.study,
        site=arrival.site,
        jurisdiction=jurisdiction,
        study_instance_uid=arrival.study_instance_uid,
        received_at=arrival.received_at,
    )


def _batch(harvest: Harvest) -> Batch:
    return Batch(
        number=harvest.batch,
        manifest=harvest.manifest,
        manifest_sha256=harvest.manifest_sha256,
        instances=harvest.instances,
        size=harvest.size,
        modalities=harvest.modalities,
        completed_at=harvest.completed_at,
        whole=harvest.whole,
    )


def _received(study: Study, batch: Batch) -> StudyReceived:
    kind = StudyReceived if batch.number == 1 else StudyUpdated
    return kind(
        site=study.site,
        study=study.study,
        priority=study.priority,
        order=study.order,
        jurisdiction=study.jurisdiction,
        received_at=study.received_at,
        completed_at=batch.completed_at,
        batch=batch.number,
        manifest=batch.manifest,
        manifest_sha256=batch.manifest_sha256,
        instances=batch.instances,
        size=batch.size,
        modalities=batch.modalities,
        **batch.whole.model_dump(),
    )


def _quarantined(study: Study, reasons: tuple[str, ...], instances: int) -> StudyQuarantined:
    return StudyQuarantined(
        site=study.site,
        study=study.study,
        priority=study.priority,
        batch=max(len(study.batches), 1),
        reasons=reasons,
        instances=instances,
    )
