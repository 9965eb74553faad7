"""How long a study is kept: the table, row by row."""

from __future__ import annotations

from datetime import UTC, date, datetime
from importlib.resources import files

import pytest

from radrelay_shared.errors import Invalid
from radrelay_storage.lifecycle.policy import Kept, age_in_years, keep_until, rules_in

BUILT_IN = rules_in((files("radrelay_storage") / "lifecycle" / "retention.yaml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("jurisdiction", "modality", "age", "until", "rule"),
    [
        ("US-MT", "CT", 45, date(2032, 3, 1), "us"),
        ("US-MT", "MG", 45, date(2035, 3, 1), "us-mammography"),
        ("US", "CT", 4, date(2046, 3, 1), "us"),  # a child of 4 until 25
        ("US", "CT", 17, date(2033, 3, 1), "us"),
        ("DE", "CT", 18, date(2035, 3, 1), "de"),
        ("DE", "CT", 17, date(2036, 3, 1), "de"),
        ("DE-BY", "DX", 0, date(2053, 3, 1), "de"),
        ("DE", "CT", None, date(2053, 3, 1), "de"),  # nobody said how old: as if newborn
        ("FR", "US", 3, date(2050, 3, 1), "fr"),
        ("FR", "US", 16, date(2045, 3, 1), "fr"),
        ("GB", "CR", 50, date(2033, 3, 1), "gb"),
        ("BR", "CT", 50, date(2045, 3, 1), "everywhere"),
    ],
)
def test_the_built_in_table(jurisdiction: str, modality: str, age: int | None, until: date, rule: str) -> None:
    received = datetime(2025, 3, 1, 8, tzinfo=UTC)
    found = keep_until(BUILT_IN, Kept(jurisdiction, [modality, "SR"], received, age))
    assert found is not None
    assert (found[0], found[1].rule) == (until, rule)


def test_a_leap_day_ends_on_the_first_of_march() -> None:
    found = keep_until(BUILT_IN, Kept("US", ["CT"], datetime(2024, 2, 29, tzinfo=UTC), 60))
    assert found is not None
    assert found[0] == date(2031, 3, 1)


def test_what_no_row_fits_is_kept_for_good() -> None:
    assert (
        keep_until([each for each in BUILT_IN if each.jurisdiction], Kept("BR", ["CT"], datetime.now(UTC), 60)) is None
    )


def test_every_row_names_its_source() -> None:
    assert all(len(rule.source) > 20 for rule in BUILT_IN)


@pytest.mark.parametrize(
    ("text", "years"),
    [("014Y", 14), ("018M", 1), ("011M", 0), ("003W", 0), ("400D", 1), ("", None), ("Y", None), ("old", None)],
)
def test_an_age_string_in_full_years(text: str, years: int | None) -> None:
    assert age_in_years(text) == years


@pytest.mark.parametrize(
    "text", ["- {rule: x}", "- {rule: x, source: y, years: -1, minors_until: 1}", "rule: x", "- ["]
)
def test_a_table_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="retention table"):
        rules_in(text)
