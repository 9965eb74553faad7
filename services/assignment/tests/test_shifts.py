"""Shifts run on the radiologist's own wall clock, over midnight and through clock changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from radrelay_assignment.domain.radiologists import DAYS, Profile, Shift, on_shift

WEEKDAYS = DAYS[:5]


def shift(start: str, end: str, *days: str) -> Shift:
    return Shift.model_validate({"days": days or WEEKDAYS, "from": start, "to": end})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "works"),
    [
        ("2026-03-02T07:59", False),  # Monday, 08:59 in Berlin
        ("2026-03-02T08:00", True),
        ("2026-03-02T15:59", True),
        ("2026-03-02T16:00", False),
        ("2026-03-07T10:00", False),  # Saturday
    ],
)
def test_a_day_shift_in_berlin_begins_and_ends_on_the_minute(at: str, *, works: bool) -> None:
    assert on_shift((shift("09:00", "17:00"),), "Europe/Berlin", utc(at)) is works


@pytest.mark.parametrize(
    ("sydney", "works"),
    [
        ("2026-03-02T21:59", False),  # Monday evening
        ("2026-03-02T22:00", True),
        ("2026-03-03T05:59", True),  # still Monday's shift
        ("2026-03-03T06:00", False),
        ("2026-03-07T03:00", True),  # Saturday morning belongs to Friday's shift
        ("2026-03-07T23:00", False),  # Saturday night
        ("2026-03-02T03:00", False),  # Monday morning would be Sunday's
    ],
)
def test_a_night_shift_belongs_to_the_day_on_which_it_begins(sydney: str, *, works: bool) -> None:
    now = datetime.fromisoformat(sydney).replace(tzinfo=ZoneInfo("Australia/Sydney"))
    assert on_shift((shift("22:00", "06:00"),), "Australia/Sydney", now) is works


def test_the_night_shift_in_sydney_covers_noon_in_montana() -> None:
    noon_in_montana = datetime(2026, 1, 14, 12, tzinfo=ZoneInfo("America/Denver"))  # 06:00 on Thursday in Sydney
    assert on_shift((shift("23:00", "07:00", "wed"),), "Australia/Sydney", noon_in_montana)
    assert not on_shift((shift("23:00", "07:00", "thu"),), "Australia/Sydney", noon_in_montana)


def test_in_spring_the_night_shift_is_an_hour_shorter() -> None:
    """Montana, 8 March 2026: at 02:00 (09:00 UTC) clocks go to 03:00."""
    night = (shift("22:00", "06:00", "sat"),)
    assert on_shift(night, "America/Denver", utc("2026-03-08T11:59"))  # 05:59 summer time
    assert not on_shift(night, "America/Denver", utc("2026-03-08T12:00"))


def test_in_autumn_the_night_shift_is_an_hour_longer() -> None:
    """Montana, 1 November 2026: at 02:00 summer time (08:00 UTC) clocks go back to 01:00."""
    night = (shift("22:00", "06:00", "sat"),)
    assert on_shift(night, "America/Denver", utc("2026-11-01T12:59"))  # 05:59 winter time
    assert not on_shift(night, "America/Denver", utc("2026-11-01T13:00"))


@pytest.mark.parametrize("day", ["2026-03-07T12:00", "2026-10-31T12:00"])
def test_two_shifts_that_meet_in_the_hour_of_the_change_leave_no_minute_uncovered(day: str) -> None:
    """One ends and the other begins at 01:30 (twice there in autumn) or 02:30 (not there in spring)."""
    for meeting in ("01:30", "02:30"):
        relay = (shift("20:00", meeting, "sat"), shift(meeting, "08:00", "sun"))
        start = int(utc(day).timestamp()) + 16 * 3600  # 04:00 UTC on Sunday, 22:00 or 21:00 on Saturday
        for minute in range(8 * 60):
            now = datetime.fromtimestamp(start + 60 * minute, UTC)
            assert on_shift(relay, "America/Denver", now), now


def test_from_and_to_the_same_hour_is_a_whole_day() -> None:
    assert on_shift((shift("08:00", "08:00", "mon"),), "UTC", utc("2026-03-03T07:59"))
    assert not on_shift((shift("08:00", "08:00", "mon"),), "UTC", utc("2026-03-03T08:00"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"time_zone": "Montana"},
        {"time_zone": "../../etc/passwd"},
        {"time_zone": ""},
        {"shifts": [{"days": ["monday"], "from": "08:00", "to": "16:00"}]},
        {"shifts": [{"days": [], "from": "08:00", "to": "16:00"}]},
        {"shifts": [{"days": ["mon"], "from": "08:00Z", "to": "16:00"}]},
        {"shifts": [{"days": ["mon"], "from": "25:00", "to": "16:00"}]},
        {"max_open": 0},
        {"password": "x"},
    ],
)
def test_a_registration_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {
        "name": "Anna",
        "licences": ["US-MT"],
        "time_zone": "Europe/Berlin",
        "shifts": [{"days": ["mon"], "from": "08:00", "to": "16:00"}],
    }
    assert Profile.model_validate(right).max_open == 5
    with pytest.raises(ValidationError):
        Profile.model_validate(right | wrong)
