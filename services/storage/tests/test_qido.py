"""What a viewer may ask QIDO-RS, and what it means (PS3.18 §8.3.4, §10.6)."""

from __future__ import annotations

import pytest

from radrelay_shared.ports import Eq, Has, In, Range, Where, Wildcard
from radrelay_storage.attributes import Level
from radrelay_storage.problems import BadQuery
from radrelay_storage.qido import holds, parse

MATCHING: list[tuple[str, str, Where]] = [
    ("PatientID", "P-1", Eq("keys.PatientID", "P-1")),
    ("00100020", "P-1", Eq("keys.PatientID", "P-1")),
    ("PatientName", "ANON*", Wildcard("keys.PatientName", "ANON*")),
    ("AccessionNumber", "A?7", Wildcard("keys.AccessionNumber", "A?7")),
    ("StudyInstanceUID", "2.25.1", Eq("keys.StudyInstanceUID", "2.25.1")),
    ("StudyInstanceUID", "2.25.1,2.25.2", In("keys.StudyInstanceUID", ("2.25.1", "2.25.2"))),
    ("0020000D", "2.25.1\\2.25.2", In("keys.StudyInstanceUID", ("2.25.1", "2.25.2"))),
    ("StudyDate", "20250301", Eq("keys.StudyDate", "20250301")),
    ("StudyDate", "20250301-20250331", Range("keys.StudyDate", "20250301", "20250331")),
    ("StudyDate", "-20250331", Range("keys.StudyDate", None, "20250331")),
    ("StudyDate", "20250301-", Range("keys.StudyDate", "20250301", None)),
    ("StudyTime", "0800-1030", Range("keys.StudyTime", "0800", "103059.999999")),
    ("StudyTime", "-103000.5", Range("keys.StudyTime", None, "103000.599999")),
    ("ModalitiesInStudy", "CT", Has("modalities", "CT")),
    ("00080061", "MR", Has("modalities", "MR")),
]


@pytest.mark.parametrize(("name", "value", "condition"), MATCHING)
def test_a_search_parameter_becomes_one_condition(name: str, value: str, condition: Where) -> None:
    assert parse([(name, value)], Level.STUDY).where == (condition,)


UNKNOWN: list[tuple[Level, str, str]] = [
    (Level.STUDY, "PatientShoeSize", "44"),
    (Level.STUDY, "patientid", "P-1"),
    (Level.STUDY, "Modality", "CT"),
    (Level.STUDY, "PixelData", "x"),
    (Level.STUDY, "FFFFFFFF", "x"),
    (Level.STUDY, "<script>", "x"),
    (Level.SERIES, "ModalitiesInStudy", "CT"),
    (Level.STUDY, "StudyDate", "yesterday"),
    (Level.STUDY, "StudyDate", "-"),
    (Level.STUDY, "StudyTime", "8 o'clock"),
    (Level.STUDY, "StudyInstanceUID", "2.25.*"),
    (Level.STUDY, "ModalitiesInStudy", "CT,MR"),
    (Level.STUDY, "PatientName", "*" * 65),
    (Level.STUDY, "limit", "-1"),
    (Level.STUDY, "limit", "many"),
    (Level.STUDY, "offset", "1.5"),
    (Level.STUDY, "includefield", "PatientShoeSize"),
    (Level.SERIES, "SeriesNumber", "two"),
]


@pytest.mark.parametrize(("level", "name", "value"), UNKNOWN)
def test_what_is_unknown_or_malformed_is_refused_and_its_value_is_not_repeated(
    level: Level, name: str, value: str
) -> None:
    with pytest.raises(BadQuery) as caught:
        parse([(name, value)], level)
    assert caught.value.status == 400
    assert value not in caught.value.detail.split() or value in ("-", "x")
    assert "<" not in caught.value.detail


def test_an_empty_value_matches_everything() -> None:
    assert parse([("PatientID", ""), ("ModalitiesInStudy", "")], Level.STUDY).where == ()


def test_limit_offset_and_fields_are_no_conditions() -> None:
    query = parse(
        [
            ("limit", "25"),
            ("offset", "50"),
            ("includefield", "PatientAge,00100020"),
            ("includefield", "all"),
            ("fuzzymatching", "true"),
        ],
        Level.STUDY,
    )
    assert (query.limit, query.offset, query.everything, query.fuzzy) == (25, 50, True, True)
    assert query.include == {"PatientAge", "PatientID"}
    assert query.where == ()


def test_one_answer_never_holds_more_than_a_thousand_matches() -> None:
    assert parse([("limit", "50000")], Level.STUDY).limit == 1000
    assert parse([], Level.STUDY).limit == 100


def test_a_series_is_matched_on_its_study_too() -> None:
    query = parse([("Modality", "MR"), ("PatientID", "P-1"), ("SeriesNumber", "003")], Level.SERIES)
    assert query.where == (Eq("keys.Modality", "MR"), Eq("keys.PatientID", "P-1"), Eq("keys.SeriesNumber", "3"))


def test_an_instances_own_attributes_are_told_from_those_of_its_series() -> None:
    query = parse([("Modality", "MR"), ("InstanceNumber", "7"), ("SOPInstanceUID", "2.25.7,2.25.8")], Level.INSTANCE)
    assert query.where == (Eq("keys.Modality", "MR"),)
    number, uids = query.instances
    assert holds(number, {"InstanceNumber": "7"})
    assert not holds(number, {"InstanceNumber": "8"})
    assert not holds(number, {})
    assert holds(uids, {"SOPInstanceUID": "2.25.8"})
    assert not holds(uids, {"SOPInstanceUID": "2.25.9"})
