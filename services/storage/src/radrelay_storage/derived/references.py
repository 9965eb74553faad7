"""Whether everything that a derived object refers to is here: in its study, or in a prior of that. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from pydicom.dataset import Dataset
from pydicom.uid import UID

from radrelay_shared.dicom.reading import DEEPEST
from radrelay_shared.errors import Invalid

REFERENCED = 0x00081155


@dataclass(frozen=True, slots=True)
class Known:
    """An instance that is here."""

    study: str  # UIDs
    series: str
    sop_class: str
    sha256: str


@dataclass(frozen=True)
class Place:
    """Where a reference is looked up: what surrounding items have named so far."""

    known: Mapping[str, Known]  # by SOP Instance UID
    images_say: frozenset[str]  # referenced SOP Instance UIDs in the study's own images
    study: str = ""
    series: str = ""
    studies: frozenset[str] = field(default=frozenset())
    all_series: frozenset[str] = field(default=frozenset())


def studies_named(dataset: Dataset, depth: int = 0) -> Iterator[str]:
    """Every Study Instance UID in the sequences."""
    for item in items(dataset, depth):
        if uid := item.get("StudyInstanceUID"):
            yield str(uid)
        yield from studies_named(item, depth + 1)


def dangling(dataset: Dataset, place: Place, depth: int = 0) -> Iterator[str]:
    """What is wrong with each reference that leads nowhere, or elsewhere than it says."""
    for item in items(dataset, depth):
        inner, wrong = _entered(item, place)
        if wrong or ("ReferencedSOPInstanceUID" in item and (wrong := _instance(item, inner))):
            yield wrong
        yield from dangling(item, inner, depth + 1)


def items(dataset: Dataset, depth: int) -> Iterator[Dataset]:
    if depth > DEEPEST:
        raise Invalid("sequences are nested too deeply")
    for element in dataset:
        if element.VR == "SQ":
            yield from element.value


def _entered(item: Dataset, place: Place) -> tuple[Place, str | None]:
    study, series = str(item.get("StudyInstanceUID", "")), str(item.get("SeriesInstanceUID", ""))
    if study and study not in place.studies:
        return place, "it refers to a study that is neither its own nor a prior"
    if series and series not in place.all_series:
        return place, "it refers to a series that is not here"
    if study:
        place = replace(place, study=study, series="")
    return (replace(place, series=series) if series else place), None


def _instance(item: Dataset, place: Place) -> str | None:
    uid, sop_class = str(item.ReferencedSOPInstanceUID), str(item.get("ReferencedSOPClassUID", ""))
    found = place.known.get(uid)
    if found is None:
        stored = UID(sop_class).keyword.endswith("Storage")  # a step or a study as such is no instance
        if not stored and uid in place.images_say | place.studies:
            return None
        return "it refers to an instance that is not here"
    named = (place.study or found.study, place.series or found.series, sop_class or found.sop_class)
    return None if named == (found.study, found.series, found.sop_class) else "a reference is not what it says it is"
