"""The life of a report: draft, preliminary, final, addendum. Pure: facts and texts in, decisions out."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from radrelay_shared.aggregate import Aggregate, Decision, Input, Part
from radrelay_shared.errors import Forbidden, NotFound, Refused, Retryable
from radrelay_shared.events import (
    AssignmentClaimed,
    AssignmentReturned,
    Priority,
    Report,
    ReportAddended,
    ReportDelivered,
    ReportFinalized,
    ReportPreliminary,
    ReportUndelivered,
    StudyAssigned,
    StudyStored,
)
from radrelay_shared.ports import Index

TEXT_LIMIT = 60_000  # characters; a webhook must stay deliverable


class Status(StrEnum):
    """FHIR R4 DiagnosticReport.status, as far as a reading uses it."""

    PRELIMINARY = "preliminary"
    FINAL = "final"
    APPENDED = "appended"


EVENT_OF: dict[Status, type[Report]] = {
    Status.PRELIMINARY: ReportPreliminary,
    Status.FINAL: ReportFinalized,
    Status.APPENDED: ReportAddended,
}


class Draft(Input):
    """What the radiologist has written so far."""

    findings: str = Field("", max_length=TEXT_LIMIT)
    impression: str = Field(min_length=1, max_length=TEXT_LIMIT)
    critical: bool = False


class Addendum(Input):
    text: str = Field(min_length=1, max_length=TEXT_LIMIT)


class Version(Part):
    """One published state of the report; never changed afterwards."""

    number: int
    status: Status
    findings: str
    impression: str
    critical: bool
    addenda: tuple[str, ...] = ()
    radiologist: str
    issued: AwareDatetime


class Publication(Part):
    """A version that is stored, and where."""

    version: Version
    content: str  # blob key
    sha256: str


class Delivery(Part):
    version: int
    endpoint: str
    outcome: Literal["delivered", "undelivered"]
    attempts: int


class Case(Aggregate):
    """A study's reading: who may write, what is written, what was published and where it arrived."""

    collection: ClassVar[str] = "cases"
    indexes: ClassVar[tuple[Index, ...]] = (Index("cases", ("site",)), Index("cases", ("holder",)))

    study: str
    site: str
    priority: Priority
    workitem: str
    study_instance_uid: str
    holder: str | None = None  # the radiologist whose claim is the latest known
    assignment_sequence: str = ""  # of the last assignment event that counted
    draft: Draft | None = None
    batch: int = 1  # the last one of which images are stored
    more_images: bool = False  # they came after what was published last
    published: tuple[Publication, ...] = ()
    deliveries: tuple[Delivery, ...] = ()

    @property
    def latest(self) -> Version | None:
        return self.published[-1].version if self.published else None

    @property
    def signed(self) -> bool:
        return self.latest is not None and self.latest.status is not Status.PRELIMINARY


# ── what assignment says ─────────────────────────────────────────────────────────────────────────────

AssignmentEvent = StudyAssigned | AssignmentClaimed | AssignmentReturned


def assigned(case: Case | None, event: AssignmentEvent, sequence: str) -> Decision[Case] | None:
    """Follow the workitem; an assignment event older than one already seen changes nothing."""
    if case is None:
        case = Case(
            study=event.study,
            site=event.site,
            priority=event.priority,
            workitem=event.workitem,
            study_instance_uid=event.study_instance_uid,
        )
    if sequence <= case.assignment_sequence:
        return None
    holder = event.radiologist if isinstance(event, AssignmentClaimed) else None
    changes = {"holder": holder, "assignment_sequence": sequence, "priority": event.priority}
    return Decision(case.model_copy(update=changes))


# ── what storage says ────────────────────────────────────────────────────────────────────────────────


def images_came(case: Case | None, event: StudyStored) -> Decision[Case] | None:
    """A later batch can be read; before anybody was asked to read the study, that is no news."""
    if case is None or event.batch <= case.batch:
        return None
    return Decision(case.model_copy(update={"batch": event.batch, "more_images": bool(case.published)}))


# ── what the radiologist does ────────────────────────────────────────────────────────────────────────


def found(case: Case | None) -> Case:
    if case is None:
        raise NotFound("there is no study of this key that you may report")
    return case


def expected(case: Case | None) -> Case:
    """The case; before the first assignment event has come, the caller's own claim may be on its way here."""
    if case is None:
        raise Retryable("nobody's claim on this study is known here yet; claim it, or try again in a moment")
    return case


def may_write(case: Case, radiologist: str) -> None:
    """Only the holder of the claim writes, and only until the report is signed."""
    if case.signed:
        raise Refused(f"the report of {case.study} is signed; add to it with an addendum")
    if case.holder is None:
        raise Retryable(f"nobody's claim on {case.study} is known here yet; claim it, or try again in a moment")
    if case.holder != radiologist:
        raise Forbidden(f"{case.study} is claimed by another radiologist")


def drafted(case: Case | None, radiologist: str, draft: Draft) -> Decision[Case]:
    case = found(case)
    may_write(case, radiologist)
    return Decision(case.model_copy(update={"draft": draft}))


def next_version(case: Case | None, radiologist: str, status: Status, now: datetime) -> Version:
    """The draft as a preliminary or final version."""
    case = found(case)
    may_write(case, radiologist)
    if case.draft is None:
        raise Refused(f"there is no draft for {case.study}; write one first")
    texts = case.draft.model_dump()
    return Version(number=len(case.published) + 1, status=status, radiologist=radiologist, issued=now, **texts)


def next_addendum(case: Case | None, radiologist: str, addendum: Addendum, now: datetime) -> Version:
    """The signed report with one more text; only its signer adds to it."""
    case = found(case)
    if not case.signed or case.latest is None:
        raise Refused(f"the report of {case.study} is not signed yet; change the draft instead")
    if case.latest.radiologist != radiologist:
        raise Forbidden(f"the report of {case.study} was signed by another radiologist")
    changes = {
        "number": len(case.published) + 1,
        "status": Status.APPENDED,
        "addenda": (*case.latest.addenda, addendum.text),
        "issued": now,
    }
    return case.latest.model_copy(update=changes)


def publish(case: Case | None, publication: Publication) -> Decision[Case]:
    """Add the version and tell everyone; a second publication of the same number is refused."""
    case, version = found(case), publication.version
    if version.number != len(case.published) + 1 or (case.signed and version.status is not Status.APPENDED):
        raise Refused(f"the report of {case.study} was published by someone else meanwhile; look at it first")
    event = EVENT_OF[version.status](
        site=case.site,
        study=case.study,
        priority=case.priority,
        report=report_key(case.study),
        version=version.number,
        workitem=case.workitem,
        radiologist=version.radiologist,
        content=publication.content,
        sha256=publication.sha256,
        critical=version.critical,
    )
    changes = {"published": (*case.published, publication), "more_images": False}
    return Decision(case.model_copy(update=changes), (event,))


def report_key(study: str) -> str:
    """One report per study, named after it."""
    return f"rp-{study.removeprefix('st-')}"


# ── what notification says ───────────────────────────────────────────────────────────────────────────


def delivered(case: Case | None, event: ReportDelivered | ReportUndelivered) -> Decision[Case] | None:
    """Keep the latest outcome for each version and endpoint."""
    if case is None:
        raise Retryable(f"the case of {event.study} is not known here yet")
    outcome: Literal["delivered", "undelivered"] = "delivered" if isinstance(event, ReportDelivered) else "undelivered"
    delivery = Delivery(version=event.version, endpoint=event.endpoint, outcome=outcome, attempts=event.attempts)
    others = tuple(
        each for each in case.deliveries if (each.version, each.endpoint) != (delivery.version, delivery.endpoint)
    )
    return Decision(case.model_copy(update={"deliveries": (*others, delivery)}))
