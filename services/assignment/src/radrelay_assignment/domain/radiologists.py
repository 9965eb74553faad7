"""Radiologists and their shifts, on the clock of the place where each of them lives."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from radrelay_shared.aggregate import Aggregate

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_SITE = "*"


def known_zone(name: str) -> str:
    """An IANA time zone's name; `ValueError` for any other."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # what zoneinfo raises for names that are no zone
        raise ValueError("not a time zone of the IANA database") from error
    return name


def wall_clock(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("a shift is in the radiologist's own time: no offset here")
    return value


WallTime = Annotated[time, AfterValidator(wall_clock)]


class Shift(BaseModel):
    """Wall-clock hours on weekdays; an end that is not after the start lies on the next day."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    days: Annotated[tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Field(min_length=1)]
    starts: WallTime = Field(alias="from")
    ends: WallTime = Field(alias="to")


class Profile(BaseModel):
    """What an operator registers of a radiologist."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(min_length=1, max_length=200)
    licences: tuple[str, ...]  # ISO 3166-1/-2; a country covers its parts: "DE" covers "DE-BY"
    subspecialties: tuple[str, ...] = ()
    sites: tuple[str, ...] = (EVERY_SITE,)
    time_zone: Annotated[str, AfterValidator(known_zone)]
    shifts: tuple[Shift, ...]
    max_open: int = Field(5, ge=1, le=1000)


class Radiologist(Profile, Aggregate):
    """A registered radiologist; `id` is the subject of their tokens."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    collection: ClassVar[str] = "radiologists"
    id: str


@lru_cache(maxsize=10_000)
def on_shift(shifts: tuple[Shift, ...], time_zone: str, now: datetime) -> bool:
    """Whether `now` lies in a shift that began today or yesterday, there.

    Remembered, because a dispatcher asks it of the same people for each study at the same `now`.
    """
    zone = ZoneInfo(time_zone)
    today = now.astimezone(zone).date()
    days = (today, today - timedelta(days=1))
    spans = (span(shift, day, zone) for shift in shifts for day in days if DAYS[day.weekday()] in shift.days)
    return any(start <= now < end for start, end in spans)


def span(shift: Shift, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Start and end in UTC. On the nights when clocks change no hour between two shifts is left uncovered.

    A start that happens twice counts from the first time, an end that happens twice until the second; an hour
    that does not exist is moved to the same elapsed time after midnight (PEP 495).
    """
    last = day + timedelta(days=shift.ends <= shift.starts)
    start = datetime.combine(day, shift.starts, zone)
    end = datetime.combine(last, shift.ends, zone)
    return start.astimezone(UTC), max(end.astimezone(UTC), end.replace(fold=1).astimezone(UTC))
