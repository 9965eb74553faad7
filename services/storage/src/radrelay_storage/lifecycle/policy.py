"""How long a study is kept: a table of rows, the first that fits decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from radrelay_shared.errors import Invalid

WEEKS, MONTHS, DAYS = 52, 12, 365  # in a year
PER_YEAR = {"Y": 1, "M": MONTHS, "W": WEEKS, "D": DAYS}  # the units of an Age String (PS3.5 §6.2)


class Rule(BaseModel):
    """One row; what it leaves out fits everything."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str = Field(pattern=r"^[a-z0-9-]{1,40}$")
    source: str
    years: int = Field(ge=0, le=200)
    minors_until: int = Field(ge=0, le=200)
    majority: int = Field(18, ge=0, le=30)
    jurisdiction: str | None = None
    modality: str | None = None

    def fits(self, study: Kept) -> bool:
        here = self.jurisdiction is None or study.jurisdiction.split("-")[0] == self.jurisdiction.split("-")[0]
        exactly = self.jurisdiction is None or "-" not in self.jurisdiction or study.jurisdiction == self.jurisdiction
        return here and exactly and (self.modality is None or self.modality in study.modalities)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a rule asks of a study. Dates in copies are shifted, so that the day of receipt counts."""

    jurisdiction: str
    modalities: Sequence[str]
    received_at: datetime
    age: int | None  # full years at the study; None if nobody said


def rules_in(text: str) -> tuple[Rule, ...]:
    """The rows of a YAML list; raises `Invalid` with the place of the first that is none."""
    try:
        return TypeAdapter(tuple[Rule, ...]).validate_python(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        raise Invalid(f"the retention table is not valid: {first['loc'] if first else 'not YAML'}") from error


def keep_until(rules: Sequence[Rule], study: Kept) -> tuple[date, Rule] | None:
    """The day on which the study may go, and the row that says so; None if no row fits: it is kept for good."""
    for rule in rules:
        if rule.fits(study):
            return max(years_after(study.received_at.date(), years) for years in terms(rule, study.age)), rule
    return None


def terms(rule: Rule, age: int | None) -> list[int]:
    """Years from receipt. Birthdays are not known here, so a minor's term is a year longer rather than shorter."""
    known = age or 0
    return [rule.years, rule.minors_until - known] if known < rule.majority else [rule.years]


def years_after(day: date, years: int) -> date:
    """The same day so many years later; the 29th of February becomes the 1st of March."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)


def age_in_years(text: str) -> int | None:
    """`014Y` is 14, `018M` is 1; None for anything else."""
    number, unit = text[:-1], text[-1:]
    return int(number) // PER_YEAR[unit] if number.isdecimal() and unit in PER_YEAR else None
