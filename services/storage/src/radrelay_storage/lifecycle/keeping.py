"""What holds a study, who wants it purged, and its tombstone: one document, so that a hold and a purge cannot cross."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import AwareDatetime

from radrelay_shared.aggregate import Aggregate, Decision, Part
from radrelay_shared.errors import Forbidden, NotFound, Refused
from radrelay_shared.events import StudyHeld, StudyPurged
from radrelay_shared.ports import Index

EYES = 2  # people who must agree; a policy is none
POLICY = "policy:"  # in front of the rule that proposed
MOST_HOLDS = 20


class Hold(Part):
    """A legal matter for which the study must stay."""

    matter: str  # a reference, never a name
    by: str
    at: AwareDatetime


class Agreement(Part):
    by: str
    at: AwareDatetime


class Proposal(Part):
    reason: str  # a code
    by: str  # a caller, or `policy:` and the rule
    at: AwareDatetime
    agreed: tuple[Agreement, ...] = ()  # people; whoever proposes agrees


class Purged(Part):
    """The tombstone."""

    at: AwareDatetime
    proposal: Proposal
    batches: tuple[int, ...]
    carried_out: bool = False  # by storage; ingest and anonymize say it for themselves


class Keeping(Aggregate):
    collection: ClassVar[str] = "keeping"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("keeping", ("study_instance_uid",)),
        Index("keeping", ("state", "study")),
        Index("keeping", ("site",)),
    )

    study: str
    site: str
    study_instance_uid: str
    holds: tuple[Hold, ...] = ()
    proposal: Proposal | None = None
    purged: Purged | None = None
    state: str = "kept"  # or "proposed", "purging", "purged": what a search asks for

    @property
    def matters(self) -> str:
        return ", ".join(hold.matter for hold in self.holds)


def held(keeping: Keeping, hold: Hold) -> Decision[Keeping] | None:
    """Put a hold on it; the same matter once."""
    alive(keeping)
    if any(each.matter == hold.matter for each in keeping.holds):
        return None
    if len(keeping.holds) == MOST_HOLDS:
        raise Refused(f"{keeping.study} has {MOST_HOLDS} holds already")
    return _holding(keeping, (*keeping.holds, hold))


def lifted(keeping: Keeping, matter: str) -> Decision[Keeping]:
    left = tuple(each for each in keeping.holds if each.matter != matter)
    if len(left) == len(keeping.holds):
        raise NotFound(f"{keeping.study} is not held for this matter")
    return _holding(keeping, left)


def _holding(keeping: Keeping, holds: tuple[Hold, ...]) -> Decision[Keeping]:
    """With these holds; the vault, which purges for itself, is told whether there is one."""
    told = StudyHeld(site=keeping.site, study=keeping.study, held=bool(holds))
    return Decision(keeping.model_copy(update={"holds": holds}), [told])


def proposed(keeping: Keeping, reason: str, by: str, at: datetime) -> Decision[Keeping]:
    """Somebody, or a policy, wants it purged; nothing happens before others agree."""
    alive(keeping)
    if keeping.proposal:
        raise Refused(f"the purge of {keeping.study} is proposed already")
    agreed = () if by.startswith(POLICY) else (Agreement(by=by, at=at),)
    proposal = Proposal(reason=reason, by=by, at=at, agreed=agreed)
    return Decision(keeping.model_copy(update={"proposal": proposal, "state": "proposed"}))


def withdrawn(keeping: Keeping) -> Decision[Keeping]:
    alive(keeping)
    open_proposal(keeping)
    return Decision(keeping.model_copy(update={"proposal": None, "state": "kept"}))


def approved(keeping: Keeping, by: str, at: datetime, batches: tuple[int, ...]) -> Decision[Keeping]:
    """One more pair of eyes; with the last one needed the study is purged, and everyone is told."""
    alive(keeping)
    proposal = open_proposal(keeping)
    if keeping.holds:
        raise Refused(f"{keeping.study} is under legal hold ({keeping.matters}); lift it first")
    if any(each.by == by for each in proposal.agreed):
        raise Forbidden("you have agreed to this purge already; it takes another person")
    proposal = proposal.model_copy(update={"agreed": (*proposal.agreed, Agreement(by=by, at=at))})
    if len(proposal.agreed) < EYES:
        return Decision(keeping.model_copy(update={"proposal": proposal}))
    purged = Purged(at=at, proposal=proposal, batches=batches)
    gone = keeping.model_copy(update={"proposal": None, "purged": purged, "state": "purging"})
    return Decision(gone, [StudyPurged(site=keeping.site, study=keeping.study, reason=proposal.reason, purged_at=at)])


def carried_out(keeping: Keeping | None) -> Decision[Keeping] | None:
    if keeping is None or keeping.purged is None:
        return None
    done = keeping.purged.model_copy(update={"carried_out": True})
    return Decision(keeping.model_copy(update={"purged": done, "state": "purged"}))


def alive(keeping: Keeping) -> None:
    if keeping.purged:
        raise Refused(f"{keeping.study} was purged")


def open_proposal(keeping: Keeping) -> Proposal:
    if keeping.proposal is None:
        raise NotFound(f"nobody proposed to purge {keeping.study}")
    return keeping.proposal
