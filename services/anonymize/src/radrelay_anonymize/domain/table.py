"""PS3.15 Table E.1-1 as it is packaged, and what RadRelay makes of it under a profile's options."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import resources

from pydicom.datadict import dictionary_VR

from radrelay_anonymize.domain.profile import CODES, Option


class Action(Enum):
    """What happens to one element."""

    REMOVE = "remove"
    EMPTY = "empty"  # Z
    DUMMY = "dummy"  # D, by VR
    UID = "uid"  # U, well-known UIDs stay
    KEEP = "keep"  # if the value has its VR's form
    CLEAN = "clean"  # free text: dictionary and patterns
    CODE = "code"  # text that means a code: dictionary only, its digits are no identity
    SHIFT = "shift"  # dates by whole days
    AGE = "age"  # at most 090Y
    PSEUDONYM = "pseudonym"
    RECURSE = "recurse"  # each item under the same rules


@dataclass(frozen=True, slots=True)
class Row:
    """One attribute of the table; `options` are K or C by CID 7050 code."""

    tag: str
    name: str
    vr: str
    basic: str
    options: Mapping[str, str]


# A compound code leaves the choice to the IOD (type 1 → D, type 2 → Z, type 3 → X). Without looking at the IOD, the
# last resort is right for all types: a dummy is allowed where a removal is, not the other way round.
RESOLVED = {
    "X": Action.REMOVE,
    "Z": Action.EMPTY,
    "D": Action.DUMMY,
    "U": Action.UID,
    "X/Z": Action.EMPTY,
    "X/D": Action.DUMMY,
    "Z/D": Action.DUMMY,
    "X/Z/D": Action.DUMMY,
    "X/Z/U*": Action.RECURSE,
}
TEMPORAL = frozenset({"DA", "DT", "TM"})

# What "clean" and "keep" mean for a VR: text is cleaned even where an option keeps it, but of the names of devices and
# institutions only what the dictionary knows goes, for their digits are what shall be kept.
CLEANED_BY_VR = {"DA": Action.SHIFT, "DT": Action.SHIFT, "TM": Action.KEEP, "SQ": Action.RECURSE}
KEPT_BY_VR = {"SQ": Action.RECURSE, "OB": Action.REMOVE, "AE": Action.CODE}
NAMED = frozenset({Option.RETAIN_DEVICE_IDENTITY, Option.RETAIN_INSTITUTION_IDENTITY})
DATED = frozenset({Option.RETAIN_FULL_DATES, Option.RETAIN_MODIFIED_DATES})
TEXT = frozenset({"LO", "SH", "LT", "ST", "UT", "UC"})

# Decided before the table is asked: keyword → action, and why.
SPECIAL: dict[str, tuple[Action, str]] = {
    "PatientName": (Action.PSEUDONYM, "viewers and radiologists need one name per patient"),
    "PatientID": (Action.PSEUDONYM, "priors are found by it"),
    "ReferencedStudySequence": (Action.RECURSE, "its UIDs are mapped, so the reference stays true"),
    "ReferencedPerformedProcedureStepSequence": (Action.RECURSE, "as ReferencedStudySequence"),
    "OperatorIdentificationSequence": (Action.REMOVE, "a person by code; type 3"),
    "PersonIdentificationCodeSequence": (Action.REMOVE, "a person by code; only inside what is removed"),
    "FlowIdentifierSequence": (Action.REMOVE, "network identity of real-time video"),
}
# As `SPECIAL`, unless this option is in force.
UNLESS: dict[str, tuple[Option, Action, str]] = {
    "TimezoneOffsetFromUTC": (Option.RETAIN_FULL_DATES, Action.REMOVE, "says where"),
    "InstitutionCodeSequence": (
        Option.RETAIN_INSTITUTION_IDENTITY, Action.REMOVE, "an institution by code; type 3",
    ),
    "GraphicAnnotationSequence": (Option.CLEAN_GRAPHICS, Action.REMOVE, "drawn text"),
    "ContentSequence": (Option.CLEAN_STRUCTURED_CONTENT, Action.REMOVE, "a report without findings is an empty one"),
    "WaveformAnnotationSequence": (Option.CLEAN_STRUCTURED_CONTENT, Action.REMOVE, "free text; type 3"),
}  # fmt: skip

# Descriptors that a radiologist or the triage needs and that are cleaned (113105); all others fare as in the Basic
# Profile, because free text about a person is cheaper to lose than to leak.
CLEANED_DESCRIPTORS = frozenset({
    "AcquisitionDeviceProcessingDescription", "AcquisitionProtocolDescription", "Allergies", "ContrastBolusAgent",
    "DecompositionDescription", "DerivationDescription", "MultienergyAcquisitionDescription",
    "PerformedProcedureStepDescription", "ProtocolName", "RequestedProcedureDescription", "ROIName",
    "RTPlanLabel", "SeriesDescription", "StructureSetLabel", "StudyDescription", "UnformattedTextValue",
    "MultiplexGroupLabel", "ChannelLabel", "ChannelDerivationDescription",
})  # fmt: skip


@functools.cache
def rows() -> dict[str, Row]:
    """Every row by its tag: eight hex digits, `x` where a group repeats, or the word `private`."""
    text = resources.files("radrelay_anonymize").joinpath("data/basic_profile.json").read_text("utf-8")
    return {row["tag"]: Row(**row) for row in json.loads(text)["rows"]}


def listed_action(keyword: str, tag: int, options: frozenset[Option]) -> Action | None:
    """What the table says of this attribute under the options; None if it is not listed."""
    if keyword in SPECIAL:
        return SPECIAL[keyword][0]
    if keyword in UNLESS and UNLESS[keyword][0] not in options:
        return UNLESS[keyword][1]
    row = rows().get(f"{tag:08x}")
    if row is None:
        return None
    vr = dictionary_VR(tag)
    return _by_option(row, keyword, vr, options) or _by_basic_code(row, vr)


def _by_option(row: Row, keyword: str, vr: str, options: frozenset[Option]) -> Action | None:
    said = {option: row.options[CODES[option][0]] for option in options if CODES[option][0] in row.options}
    if vr in TEMPORAL:  # a device's dates move with all others
        said = {option: code for option, code in said.items() if option in DATED}
    if not said:
        return None
    kept = "K" in said.values()
    if vr in TEXT and kept and said.keys() & NAMED:
        return Action.CODE
    if (vr in TEXT or Option.CLEAN_DESCRIPTORS in said) and not kept and keyword not in CLEANED_DESCRIPTORS:
        return None
    if vr in TEXT:
        return Action.CLEAN
    if kept:
        return Action.AGE if vr == "AS" else KEPT_BY_VR.get(vr, Action.KEEP)
    return CLEANED_BY_VR.get(vr)


def _by_basic_code(row: Row, vr: str) -> Action:
    action = RESOLVED[row.basic]
    if action is Action.DUMMY and vr in {"SQ", "UI"}:
        return Action.RECURSE if vr == "SQ" else Action.UID
    return action
