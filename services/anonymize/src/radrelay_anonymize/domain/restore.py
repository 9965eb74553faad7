"""The way back: a result made from de-identified images (SR, SEG, presentation state) under the patient's own name.

A result has dates of its own, on which it was made, beside those it took over from the images; only the latter were
moved. So a date is moved back if it is the de-identified study's day, or the day before or after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset

from radrelay_anonymize.domain.identity import Identity
from radrelay_anonymize.domain.values import shifted
from radrelay_shared.dicom.reading import elements, quietly, texts
from radrelay_shared.errors import Invalid

MARKS = (
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)


@dataclass(frozen=True)
class Return:
    """What the vault knows of the study that the result is about; its copies were moved by `date_shift` days."""

    identity: Identity
    pseudonym: str
    date_shift: int
    uids: Mapping[str, str]  # of originals, by those of the copies

    @cached_property
    def attributes(self) -> dict[str, str]:
        """What stands at the top of every instance of the patient's, by keyword."""
        patient = self.identity.patient
        said = {
            "PatientName": patient.name,
            "PatientID": patient.id,
            "IssuerOfPatientID": patient.issuer,
            "PatientBirthDate": patient.birth_date,
            "PatientSex": patient.sex,
            "AccessionNumber": self.identity.accession_number,
            "ReferringPhysicianName": self.identity.referring_physician,
        }
        return {keyword: value for keyword, value in said.items() if value}


def restored(dataset: FileDataset, way: Return) -> FileDataset:
    """The result, changed in place: identity, UIDs and dates as the originals have them, in nested references, too.

    What the result brought itself stays: its own UIDs, dates and text. Raises `Invalid` if it is another patient's.
    """
    with quietly():
        if str(dataset.get("PatientID", "")) != way.pseudonym:
            raise Invalid("the result is not of this study's patient: its Patient ID is another one")
        days = _days_of(dataset)
        for element in elements(dataset):
            _restore(element, way, days)
        for keyword, value in way.attributes.items():
            setattr(dataset, keyword, value)
        for keyword in MARKS:
            if keyword in dataset:
                delattr(dataset, keyword)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _days_of(dataset: Dataset) -> frozenset[str]:
    """The study's day as the copies have it, and its neighbours, for scans around midnight; none if it has none."""
    try:
        day = date.fromisoformat(str(dataset.get("StudyDate", "")))
    except ValueError:
        return frozenset()
    return frozenset(f"{day + timedelta(days=offset):%Y%m%d}" for offset in (-1, 0, 1))


def _restore(element: DataElement, way: Return, days: frozenset[str]) -> None:
    values = texts(element) if element.VR in ("UI", "DA", "DT", "PN", "LO", "SH") else []
    again = [_value(element.VR, value, way, days) for value in values]
    if again != values:
        element.value = again[0] if len(again) == 1 else again


def _value(vr: str, value: str, way: Return, days: frozenset[str]) -> str:
    if vr == "UI":
        return way.uids.get(value, value)
    if vr in ("DA", "DT"):
        return shifted(value, -way.date_shift) if value[:8] in days else value
    if value == way.pseudonym:
        return way.identity.patient.name if vr == "PN" else way.identity.patient.id
    return value
