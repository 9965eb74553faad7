"""Structured reports keep their numbers, codes, shapes and clinical words; they lose people, and point at the copies.

Reports are grown from `prose.reports`' templates, for every patient of `prose.people`, of each kind, profile and
transfer syntax in turn. RADRELAY_KEEP=200 makes ten of them for each, and with -s the shares are printed.
"""

from __future__ import annotations

import io
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts

from hideouts.writing import ENCODINGS, file, image
from prose.around import names_around, words_around
from prose.people import PATIENTS, Person
from prose.reports import TEMPLATES, Report, depth, items, report
from prose.sentences import leaked
from radrelay_anonymize.domain import Context, Released, Words, encode, release
from radrelay_anonymize.domain.profile import packaged
from radrelay_anonymize.domain.table import Action
from radrelay_anonymize.domain.values import remade
from radrelay_shared.dicom.reading import quietly

EACH = max(1, int(os.environ.get("RADRELAY_KEEP", "20")) // 20)  # reports of a patient
SHIFT = -70
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
LEAST = 0.98  # of clinical words

# What each profile makes of study dates and UIDs.
PROFILES = {"teleradiology": ("20231225", True), "research": ("20231225", True), "quality": ("20240304", False)}

CODES = ("ConceptNameCodeSequence", "ConceptCodeSequence", "NumericValueQualifierCodeSequence")
OF_A_CODE = (
    "CodeValue",
    "LongCodeValue",
    "URNCodeValue",
    "CodingSchemeDesignator",
    "CodingSchemeVersion",
    "CodeMeaning",
)
OF_A_NUMBER = ("NumericValue", "FloatingPointValue", "RationalNumeratorValue", "RationalDenominatorValue")
OF_A_REFERENCE = (
    "ReferencedSOPClassUID",
    "ReferencedFrameNumber",
    "ReferencedSegmentNumber",
    "ReferencedWaveformChannels",
)
OF_AN_ITEM = (
    "ValueType", "RelationshipType", "ContinuityOfContent", "ReferencedContentItemIdentifier", "GraphicType",
    "GraphicData", "TemporalRangeType", "ReferencedSamplePositions", "ReferencedTimeOffsets",
)  # fmt: skip
UIDS = ("FiducialUID", "ReferencedFrameOfReferenceUID")  # beside those of (0040,A124), which no option retains


@dataclass(frozen=True)
class Read:
    """A report before and after, under one profile."""

    who: Person
    profile: str
    original: Report
    before: Dataset
    after: Dataset


def read(data: bytes) -> Dataset:
    with quietly():
        found = pydicom.dcmread(io.BytesIO(data))
        found.decode()
    return found


def context(who: Person, profile: str) -> Context:
    return Context(b"tenant secret of these tests", "RR-ABCDEFGHIJ", SHIFT, words_around(who), packaged(profile))


@pytest.fixture(scope="module")
def reports() -> list[Read]:
    found = []
    for number, (who, turn) in enumerate(product(PATIENTS, range(EACH))):
        template, profile = list(TEMPLATES)[number % 3], list(PROFILES)[number // 3 % 3]
        draw = random.Random(f"{who.name} {turn}")
        original = report(template, who, draw, SYNTAXES[number % len(SYNTAXES)])
        data = encode(original.dataset)
        outcome = release(data, context(who, profile))
        assert isinstance(outcome, Released), (who.name, template, profile, outcome)
        found.append(Read(who, profile, original, read(data), read(outcome.data)))
    return found


def said(of: Dataset, keywords: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(str(of[keyword].value) if keyword in of else None for keyword in keywords)


def coded(of: Dataset, keyword: str) -> list[tuple[Any, ...]]:
    """Its codes; the meaning of one of a site's own scheme is prose."""
    found = [said(each, OF_A_CODE) for each in of.get(keyword, ())]
    return [each[:-1] if each[3].startswith("99") else each for each in found]


def facts(item: Dataset) -> dict[str, Any]:
    """Whatever of a content item must stay as it is."""
    measured, references = item.get("MeasuredValueSequence", ()), item.get("ReferencedSOPSequence", ())
    return {
        "itself": said(item, OF_AN_ITEM),
        "codes": [coded(item, keyword) for keyword in CODES],
        "numbers": [said(each, OF_A_NUMBER) for each in measured],
        "units": [coded(each, "MeasurementUnitsCodeSequence") for each in measured],
        "references": [said(each, OF_A_REFERENCE) for each in references],
        "children": len(item.get("ContentSequence", ())),
    }


def test_reports_are_deep_and_hold_every_value_type() -> None:
    grown = [report(template, PATIENTS[0], random.Random(1), SYNTAXES[0]).dataset for template in TEMPLATES]
    assert min(map(depth, grown)) >= 5
    assert {str(item.get("ValueType")) for each in grown for item in items(each)} == {
        "CONTAINER", "NUM", "CODE", "TEXT", "PNAME", "IMAGE", "COMPOSITE", "WAVEFORM", "SCOORD", "SCOORD3D", "TCOORD",
        "UIDREF", "DATE", "DATETIME", "TIME", "None",
    }  # fmt: skip


def test_every_number_unit_code_outline_relation_and_shape_stays(reports: list[Read]) -> None:
    compared = 0
    for each in reports:
        for before, after in zip(items(each.before), items(each.after), strict=True):
            assert facts(after) == facts(before)
            compared += 1
    sys.stdout.write(f"{compared} content items in {len(reports)} copies of reports have their facts\n")


def test_uids_of_images_frames_and_devices_are_mapped_one_to_one_and_point_at_the_copies(reports: list[Read]) -> None:
    for each in reports:
        pairs = set(uids(each.before, each.after))
        assert len({before for before, _ in pairs}) == len({after for _, after in pairs}) == len(pairs)
        is_mapped = PROFILES[each.profile][1]
        assert all((before != after) is is_mapped for before, after in pairs)
        copy = image_of(each)
        assert (copy.SOPInstanceUID, copy.StudyInstanceUID) == (
            first_reference(each.after),
            each.after.StudyInstanceUID,
        )


def uids(before: Dataset, after: Dataset) -> Iterator[tuple[str, str]]:
    """Each UID of a thing that some profile retains, and what became of it."""
    for one, other in zip(items(before), items(after), strict=True):
        yield from ((one[keyword].value, other[keyword].value) for keyword in UIDS if keyword in one)
        references = (each.get("ReferencedSOPSequence", ()) for each in (one, other))
        yield from ((a.ReferencedSOPInstanceUID, b.ReferencedSOPInstanceUID) for a, b in zip(*references, strict=True))
    evidence = (each.CurrentRequestedProcedureEvidenceSequence[0] for each in (before, after))
    series = [each.ReferencedSeriesSequence[0].ReferencedSOPSequence for each in evidence]
    yield from ((a.ReferencedSOPInstanceUID, b.ReferencedSOPInstanceUID) for a, b in zip(*series, strict=True))
    yield before.StudyInstanceUID, after.StudyInstanceUID


def first_reference(dataset: Dataset) -> str:
    found = (each for each in items(dataset) if each.get("ValueType") == "IMAGE")
    return str(next(found).ReferencedSOPSequence[0].ReferencedSOPInstanceUID)


def image_of(each: Read) -> Dataset:
    """The copy of the image that the report names first."""
    encoding = ENCODINGS["explicit"]
    own = {0x00080018: first_reference(each.before), 0x0020000D: each.who.study_uid}
    elements = image(encoding, "Q") | {tag: encoding.element(tag, "UI", uid.encode()) for tag, uid in own.items()}
    outcome = release(file(encoding, elements), context(each.who, each.profile))
    assert isinstance(outcome, Released)
    return read(outcome.data)


def test_people_organisations_and_records_go_and_dates_move_as_the_profile_says(reports: list[Read]) -> None:
    mapped: dict[tuple[Person, str], str] = {}
    for each in reports:
        day = PROFILES[each.profile][0]
        for before, after in zip(items(each.before), items(each.after), strict=True):
            kind, concept = (
                before.get("ValueType"),
                before.get("ConceptNameCodeSequence", [Dataset()])[0].get("CodeValue"),
            )
            if kind == "PNAME":
                assert str(after.PersonName) == "REMOVED"
            elif kind == "DATETIME":
                assert after.DateTime == f"{day}081533.125"
            elif kind == "UIDREF":
                assert mapped.setdefault((each.who, before.UID), after.UID) == after.UID != before.UID
            elif kind == "TIME":
                assert after.Time == "081533"
            elif kind == "DATE" and before.Date == "20240304":
                assert after.Date == day
            elif concept in {"121009", "121013", "121022", "121030"}:
                assert after.TextValue == "REMOVED"


def test_clinical_words_of_findings_stay_and_planted_identity_goes(reports: list[Read]) -> None:
    clinical = kept = 0
    leaks = []
    for each in reports:
        texts = [
            item.TextValue for item in items(each.after) if item.get("ValueType") == "TEXT" and not is_identity(item)
        ]
        for sentence, after in zip(each.original.sentences, texts, strict=True):
            clinical, kept = clinical + len(sentence.clinical), kept + sentence.kept(after)
            leaks += [f"{one} in {after}" for one in leaked(sentence, after, names_around(each.who))]
    sys.stdout.write(f"{kept / clinical:.2%} of {clinical} clinical words in reports kept\n")
    assert leaks == []
    assert kept / clinical >= LEAST


def is_identity(item: Dataset) -> bool:
    return item.ConceptNameCodeSequence[0].CodeValue in {"121009", "121013", "121022", "121030"}


def meaning_after(meaning: str, words: Words) -> str | None:
    texts = remade(
        Action.CODE, 0x00080104, "LO", [meaning], replace(context(PATIENTS[0], "teleradiology"), words=words)
    )
    return texts[0] if texts else None


def test_no_meaning_of_a_standard_code_looks_like_identity() -> None:
    meanings = {code[0] for scheme in concepts.values() for each in scheme.values() for code in each.values()}
    assert len(meanings) > 10_000
    assert {meaning for meaning in meanings if meaning_after(meaning, Words()) != meaning[:64]} == set()


@pytest.mark.parametrize(
    ("meaning", "after"),
    [
        ("finding of Dr. Jane Smith", "finding of [removed]"),
        ("local, call 406-555-0142", "local, call [removed]"),
        ("seen 2023-11-05", "seen [removed]"),
        ("Zenobia's lesion", "[removed] lesion"),
        ("tracer RO5323441", "tracer RO5323441"),
    ],
)
def test_identity_goes_from_what_a_site_calls_its_own_codes(meaning: str, after: str) -> None:
    assert meaning_after(meaning, words_around(PATIENTS[0])) == after
