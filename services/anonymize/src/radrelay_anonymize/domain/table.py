"""PS3.15 Table E.1-1 as it is packaged, and the profile that RadRelay compiles from it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import resources

from pydicom.datadict import dictionary_VR


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


# The options in force beside the Basic Profile (113100), by CID 7050 code, with DICOM's own meanings.
PROFILE = {
    "113100": "Basic Application Confidentiality Profile",
    "113104": "Clean Structured Content Option",
    "113105": "Clean Descriptors Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
}

DESCRIPTORS = "113105"

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

# What "clean" and "keep" mean for a VR; text is cleaned even where an option would keep it.
BY_VR_CLEANED = {"DA": Action.SHIFT, "DT": Action.SHIFT, "TM": Action.KEEP, "SQ": Action.RECURSE}
TEXT = frozenset({"LO", "SH", "LT", "ST", "UT", "UC"})

# Decided before the table is asked: keyword → action, and why.
SPECIAL: dict[str, tuple[Action, str]] = {
    "PatientName": (Action.PSEUDONYM, "viewers and radiologists need one name per patient"),
    "PatientID": (Action.PSEUDONYM, "priors are found by it"),
    "PatientAge": (Action.AGE, "kept by 113108; over 89 is identity (45 CFR 164.514)"),
    "TimezoneOffsetFromUTC": (Action.REMOVE, "says where"),
    "ReferencedStudySequence": (Action.RECURSE, "its UIDs are mapped, so the reference stays true"),
    "ReferencedPerformedProcedureStepSequence": (Action.RECURSE, "as ReferencedStudySequence"),
    "OperatorIdentificationSequence": (Action.REMOVE, "a person by code; type 3"),
    "InstitutionCodeSequence": (Action.REMOVE, "an institution by code; type 3"),
    "PersonIdentificationCodeSequence": (Action.REMOVE, "a person by code; only inside what is removed"),
    "FlowIdentifierSequence": (Action.REMOVE, "network identity of real-time video"),
    "GraphicAnnotationSequence": (Action.REMOVE, "drawn text; 113103 is not claimed"),
}

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


def listed_action(keyword: str, tag: int) -> Action | None:
    """What the table says of this attribute under `PROFILE`; None if it is not listed."""
    if keyword in SPECIAL:
        return SPECIAL[keyword][0]
    row = rows().get(f"{tag:08x}")
    if row is None:
        return None
    vr = dictionary_VR(tag)
    return _by_option(row, keyword, vr) or _by_basic_code(row, vr)


def _by_option(row: Row, keyword: str, vr: str) -> Action | None:
    in_force = {option: row.options[option] for option in PROFILE if option in row.options}
    kept = "K" in in_force.values()
    if (vr in TEXT or DESCRIPTORS in in_force) and not kept and keyword not in CLEANED_DESCRIPTORS:
        return None
    if vr in TEXT:
        return Action.CLEAN
    return BY_VR_CLEANED.get(vr, Action.KEEP if kept else None) if in_force else None


def _by_basic_code(row: Row, vr: str) -> Action:
    action = RESOLVED[row.basic]
    if action is Action.DUMMY and vr in {"SQ", "UI"}:
        return Action.RECURSE if vr == "SQ" else Action.UID
    return action
