"""Which DICOM attributes storage keeps, matches and returns, per level, and DICOM JSON for them (PS3.18 Annex F)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

Element = dict[str, Any]  # {"vr": "DA", "Value": ["20250301"]}
Attributes = dict[str, Element]  # by tag in eight hexadecimal digits


class Level(StrEnum):
    """The levels of the query model, each within the one before."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


# PS3.18 Tables 10.6.3-3 to -5: what every answer returns, as far as the instances have it.
RETURNED: dict[Level, tuple[str, ...]] = {
    Level.STUDY: (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "TimezoneOffsetFromUTC",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyID",
        "StudyDescription",
    ),
    Level.SERIES: (
        "Modality",
        "TimezoneOffsetFromUTC",
        "SeriesDescription",
        "SeriesInstanceUID",
        "SeriesNumber",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "RequestAttributesSequence",
    ),
    Level.INSTANCE: (
        "SOPClassUID",
        "SOPInstanceUID",
        "TimezoneOffsetFromUTC",
        "InstanceNumber",
        "Rows",
        "Columns",
        "BitsAllocated",
        "NumberOfFrames",
    ),
}

# What is kept beside, and returned if `includefield` asks for it.
KEPT: dict[Level, tuple[str, ...]] = {
    Level.STUDY: ("PatientAge", "PatientSize", "PatientWeight"),
    Level.SERIES: ("BodyPartExamined", "Laterality", "SeriesDate", "SeriesTime", "ProtocolName", "Manufacturer"),
    Level.INSTANCE: (),  # all of an instance's metadata is kept
}

# PS3.18 Table 10.6.1-5 and a few more: what a search may name. Answers at one level match those above it, too.
MATCHED: dict[Level, tuple[str, ...]] = {
    Level.STUDY: (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyID",
        "StudyDescription",
    ),
    Level.SERIES: (
        "Modality",
        "SeriesInstanceUID",
        "SeriesNumber",
        "SeriesDescription",
        "SeriesDate",
        "BodyPartExamined",
        "Laterality",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
    ),
    Level.INSTANCE: ("SOPClassUID", "SOPInstanceUID", "InstanceNumber"),
}


def down_to(level: Level) -> list[Level]:
    """The level and those above it."""
    levels = list(Level)
    return levels[: levels.index(level) + 1]


def tag(keyword: str) -> str:
    """A known keyword's tag: `StudyDate` is `00080020`."""
    found = tag_for_keyword(keyword)
    if found is None:
        raise KeyError(keyword)
    return f"{found:08X}"


def keyword(name: str) -> str | None:
    """The keyword of an attribute that a query names by keyword or tag; None if there is no such attribute."""
    if tag_for_keyword(name) is not None:
        return name
    try:
        return keyword_for_tag(int(name, 16)) or None if len(name) == len("00080020") else None
    except ValueError:
        return None


def element(name: str, *values: Any) -> Element:
    """The attribute's element with these values."""
    vr = dictionary_VR(tag(name))
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def pick(instance: Mapping[str, Element], keywords: Iterable[str]) -> Attributes:
    """Those of the attributes that the instance has."""
    return {key: instance[key] for key in map(tag, keywords) if key in instance}


def text(found: Element) -> str | None:
    """An element's values as a query would write them, joined by backslash; None without a value."""
    values = [each.get("Alphabetic") if isinstance(each, dict) else each for each in found.get("Value", ())]
    return "\\".join("" if each is None else str(each) for each in values) or None


def searchable(attributes: Mapping[str, Element], level: Level) -> dict[str, str]:
    """What can be matched, flat: keyword → text."""
    names = [name for each in down_to(level) for name in MATCHED[each]]
    found = {name: text(attributes.get(tag(name), {})) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def kept(instance: Mapping[str, Element], level: Level) -> Attributes:
    """What a study's or series' document keeps of its first instance."""
    names = [name for each in down_to(level) for name in (*RETURNED[each], *KEPT[each], *MATCHED[each])]
    return pick(instance, names)
