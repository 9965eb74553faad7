"""Who may read a study, and who is asked: tables of rules, each with the reason it gives when it fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from radrelay_assignment.domain.radiologists import EVERY_SITE, Radiologist, on_shift
from radrelay_assignment.domain.workitems import BY_URGENCY, Workitem, turns_of
from radrelay_shared.events import Priority

GENERAL = "general"
REASONS_SAID = 10

# Open workitems (offered and claimed) by radiologist and priority.
Loads = Mapping[str, Counter[Priority]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold between a radiologist, a study and the time, and what is said where it does not."""

    holds: Callable[[Radiologist, Workitem, datetime], bool]
    otherwise: str


def licensed(radiologist: Radiologist, item: Workitem, _: datetime) -> bool:
    """Where the patient is (ACR 2017): in that part, or in the whole country where licences are national."""
    return any(
        item.jurisdiction == licence or item.jurisdiction.startswith(f"{licence}-") for licence in radiologist.licences
    )


def sees_the_site(radiologist: Radiologist, item: Workitem, _: datetime) -> bool:
    return EVERY_SITE in radiologist.sites or item.site in radiologist.sites


def reads_it(radiologist: Radiologist, item: Workitem, _: datetime) -> bool:
    return item.subspecialty == GENERAL or item.subspecialty in radiologist.subspecialties


def has_not_declined(radiologist: Radiologist, item: Workitem, _: datetime) -> bool:
    return radiologist.id not in item.declined


def works_now(radiologist: Radiologist, _: Workitem, now: datetime) -> bool:
    return on_shift(radiologist.shifts, radiologist.time_zone, now)


# What the law and the hospital ask, which no offer made earlier can replace.
PERMITS = (
    Rule(licensed, "not licensed in {item.jurisdiction}"),
    Rule(sees_the_site, "does not read for {item.site}"),
)
RULES = (
    *PERMITS,
    Rule(reads_it, "does not read {item.subspecialty}"),
    Rule(has_not_declined, "declined this study"),
    Rule(works_now, "off shift"),
)


def objection(rules: Sequence[Rule], radiologist: Radiologist, item: Workitem, now: datetime) -> str | None:
    """The first rule's reason against it, or None."""
    broken = (rule for rule in rules if not rule.holds(radiologist, item, now))
    return next((rule.otherwise.format(item=item) for rule in broken), None)


def load_of(radiologist: Radiologist, item: Workitem, loads: Loads) -> int:
    """Open workitems at least as urgent as this one: a full list of routine studies never keeps a STAT waiting."""
    counts = loads.get(radiologist.id, Counter())
    return sum(counts[priority] for priority in BY_URGENCY[: BY_URGENCY.index(item.priority) + 1])


def has_room(radiologist: Radiologist, item: Workitem, loads: Loads) -> bool:
    return load_of(radiologist, item, loads) < radiologist.max_open


@dataclass(frozen=True, slots=True)
class Chosen:
    radiologist: Radiologist
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody may read it and has no room yet."""


@dataclass(frozen=True, slots=True)
class Nobody:
    """Nobody may read it now."""

    reasons: tuple[str, ...]


def choose(item: Workitem, radiologists: Sequence[Radiologist], loads: Loads, now: datetime) -> Chosen | Busy | Nobody:
    """Who is asked of those who may and have room: the first by `rank`."""
    objections = [objection(RULES, radiologist, item, now) for radiologist in radiologists]
    able = [radiologist for radiologist, against in zip(radiologists, objections, strict=True) if against is None]
    if not able:
        return Nobody(summary([against for against in objections if against]))
    free = [radiologist for radiologist in able if has_room(radiologist, item, loads)]
    if not free:
        return Busy()
    best = min(free, key=lambda each: rank(each, item, loads))
    return Chosen(best, praise(best, item, loads, now, len(free)))


def rank(radiologist: Radiologist, item: Workitem, loads: Loads) -> tuple[int, int, int, str]:
    """Who had it least often, then the least loaded, then the least flexible, then the first id.

    The least flexible come first so that rare skills stay free for what needs them.
    """
    others = len(set(radiologist.subspecialties) - {item.subspecialty})
    return turns_of(item, radiologist.id), load_of(radiologist, item, loads), others, radiologist.id


def praise(radiologist: Radiologist, item: Workitem, loads: Loads, now: datetime, free: int) -> tuple[str, ...]:
    """Why this radiologist, in short sentences."""
    local = now.astimezone(ZoneInfo(radiologist.time_zone))
    return (
        f"licensed in {item.jurisdiction}",
        f"reads {item.subspecialty}",
        f"on shift: {local:%a %H:%M} in {radiologist.time_zone}",
        f"{load_of(radiologist, item, loads)} open at least as urgent, of at most {radiologist.max_open}",
        f"first of {free} who could",
    )


def summary(objections: Sequence[str]) -> tuple[str, ...]:
    """How many fail for which reason, most frequent first."""
    if not objections:
        return ("no radiologist is registered",)
    return tuple(f"{count} x {reason}" for reason, count in Counter(objections).most_common(REASONS_SAID))
