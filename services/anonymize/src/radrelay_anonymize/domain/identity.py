"""Who a study is about, as the images say it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset

from radrelay_anonymize.domain.words import Words
from radrelay_shared.dicom.reading import element, quietly, texts

ATTRIBUTES = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyInstanceUID",
    "ReferringPhysicianName",
)
IDENTIFYING = frozenset(tag_for_keyword(keyword) or 0 for keyword in ATTRIBUTES)


class Patient(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str = ""  # PN as it was, with all its component groups
    id: str = ""
    issuer: str = ""
    birth_date: str = ""
    sex: str = ""


class Identity(BaseModel):
    """What anonymize takes out of a study and notification puts back at delivery."""

    model_config = ConfigDict(frozen=True)

    patient: Patient
    accession_number: str = ""
    study_instance_uid: str = ""
    referring_physician: str = ""

    @property
    def whose(self) -> tuple[str, str]:
        """Issuer and ID that pseudonym and date shift follow from; without an ID each study is a patient of its own."""
        return (self.patient.issuer, self.patient.id) if self.patient.id else ("", self.study_instance_uid)

    @property
    def words(self) -> Words:
        """What of it must not appear in any text."""
        patient = self.patient
        return Words.of(
            names=(patient.name, self.referring_physician),
            identifiers=(patient.id, self.accession_number),
            dates=(patient.birth_date,),
            uids=(self.study_instance_uid,),
        )

    def same_patient(self, other: Identity) -> bool:
        """Whether both name the same patient; a study with two patients is somebody's mistake.

        Some devices leave the issuer out; without an ID, the name decides.
        """
        one, another = self.patient, other.patient
        issuers = {one.issuer, another.issuer} - {""}
        return one.id == another.id and len(issuers) <= 1 and (bool(one.id) or one.name == another.name)


def identity_of(dataset: FileDataset) -> Identity:
    """As the instance says it; what cannot be read is empty."""
    with quietly():
        said = {keyword: _said(dataset, keyword) for keyword in ATTRIBUTES}
    return Identity(
        patient=Patient(
            name=said["PatientName"],
            id=said["PatientID"],
            issuer=said["IssuerOfPatientID"],
            birth_date=said["PatientBirthDate"],
            sex=said["PatientSex"],
        ),
        accession_number=said["AccessionNumber"],
        study_instance_uid=said["StudyInstanceUID"],
        referring_physician=said["ReferringPhysicianName"],
    )


def _said(dataset: FileDataset, keyword: str) -> str:
    found = element(dataset, tag_for_keyword(keyword)) if keyword in dataset else None
    return "" if found is None or found.VR == "SQ" else "\\".join(texts(found))
