"""When a study is whole: who says what it consists of, how far that is believed, and how long it is waited for.

    evidence, strongest first         whole once                             confidence
    a signed manifest                 all its hashes are here                certain
    MPPS, all steps ended             all images they name are here          high
    a count, by the images' header    so many are here, and STAT's quiet     high
    or the sender's own answer        period has passed
    none                              no open delivery brought some of it,   moderate
                                      and its quiet period has passed
    any of the upper ones, unmet      the site's patience has passed         low

The strongest evidence there is decides. Nothing is ever discarded: what comes later makes another batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from radrelay_shared.aggregate import Part


class Basis(StrEnum):
    """Why a study is thought whole; by strength."""

    MANIFEST = "manifest"
    PERFORMED_STEPS = "mpps"
    INSTANCE_COUNT = "instance-count"
    SENDER_COUNT = "sender-count"
    QUIET = "quiet-period"


class Confidence(StrEnum):
    CERTAIN = "certain"
    HIGH = "high"
    MODERATE = "moderate"
    LOW = "low"


STRENGTH = {basis: place for place, basis in enumerate(Basis)}
CONFIDENCE = {
    Basis.MANIFEST: Confidence.CERTAIN,
    Basis.PERFORMED_STEPS: Confidence.HIGH,
    Basis.INSTANCE_COUNT: Confidence.HIGH,
    Basis.SENDER_COUNT: Confidence.HIGH,
    Basis.QUIET: Confidence.MODERATE,
}
COUNTS = (Basis.INSTANCE_COUNT, Basis.SENDER_COUNT)  # a number may be met by chance while more is on its way


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody says the study consists of: `count` instances, all named in `listed` unless only counted."""

    basis: Basis
    count: int
    listed: frozenset[str] = frozenset()  # SHA-256 in a manifest, SOP Instance UIDs in MPPS
    ended: bool = True  # False while the examination goes on


@dataclass(frozen=True, slots=True)
class Present:
    """What is here: hashes and SOP Instance UIDs of different instances, sealed earlier or not."""

    names: frozenset[str]
    count: int
    last: datetime  # when the latest one came
    delivering: bool = False  # an association, request or upload that brought some of it is still open


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a site waits: for more to come, for a count to be surpassed, for what was promised."""

    quiet: timedelta
    brief: timedelta
    patience: timedelta


class Whole(Part):
    """Nothing more is waited for."""

    basis: Basis = Basis.QUIET
    confidence: Confidence = Confidence.MODERATE
    expected: int | None = None  # instances, where somebody said so
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    until: datetime  # then it is judged again, and sooner if something comes


def verdict(claims: Sequence[Claim], present: Present, now: datetime, policy: Policy) -> Whole | Wait:
    """Whether the study is whole, on which evidence, or until when to wait at most."""
    claim = min(claims, key=lambda each: STRENGTH[each.basis], default=None)
    missing = _missing(claim, present) if claim else 0
    met = claim is None or (claim.ended and not missing)
    ready, limit = present.last + _pause(claim, policy), present.last + policy.patience
    if met and now >= ready and not (claim is None and present.delivering and now < limit):
        basis = claim.basis if claim else Basis.QUIET
        return Whole(basis=basis, confidence=CONFIDENCE[basis], expected=claim.count if claim else None)
    if now >= max(limit, ready) and claim is not None:
        return Whole(basis=Basis.QUIET, confidence=Confidence.LOW, expected=claim.count, missing=missing)
    return Wait(ready if met and now < ready else limit)


def _pause(claim: Claim | None, policy: Policy) -> timedelta:
    """How long nothing must have come for the evidence to hold."""
    if claim is None:
        return policy.quiet
    return policy.brief if claim.basis in COUNTS else timedelta()


def _missing(claim: Claim, present: Present) -> int:
    if claim.listed:
        return len(claim.listed - present.names)
    return max(claim.count - present.count, 0)
