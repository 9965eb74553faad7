"""The life of a workitem, one per study: waiting → offered → claimed → done. Every step is one guarded write.

In UPS terms (PS3.4 §CC.1.1): waiting and offered are SCHEDULED, claimed is IN PROGRESS, done is COMPLETED.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, PlainSerializer

from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.errors import Refused
from radrelay_shared.events import (
    Assignment,
    AssignmentClaimed,
    AssignmentReturned,
    AssignmentStranded,
    Prior,
    Priority,
    ReportFinalized,
    StudyAssigned,
    StudyTriaged,
)
from radrelay_shared.ports import Index

BY_URGENCY = tuple(Priority)  # the enumeration is in this order: stat, urgent, routine
REMEMBERED = 50  # turns of a workitem's history that stay in its document

WorkitemState = Literal["waiting", "offered", "claimed", "done"]
HELD: tuple[WorkitemState, ...] = ("offered", "claimed")
UPS = {"waiting": "SCHEDULED", "offered": "SCHEDULED", "claimed": "IN PROGRESS", "done": "COMPLETED"}


def stamp(instant: datetime) -> str:
    """UTC in milliseconds with all digits, so that stored texts sort as their times do."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds")


Instant = Annotated[
    AwareDatetime,
    AfterValidator(lambda instant: datetime.fromisoformat(stamp(instant))),
    PlainSerializer(stamp, when_used="json"),
]


class Turn(BaseModel):
    """How one radiologist's turn at a workitem ended."""

    model_config = ConfigDict(frozen=True)
    radiologist: str
    was: WorkitemState
    ended: Literal["lapsed", "declined", "released", "signed"]
    at: Instant


class Workitem(Aggregate):
    """One study to be read."""

    collection: ClassVar[str] = "workitems"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("workitems", ("state", "until")),
        Index("workitems", ("state", "turn")),
        Index("workitems", ("radiologist",)),
        Index("workitems", ("addendum_by",)),
    )

    id: str
    site: str
    study: str
    study_instance_uid: str = ""
    jurisdiction: str = ""
    priority: Priority
    subspecialty: str = ""
    due_at: Instant
    turn: str  # sorts by urgency, then by deadline: STAT overtakes
    triage_reasons: tuple[str, ...] = ()
    priors: tuple[Prior, ...] = ()
    sequence: int = 0  # of the newest triage
    batch: int = 0  # the last one that triage named

    state: WorkitemState = "waiting"
    radiologist: str | None = None  # to whom it is offered, or who holds it
    until: Instant | None = None  # the offer's or the lease's end
    reasons: tuple[str, ...] = ()  # why this radiologist
    stranded: bool = False  # a person was called
    signer: str | None = None
    addendum_by: str | None = None  # the signer, while there are images that came after the signature
    declined: tuple[str, ...] = ()
    history: tuple[Turn, ...] = ()  # the newest last


def workitem_key(study: str) -> str:
    return f"wi-{study.removeprefix('st-')}"


def turn_of(priority: Priority, due_at: datetime) -> str:
    return f"{BY_URGENCY.index(priority)} {stamp(due_at)}"


def to_read(known: Workitem | None, event: StudyTriaged, sequence: int) -> Decision[Workitem] | None:
    """A workitem for the study, or the newer triage on the one that is there; a claim is never disturbed.

    Images that come after the signature are for its signer to look at.
    """
    if known is not None and sequence < known.sequence:
        return None
    facts: dict[str, Any] = event.model_dump(
        include={"site", "study", "study_instance_uid", "jurisdiction", "priority", "subspecialty", "due_at"}
        | {"priors", "batch"}
    )
    facts |= {"turn": turn_of(event.priority, event.due_at), "triage_reasons": event.reasons, "sequence": sequence}
    if known and known.state == "done" and 0 < known.batch < event.batch:
        facts["addendum_by"] = known.signer
    rest = known.model_dump(exclude=set(facts)) if known else {"id": workitem_key(event.study)}
    return Decision(Workitem(**rest, **facts))


def offer(item: Workitem, radiologist: str, reasons: Sequence[str], until: datetime) -> Decision[Workitem]:
    offered = changed(item, state="offered", radiologist=radiologist, until=until, reasons=reasons, stranded=False)
    about = {"radiologist": radiologist, "until": until, "due_at": item.due_at, "reasons": tuple(reasons)}
    return Decision(offered, (StudyAssigned(**named(item), **about, priors=item.priors),))


def strand(item: Workitem, reasons: Sequence[str]) -> Decision[Workitem] | None:
    """Call a person, once until somebody was found again."""
    if item.stranded:
        return None
    event = AssignmentStranded(**named(item), reasons=tuple(reasons))
    return Decision(changed(item, stranded=True, reasons=reasons), (event,))


def claim(item: Workitem, radiologist: str, until: datetime) -> Decision[Workitem] | None:
    """The lease of an item that is waiting or offered to this radiologist; who holds it already keeps it as it is."""
    if item.state == "claimed" and item.radiologist == radiologist:
        return None
    if item.state == "done":
        raise Refused("this study is read already")
    if item.state != "waiting" and item.radiologist != radiologist:
        raise Refused(f"somebody else has this workitem ({item.state})")
    return leased(item, radiologist, until)


def renew(item: Workitem, radiologist: str, until: datetime) -> Decision[Workitem]:
    must_be("claimed", item, radiologist)
    return leased(item, radiologist, until)


def leased(item: Workitem, radiologist: str, until: datetime) -> Decision[Workitem]:
    held = changed(item, state="claimed", radiologist=radiologist, until=until, stranded=False)
    return Decision(held, (AssignmentClaimed(**named(item), radiologist=radiologist, until=until),))


def release(item: Workitem, radiologist: str, now: datetime) -> Decision[Workitem]:
    must_be("claimed", item, radiologist)
    return returned(item, "released", now)


def decline(item: Workitem, radiologist: str, now: datetime) -> Decision[Workitem]:
    """Back to the others; this radiologist is not asked again about this study."""
    must_be("offered", item, radiologist)
    return returned(item, "declined", now)


def lapse(item: Workitem, now: datetime) -> Decision[Workitem] | None:
    """Back to the others if the offer or lease has ended."""
    if item.state not in HELD or item.until is None or now < item.until:
        return None
    return returned(item, "lapsed", now)


def returned(item: Workitem, reason: Literal["lapsed", "declined", "released"], now: datetime) -> Decision[Workitem]:
    who = str(item.radiologist)
    free = changed(
        item,
        **FREE,
        state="waiting",
        declined=(*item.declined, who) if reason == "declined" else item.declined,
        history=remember(item, Turn(radiologist=who, was=item.state, ended=reason, at=now)),
    )
    return Decision(free, (AssignmentReturned(**named(item), radiologist=who, reason=reason),))


def finish(known: Workitem | None, event: ReportFinalized, now: datetime) -> Decision[Workitem] | None:
    """A signed study is done, whoever held it, and also when the signature is the first we hear of it."""
    if known is not None and known.state == "done":
        return None
    item = known or Workitem(
        id=workitem_key(event.study),
        site=event.site,
        study=event.study,
        priority=event.priority,
        due_at=now,
        turn=turn_of(event.priority, now),
    )
    signed = Turn(radiologist=event.radiologist, was=item.state, ended="signed", at=now)
    history = remember(item, signed)
    return Decision(changed(item, **FREE, state="done", stranded=False, signer=event.radiologist, history=history))


def add(known: Workitem | None) -> Decision[Workitem] | None:
    """The signer has written an addendum: what came after the signature was looked at."""
    return Decision(changed(known, addendum_by=None)) if known and known.addendum_by else None


FREE: dict[str, Any] = {"radiologist": None, "until": None, "reasons": ()}


def must_be(state: WorkitemState, item: Workitem, radiologist: str) -> None:
    if item.state != state or item.radiologist != radiologist:
        raise Refused(f"this workitem is not {state} {'to' if state == 'offered' else 'by'} you (any more)")


def turns_of(item: Workitem, radiologist: str) -> int:
    """How often this radiologist had it, as far as it is remembered, and gave no report."""
    return sum(turn.radiologist == radiologist for turn in item.history)


def remember(item: Workitem, turn: Turn) -> tuple[Turn, ...]:
    return (*item.history, turn)[-REMEMBERED:]


def changed(item: Workitem, **fields: Any) -> Workitem:
    return Workitem.model_validate({**dict(item), **fields})


def named(item: Workitem) -> dict[str, Any]:
    """What every `Assignment` event says."""
    return {
        "workitem": item.id,
        **{field: getattr(item, field) for field in Assignment.model_fields if field != "workitem"},
    }
