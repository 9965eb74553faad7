"""What a viewer may ask QIDO-RS, and what it means (PS3.18 §8.3.4, §10.6)."""

from __future__ import annotations

import pytest

from radrelay_shared.ports import Eq, In, Range, Where, Wildcard
from radrelay_storage.attributes import Level
from radrelay_storage.problems import BadQuery
from radrelay_storage.qido import holds, parse

MATCHING: list[tuple[str, str, Where]] = [
    ("PatientID", "P-1", Eq("keys.PatientID", "P-1")),
    ("00100020", "P-1", Eq("keys.PatientID", "P-1")),
    ("PatientName", "ANON*", Wildcard("keys.PatientName", "anon*")),
    ("PatientName", "Müller^Jörg^^", Eq("keys.PatientName", "muller^jorg")),
    ("ReferringPhysicianName", "*Doe*", Wildcard("keys.ReferringPhysicianName", "*doe*")),
    ("AccessionNumber", "A?7", Wildcard("keys.AccessionNumber", "A?7")),
    ("StudyInstanceUID", "2.25.1", Eq("keys.StudyInstanceUID", "2.25.1")),
    ("StudyInstanceUID", "2.25.1,2.25.2", In("keys.StudyInstanceUID", ("2.25.1", "2.25.2"))),
    ("0020000D", "2.25.1\\2.25.2", In("keys.StudyInstanceUID", ("2.25.1", "2.25.2"))),
    ("StudyDate", "20250301", Eq("keys.StudyDate", "20250301")),
    ("StudyDate", "20250301-20250331", Range("keys.StudyDate", "20250301", "20250331")),
    ("StudyDate", "-20250331", Range("keys.StudyDate", None, "20250331")),
    ("StudyDate", "20250301-", Range("keys.StudyDate", "20250301", None)),
    ("StudyTime", "1030", Eq("keys.StudyTime", "103000")),
    ("StudyTime", "0800-1030", Range("keys.StudyTime", "080000", "103059.999999")),
    ("StudyTime", "-103000.5", Range("keys.StudyTime", None, "103000.599999")),
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
    (Level.STUDY, "StudyDate", "yesterday"),
    (Level.STUDY, "StudyDate", "-"),
    (Level.STUDY, "StudyTime", "8 o'clock"),
    (Level.STUDY, "StudyInstanceUID", "2.25.*"),
    (Level.STUDY, "ModalitiesInStudy", "computed tomography"),
    (Level.STUDY, "RequestAttributesSequence.ScheduledProcedureStepID", "SPS-1"),
    (Level.SERIES, "RequestAttributesSequence.PatientShoeSize", "44"),
    (Level.SERIES, "RequestAttributesSequence", "SPS-1"),
    (Level.STUDY, "fuzzymatching", "maybe"),
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


@pytest.mark.parametrize("value", ["", "*"])
def test_an_empty_value_or_a_lone_asterisk_matches_everything(value: str) -> None:
    query = parse([("PatientID", value), ("ModalitiesInStudy", value), ("StudyDate", value)], Level.STUDY)
    assert (query.where, query.modalities) == ((), ())


@pytest.mark.parametrize("name", ["ModalitiesInStudy", "00080061"])
def test_any_of_several_modalities_is_enough(name: str) -> None:
    query = parse([(name, "CT,MR\\P?")], Level.STUDY)
    path = "keys.ModalitiesInStudy"
    assert query.modalities == tuple(Wildcard(path, f"*\\{each}\\*") for each in ("CT", "MR", "P?"))


@pytest.mark.parametrize("name", ["RequestAttributesSequence.ScheduledProcedureStepID", "00400275.00400009"])
def test_an_attribute_inside_a_sequence_matches_in_any_item(name: str) -> None:
    query = parse([(name, "SPS-1")], Level.SERIES)
    assert query.where == (Wildcard("keys.RequestAttributesSequence_ScheduledProcedureStepID", "*\\SPS-1\\*"),)


MOMENTS = [
    ("20250301-20250302", "2200-0600", Range("keys.StudyDateTime", "20250301220000", "20250302060059.999999")),
    ("20250301-", "2200-", Range("keys.StudyDateTime", "20250301220000", None)),
    ("-20250302", "-0600", Range("keys.StudyDateTime", None, "20250302060059.999999")),
    ("20250301-20250302", "2200-", Range("keys.StudyDateTime", "20250301220000", "20250302235959.999999")),
]


@pytest.mark.parametrize(("dates", "times", "condition"), MOMENTS)
def test_a_night_shift_is_one_range_of_moments(dates: str, times: str, condition: Where) -> None:
    assert parse([("StudyDate", dates), ("StudyTime", times)], Level.STUDY).where == (condition,)


def test_what_has_no_value_can_be_asked_for() -> None:
    query = parse([("AccessionNumber", '""'), ("emptyvaluematching", "true")], Level.STUDY)
    assert query.where == (Eq("keys.AccessionNumber", None),)


def test_several_values_of_one_attribute_can_be_asked_for() -> None:
    query = parse([("PatientID", "P-1,P-2"), ("multiplevaluematching", "true")], Level.STUDY)
    assert query.where == (In("keys.PatientID", ("P-1", "P-2")),)
    assert parse([("PatientID", "P-1,P-2")], Level.STUDY).where == (Eq("keys.PatientID", "P-1,P-2"),)
    with pytest.raises(BadQuery, match="no wildcards"):
        parse([("PatientID", "P-1,P*"), ("multiplevaluematching", "true")], Level.STUDY)


def test_a_field_inside_a_sequence_brings_the_sequence() -> None:
    query = parse([("includefield", "RequestAttributesSequence.ScheduledProcedureStepID,00081030")], Level.SERIES)
    assert query.include == {"RequestAttributesSequence", "StudyDescription"}


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
