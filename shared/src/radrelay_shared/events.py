"""Every event of RadRelay, in pipeline order. Frozen and versioned; additive evolution only.

An event never holds pixel data or identity: studies, orders and reports are named by keys, UIDs are those of the
de-identified copies, bulk travels as blob keys. `envelope.py` has what goes around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Key = str


class Priority(StrEnum):
    """How fast a study must be read; STAT has a lane of its own through every queue."""

    STAT = "stat"
    URGENT = "urgent"
    ROUTINE = "routine"


class Event(BaseModel):
    """What happened to one study (or order) of one site."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    type: ClassVar[str]
    doc: ClassVar[str]
    awaited: ClassVar[bool] = False  # somebody at a screen waits for what follows: it takes the urgent lane

    site: str
    study: Key
    priority: Priority = Priority.ROUTINE

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls.doc = (cls.__doc__ or "").strip()


class StudyFacts(Event):
    """What every stage of a study's way hands to the next one."""

    order: Key | None = None  # the matched order
    jurisdiction: str  # where the patient is, ISO 3166-1/-2: "US-MT", "DE"
    received_at: AwareDatetime  # first instance
    completed_at: AwareDatetime  # the study was found whole: clocks start here
    batch: int = Field(1, ge=1)  # 1, then one more for each set of late instances


# ── ingest ───────────────────────────────────────────────────────────────────────────────────────────


class OrderReceived(Event):
    """A clinic ordered a reading; `study` is empty until images match the order."""

    type: ClassVar[str] = "radrelay.order.received.v1"
    study: Key = ""
    order: Key
    jurisdiction: str
    modality: str | None = None
    procedure: str | None = None  # a code, never free text
    status: Literal["active", "on-hold", "cancelled", "completed"] = "active"


class PatientChanged(Event):
    """A study's patient is called differently now: merged, updated or corrected; reports go back under that."""

    type: ClassVar[str] = "radrelay.patient.changed.v1"
    identity: str  # blob key among the originals; what it does not say stays as the images say it
    reason: Literal["merged", "updated", "corrected"]


class StudyReceived(StudyFacts):
    """All instances of a study are here, sealed and durable."""

    type: ClassVar[str] = "radrelay.study.received.v1"
    manifest: str  # blob key among the originals
    manifest_sha256: str = ""  # of that object; it binds the hash of every instance
    instances: int
    size: int  # bytes
    modalities: tuple[str, ...]
    basis: str  # why the study is thought whole: "manifest", "mpps", "instance-count", "sender-count", "quiet-period"
    confidence: str = "moderate"  # "certain", "high", "moderate", or "low" if something is known to be missing
    expected: int | None = None  # instances, where somebody said how many there are
    missing: int = 0  # of those expected
    words: Key = ""  # blob key among the originals: whom orders and clinic name, so that no text of the copies does


class StudyUpdated(StudyReceived):
    """More instances came after the study was found whole; the manifest lists only these."""

    type: ClassVar[str] = "radrelay.study.updated.v1"


# ── anonymize ────────────────────────────────────────────────────────────────────────────────────────


class StudyAnonymized(StudyFacts):
    """A batch has a de-identified, verified copy."""

    type: ClassVar[str] = "radrelay.study.anonymized.v1"
    manifest: str  # blob key among the de-identified copies
    manifest_sha256: str = ""  # of that object; it binds the hash of every copy
    study_instance_uid: str  # de-identified
    instances: int
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...] = ()


class StudyQuarantined(Event):
    """Some of a study cannot go on without a person; nothing of it was discarded."""

    type: ClassVar[str] = "radrelay.study.quarantined.v1"
    batch: int = 1
    reasons: tuple[str, ...]  # codes with a tag or count, never a value
    instances: int


# ── storage ──────────────────────────────────────────────────────────────────────────────────────────


class Prior(BaseModel):
    """An earlier study of the same pseudonymous patient at the same site, and why it is worth a look."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    study: Key
    study_instance_uid: str
    modalities: tuple[str, ...]
    days: int  # earlier
    reasons: tuple[str, ...]


class StudyStored(StudyFacts):
    """A batch can be found and read over DICOMweb."""

    type: ClassVar[str] = "radrelay.study.stored.v1"
    study_instance_uid: str
    instances: int  # of the whole study so far
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...] = ()
    priors: tuple[Prior, ...] = ()  # the best ten, the best first


class PackDamaged(Event):
    """Stored bytes of a batch are not those that were stored; it must be made again from the originals."""

    type: ClassVar[str] = "radrelay.pack.damaged.v1"
    batch: int
    object: str  # the key of the first that is bad
    manifest_sha256: str  # what the batch must come to


class PackRestored(Event):
    """A damaged batch was made again, with the same bytes."""

    type: ClassVar[str] = "radrelay.pack.restored.v1"
    batch: int
    manifest_sha256: str


class StudyHeld(Event):
    """A legal hold was put on a study, or its last one was lifted: what is held, nobody destroys."""

    type: ClassVar[str] = "radrelay.study.held.v1"
    held: bool


class StudyPurged(Event):
    """Two people decided that a study is deleted for good; everyone deletes what they have of it."""

    type: ClassVar[str] = "radrelay.study.purged.v1"
    reason: str  # a code
    purged_at: AwareDatetime  # what was sealed later is not meant


class StudyErased(Event):
    """One service has deleted what it had of a purged study."""

    type: ClassVar[str] = "radrelay.study.erased.v1"
    what: Literal["originals", "identity"]
    objects: int


# ── triage ───────────────────────────────────────────────────────────────────────────────────────────


class StudyTriaged(StudyFacts):
    """Priority, subspecialty and deadline are decided, with reasons; sent again when they change."""

    type: ClassVar[str] = "radrelay.study.triaged.v1"
    study_instance_uid: str
    modalities: tuple[str, ...]
    subspecialty: str  # "neuro", "chest", "msk", "body", "general", ...
    due_at: AwareDatetime
    reasons: tuple[str, ...]
    priors: tuple[Prior, ...] = ()


class ModelAsked(Event):
    """A model is asked to look at a study: from then on it sees it, and may answer with what it derived from it."""

    type: ClassVar[str] = "radrelay.model.asked.v1"
    study_instance_uid: str
    model: str  # the subject of its tokens, or `key:` and the id of its API key


# ── assignment ───────────────────────────────────────────────────────────────────────────────────────


class Assignment(Event):
    """What happened to the workitem of a study."""

    awaited: ClassVar[bool] = True
    workitem: Key
    study_instance_uid: str


class StudyAssigned(Assignment):
    """A radiologist was offered the study until `until`."""

    type: ClassVar[str] = "radrelay.study.assigned.v1"
    radiologist: str
    until: AwareDatetime
    due_at: AwareDatetime
    reasons: tuple[str, ...]
    priors: tuple[Prior, ...] = ()


class AssignmentClaimed(Assignment):
    """The radiologist took the study; the lease returns by itself at `until` unless renewed."""

    type: ClassVar[str] = "radrelay.assignment.claimed.v1"
    radiologist: str
    until: AwareDatetime


class AssignmentReturned(Assignment):
    """Offer or lease ended without a report; the study is offered again."""

    type: ClassVar[str] = "radrelay.assignment.returned.v1"
    radiologist: str
    reason: Literal["lapsed", "declined", "released"]


class AssignmentStranded(Assignment):
    """Nobody who may read this study is on shift; a person must be found."""

    type: ClassVar[str] = "radrelay.assignment.stranded.v1"
    reasons: tuple[str, ...]


# ── reporting ────────────────────────────────────────────────────────────────────────────────────────


class Report(Event):
    """A version of a report, its FHIR DiagnosticReport (without identity) under `content`."""

    report: Key
    version: int
    workitem: Key
    radiologist: str
    content: str  # blob key
    sha256: str
    critical: bool = False


class ReportPreliminary(Report):
    """A first answer that may still change."""

    type: ClassVar[str] = "radrelay.report.preliminary.v1"


class ReportFinalized(Report):
    """The radiologist signed."""

    type: ClassVar[str] = "radrelay.report.finalized.v1"


class ReportAddended(Report):
    """Something was added to a signed report."""

    type: ClassVar[str] = "radrelay.report.addended.v1"


# ── notification ─────────────────────────────────────────────────────────────────────────────────────


class Delivery(Event):
    """What became of one webhook for one report version at one endpoint."""

    report: Key
    version: int
    endpoint: Key
    webhook_id: str
    attempts: int


class ReportDelivered(Delivery):
    """The hospital's endpoint accepted the report."""

    type: ClassVar[str] = "radrelay.report.delivered.v1"


class ReportUndelivered(Delivery):
    """All tries failed; an operator can resend."""

    type: ClassVar[str] = "radrelay.report.undelivered.v1"
    last_status: int | None = None


def every_event() -> Iterator[type[Event]]:
    """All concrete events, in pipeline order."""
    waiting: list[type[Event]] = [Event]
    found: list[type[Event]] = []
    while waiting:
        event = waiting.pop()
        waiting.extend(event.__subclasses__())
        if "type" in event.__dict__:
            found.append(event)
    order = list(globals())
    yield from sorted(found, key=lambda event: order.index(event.__name__))


EVENTS: dict[str, type[Event]] = {event.type: event for event in every_event()}

# Who reads what. Every service's HANDLERS say it, too (a test holds both together); here it is known before any
# of them runs, so that an event is kept for a reader that has not started yet.
READERS: dict[str, tuple[type[Event], ...]] = {
    "ingest": (StudyPurged,),
    "anonymize": (PatientChanged, StudyReceived, StudyUpdated, StudyHeld, StudyPurged, PackDamaged),
    "storage": (
        StudyAnonymized,
        ModelAsked,
        StudyAssigned,
        AssignmentClaimed,
        AssignmentReturned,
        StudyErased,
        PackRestored,
        StudyReceived,
        StudyUpdated,
        StudyQuarantined,
        ReportPreliminary,
        ReportFinalized,
        ReportAddended,
        ReportDelivered,
    ),
    "triage": (OrderReceived, StudyStored, ReportFinalized),
    "assignment": (StudyTriaged, ReportFinalized, ReportAddended),
    "reporting": (
        StudyAssigned,
        AssignmentClaimed,
        AssignmentReturned,
        StudyStored,
        ReportDelivered,
        ReportUndelivered,
    ),
    "notification": (ReportPreliminary, ReportFinalized, ReportAddended, StudyQuarantined, AssignmentStranded),
}
