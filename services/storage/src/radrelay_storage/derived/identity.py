"""Whether a derived object says what may identify somebody. Pure; whatever is not allowed here is refused.

What it took over from the study's de-identified images it may say. What it says itself has to be in a table below:
numbers, codes, labels, the day it was made, free text in which nothing looks like identity. A name that merely stands
in prose cannot be told from other words, for storage does not know it, and must not (ADR 0020).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from radrelay_shared.dicom.patterns import PATTERNS
from radrelay_shared.dicom.reading import DEEPEST, element, elements, texts
from radrelay_storage.derived.kinds import Kind

# Text of its own that a derived object may have.
LABELS: dict[str, tuple[str, ...]] = {
    "the software that made it": (
        "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "ContributionDescription",
        "ImplementationVersionName", "SourceApplicationEntityTitle", "AlgorithmName", "AlgorithmVersion",
        "AlgorithmParameters", "AlgorithmSource", "SegmentAlgorithmName",
    ),
    "codes": (
        "CodeMeaning", "CodingSchemeVersion", "CodingSchemeName", "CodingSchemeRegistry", "MappingResourceName",
        "CodingSchemeResponsibleOrganization",
    ),
    "what it is": (
        "SeriesDescription", "ContentDescription", "DocumentTitle", "MIMETypeOfEncapsulatedDocument",
        "CompletionFlagDescription",
    ),
    "what it points at": (
        "SegmentLabel", "SegmentDescription", "TrackingID", "AnnotationGroupLabel", "AnnotationGroupDescription",
        "FiducialIdentifier", "FiducialDescription", "SurfaceComments", "DimensionDescriptionLabel", "StackID",
        "FrameLabel", "FrameComments", "PositionReferenceIndicator",
    ),
    "how to show it": (
        "GraphicLayerDescription", "GraphicGroupLabel", "GraphicGroupDescription", "LUTLabel", "LUTExplanation",
        "WindowCenterWidthExplanation", "RescaleType", "ModalityLUTType", "FontName", "CSSFontName",
    ),
    "what a person or a model wrote": ("TextValue", "UnformattedTextValue", "ImageComments"),
}  # fmt: skip
OWN_WORDS = frozenset(keyword for keywords in LABELS.values() for keyword in keywords)
FINE = {("CodingSchemeResponsibleOrganization", "web address")}  # which says where codes come from
CODES = frozenset({"CodeValue", "LongCodeValue", "CodingSchemeDesignator"})  # their long digits are no patient's
TABLES = frozenset({
    "LUTData", "BlendingLookupTableData", "ICCProfile", "FileMetaInformationVersion",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
    "AlphaPaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
    "SegmentedAlphaPaletteColorLookupTableData",
})  # fmt: skip
OF_THE_STUDY = frozenset({"StudyDate", "StudyTime"})  # and all of the patient's group
PATIENT_GROUP = 0x0010
NOBODY = frozenset({"unknown", "unknownunknown", "anonymous", "reader1"})  # whom OHIF names where it knows no one
NUMBERS = frozenset(["AT", "FD", "FL", "OD", "OF", "OL", "OV", "SL", "SS", "SV", "UL", "US", "UV"])
WRITTEN_NUMBERS = re.compile(r"[-+0-9.eE: ]*")


@dataclass(frozen=True)
class Facts:
    """What the judge is told of the study, and of who sends."""

    own: Mapping[int, frozenset[str]]  # what the study's images say, by tag
    maker: str  # the caller's subject
    days: tuple[str, str]  # within which it can have been made, as DICOM writes dates


def said(images: list[Dataset]) -> dict[int, frozenset[str]]:
    """All texts of these data sets, nested ones included."""
    found: dict[int, set[str]] = {}
    for each in images:
        for one in elements(each):
            if one.VR != "SQ":
                found.setdefault(int(one.tag), set()).update(values_of(one))
    return {tag: frozenset(values) for tag, values in found.items()}


def values_of(found: DataElement) -> list[str]:
    """Its values as text; numbers in one way of writing, for DICOM JSON has another than the file."""
    values = texts(found)
    try:
        return [str(float(each)) for each in values] if found.VR in ("DS", "IS") else values
    except ValueError:
        return values


def problems(dataset: Dataset, kind: Kind, facts: Facts, depth: int = 0) -> Iterator[str]:
    """Each attribute that may not be there as it is, with the reason; never a value."""
    payload = kind.payload if depth == 0 else frozenset()
    for tag in list(dataset.keys()):
        keyword = keyword_for_tag(tag)
        if keyword in payload or keyword in TABLES:
            continue
        found = element(dataset, int(tag)) if keyword and depth <= DEEPEST else None
        if found is None:
            yield f"{tag} is private, unknown or unreadable"
        elif found.VR == "SQ":
            for item in found.value:
                yield from problems(item, kind, facts, depth + 1)
        elif reason := why_not(found, keyword, facts):
            yield f"{tag} {keyword} {reason}"


def why_not(found: DataElement, keyword: str, facts: Facts) -> str | None:
    if found.VR not in ALLOWED and found.VR not in NUMBERS:
        return None if not found.value else "is of a kind that is not taken"
    known = facts.own.get(int(found.tag), frozenset())
    for value in values_of(found):
        if value not in known and (reason := _foreign(found, keyword, value, facts)):
            return reason
    return None


def _foreign(found: DataElement, keyword: str, value: str, facts: Facts) -> str | None:
    """What speaks against a value that the study's images do not have."""
    if found.tag.group == PATIENT_GROUP or keyword in OF_THE_STUDY:
        return "differs from the study's images"
    return None if found.VR in NUMBERS else ALLOWED[found.VR](keyword, value, facts)


# ── by kind of value ─────────────────────────────────────────────────────────────────────────────────


def words(keyword: str, value: str, facts: Facts) -> str | None:
    if keyword in CODES:
        return None
    if keyword not in OWN_WORDS:
        return "must be as in the images, or empty"
    return prose(keyword, value, facts)


def prose(keyword: str, value: str, _: Facts) -> str | None:
    found = (name for name, pattern in PATTERNS.items() if pattern.search(value) and (keyword, name) not in FINE)
    kind = next(found, None)
    return f"looks like identity: {kind}" if kind else None


def number(_: str, value: str, __: Facts) -> str | None:
    return None if WRITTEN_NUMBERS.fullmatch(value) else "is no number"


def person(_: str, value: str, facts: Facts) -> str | None:
    """Of persons only the caller; a model or a viewer cannot know the patient, and need not name anybody else."""
    name = re.sub(r"[\W_]", "", value).casefold()
    if name in NOBODY or name == re.sub(r"[\W_]", "", facts.maker).casefold():
        return None
    return "may name nobody but the caller"


def day(_: str, value: str, facts: Facts) -> str | None:
    first, last = facts.days
    return None if first <= value[:8] <= last else "is not when this was made"


ALLOWED: dict[str, Callable[[str, str, Facts], str | None]] = {
    **dict.fromkeys(("LO", "LT", "SH", "ST", "UC", "UT", "AE"), words),
    **dict.fromkeys(("DS", "IS", "TM", "UI"), number),
    "CS": prose,
    "PN": person,
    "DA": day,
    "DT": day,
    "AS": words,
}
