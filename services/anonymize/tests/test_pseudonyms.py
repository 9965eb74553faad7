"""Pseudonyms, date offsets and UIDs: stateless, keyed, consistent."""

from __future__ import annotations

import pytest

from radrelay_anonymize.domain import date_shift, mapped_uid, pseudonym
from radrelay_anonymize.domain.pseudonyms import is_well_known
from radrelay_anonymize.domain.values import capped_age, shifted

SECRET = b"tenant secret"


def test_one_patient_keeps_one_pseudonym_and_two_patients_never_share_it() -> None:
    mary = pseudonym(SECRET, "clinic-north", "NORTH", "12345")
    assert mary == pseudonym(SECRET, "clinic-north", "NORTH", "12345")
    assert mary[:3] == "RR-"
    assert len(mary) == 13
    others = {
        pseudonym(SECRET, "clinic-south", "NORTH", "12345"),
        pseudonym(SECRET, "clinic-north", "SOUTH", "12345"),
        pseudonym(SECRET, "clinic-north", "NORTH", "12346"),
        pseudonym(SECRET, "clinic-north", "NORTH1", "2345"),
        pseudonym(b"another", "clinic-north", "NORTH", "12345"),
    }
    assert len(others | {mary}) == 6


def test_offset_is_whole_weeks_within_three_years_and_never_none() -> None:
    offsets = {date_shift(SECRET, "clinic", "", str(patient)) for patient in range(3000)}
    assert all(days % 7 == 0 for days in offsets)
    assert min(offsets) >= -156 * 7
    assert max(offsets) <= 156 * 7
    assert 0 not in offsets


def test_mapped_uid_is_a_legal_uid_without_the_old_one() -> None:
    uid = mapped_uid(SECRET, "1.2.840.113619.2.30.1.1762295590")
    assert uid.startswith("2.25.")
    assert uid[5] != "0"
    assert len(uid) <= 44
    assert uid == mapped_uid(SECRET, "1.2.840.113619.2.30.1.1762295590")
    assert uid != mapped_uid(SECRET, "1.2.840.113619.2.30.1.1762295591")


def test_sop_classes_are_well_known_and_instances_are_not() -> None:
    assert is_well_known("1.2.840.10008.5.1.4.1.1.2")
    assert not is_well_known("1.2.840.10008.5.1.4.1.1.2.999")
    assert is_well_known("1.2.840.10008.5.1.4.1.1.2.999", names_a_class=True)
    assert not is_well_known("1.2.840.113619.2.30.1", names_a_class=True)


@pytest.mark.parametrize(
    ("before", "days", "after"),
    [
        ("20240229", 7, "20240307"),
        ("20240105", -14, "20231222"),
        ("2024.01.05", -14, "20231222"),
        ("20240105103000.123456", 7, "20240112103000.123456"),
        ("20240105103000+0100", 7, "20240112103000"),
        ("202401", 35, "202402"),
        ("about 2024", 7, ""),
        ("20241399", 7, ""),
        ("00010101", -7, ""),
        ("", 7, ""),
    ],
)
def test_date_moves_by_whole_days_and_keeps_its_time(before: str, days: int, after: str) -> None:
    assert shifted(before, days) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [("034Y", "034Y"), ("089Y", "089Y"), ("090Y", "090Y"), ("103Y", "090Y"), ("006M", "006M"), ("old", "")],
)
def test_age_over_89_is_90(before: str, after: str) -> None:
    assert capped_age(before) == after
