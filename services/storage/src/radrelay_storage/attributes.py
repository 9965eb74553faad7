"""Which DICOM attributes storage keeps, matches and returns, per level, and DICOM JSON for them (PS3.18 Annex F)."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import cache
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
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "RequestAttributesSequence.RequestedProcedureID",
    ),
    Level.INSTANCE: ("SOPClassUID", "SOPInstanceUID", "InstanceNumber"),
}


# Attributes of several values: their texts are kept with a backslash around each, and any of them may match.
SEVERAL = frozenset(name for names in MATCHED.values() for name in names if "." in name) | {"ModalitiesInStudy"}

LONGEST_PATH = 8  # sequences within sequences


def down_to(level: Level) -> list[Level]:
    """The level and those above it."""
    levels = list(Level)
    return levels[: levels.index(level) + 1]


@cache
def tag(keyword: str) -> str:
    """A known keyword's tag: `StudyDate` is `00080020`."""
    found = tag_for_keyword(keyword)
    if found is None:
        raise KeyError(keyword)
    return f"{found:08X}"


@cache
def vr(name: str) -> str:
    """The value representation of the attribute at the end of a path of keywords."""
    return str(dictionary_VR(tag(name.rpartition(".")[2])))


def keyword(name: str) -> str | None:
    """The path of keywords of an attribute that a query names by keywords or tags; None if there is no such attribute.

    `00400275.00400009` is `RequestAttributesSequence.ScheduledProcedureStepID` (PS3.18 §8.3.4.1).
    """
    steps = [one_keyword(step) for step in name.split(".", LONGEST_PATH)]
    return None if None in steps else ".".join(filter(None, steps))


def one_keyword(name: str) -> str | None:
    if tag_for_keyword(name) is not None:
        return name
    try:
        return keyword_for_tag(int(name, 16)) or None if len(name) == len("00080020") else None
    except ValueError:
        return None


def element(name: str, *values: Any) -> Element:
    """The attribute's element with these values."""
    return {"vr": vr(name), "Value": list(values)} if values else {"vr": vr(name)}


def pick(instance: Mapping[str, Element], keywords: Iterable[str]) -> Attributes:
    """Those of the attributes that the instance has."""
    return {key: instance[key] for key in map(tag, keywords) if key in instance}


# ── matching ─────────────────────────────────────────────────────────────────────────────────────────


def folded(name: str) -> str:
    """A person's name as it is matched: without case, accents and empty components at the end (PS3.4 §C.2.2.2.1)."""
    letters = unicodedata.normalize("NFKD", name.rstrip("^ "))
    return "".join(each for each in letters if not unicodedata.combining(each)).casefold()


def full_time(time: str) -> str:
    """HHMMSS with the fraction that there is: `1030` is `103000`, `103000.500000` is `103000.5`."""
    seconds, _, fraction = time.partition(".")
    fraction = fraction.rstrip("0")
    return seconds.ljust(6, "0") + (f".{fraction}" if fraction else "")


def unchanged(value: str) -> str:
    return value


NORMAL: dict[str, Callable[[str], str]] = {"PN": folded, "TM": full_time}


def normal(name: str, value: str) -> str:
    """A value as both sides of a match write it."""
    return NORMAL.get(vr(name), unchanged)(value)


def key_of(name: str) -> str:
    """The field under `keys` that holds an attribute's text."""
    return name.replace(".", "_")


def texts(attributes: Mapping[str, Any], name: str) -> Iterator[str]:
    """The attribute's values as a query would write them, in every item of the sequences on the path."""
    first, _, rest = name.partition(".")
    for value in attributes.get(tag(first), {}).get("Value", ()):
        if rest:
            yield from texts(value, rest)
        else:
            plain = value.get("Alphabetic") if isinstance(value, dict) else value
            yield "" if plain is None else normal(name, str(plain))


def one_of(values: Iterable[str]) -> str:
    """Several values in one text, each between backslashes."""
    return "\\" + "".join(f"{value}\\" for value in values)


def searchable(attributes: Mapping[str, Element], level: Level, *, only: bool = False) -> dict[str, str]:
    """What can be matched, flat: attribute → text; with the levels above unless `only` this one counts."""
    found = {}
    for name in (name for each in ([level] if only else down_to(level)) for name in MATCHED[each]):
        values = list(texts(attributes, name))
        if any(values):
            found[key_of(name)] = one_of(values) if name in SEVERAL else "\\".join(values)
    if "StudyDate" in found and "StudyTime" in found:
        found["StudyDateTime"] = found["StudyDate"] + found["StudyTime"]
    return found


def kept(instance: Mapping[str, Element], level: Level) -> Attributes:
    """What a study's or series' document keeps of its first instance."""
    names = [name for each in down_to(level) for name in (*RETURNED[each], *KEPT[each], *MATCHED[each])]
    return pick(instance, (name.partition(".")[0] for name in names))
