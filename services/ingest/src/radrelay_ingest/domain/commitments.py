"""Storage commitment (PS3.4 Annex J): who asked for which instances, and whether they were told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from radrelay_shared.aggregate import Aggregate, Decision, Part
from radrelay_shared.events import Key
from radrelay_shared.ports import Index

NO_SUCH_INSTANCE, OTHER_CLASS = 0x0112, 0x0119  # PS3.3 §C.14.1.1


class Reference(Part):
    sop_class_uid: str
    sop_instance_uid: str


class Commitment(Aggregate):
    """One request, answered to its AE title's own address until it has taken the answer."""

    collection: ClassVar[str] = "commitments"
    indexes: ClassVar[tuple[Index, ...]] = (Index("commitments", ("state", "next_at")),)

    id: Key
    site: str
    calling: str  # AE title
    transaction_uid: str
    references: tuple[Reference, ...]
    state: Literal["due", "told"] = "due"
    tries: int = 0
    next_at: float  # seconds since 1970


def judged(
    references: tuple[Reference, ...], durable: Mapping[str, str]
) -> tuple[list[Reference], list[tuple[Reference, int]]]:
    """Those that are durable here, and the others with the reason; `durable` is SOP class by SOP instance."""
    kept, failed = [], []
    for each in references:
        found = durable.get(each.sop_instance_uid)
        if found == each.sop_class_uid:
            kept.append(each)
        else:
            failed.append((each, NO_SUCH_INSTANCE if found is None else OTHER_CLASS))
    return kept, failed


def asked(current: Commitment | None, fresh: Commitment) -> Decision[Commitment] | None:
    """Remember the request; the same transaction again is told again."""
    if current is not None and current.state == "due":
        return None
    return Decision(fresh)


def told(current: Commitment | None) -> Decision[Commitment] | None:
    return Decision(current.model_copy(update={"state": "told"})) if current else None


def postponed(current: Commitment | None, until: float) -> Decision[Commitment] | None:
    if current is None or current.state == "told":
        return None
    return Decision(current.model_copy(update={"tries": current.tries + 1, "next_at": until}))
