"""Studies for demos and tests: the DICOM files inside the `pydicom` package and a phantom, as synthetic patients."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from radrelay import phantom

FILES = Path(pydicom.__file__).parent / "data" / "test_files"


@dataclass(frozen=True)
class Sample:
    """One study of one synthetic patient, with the order that goes before it."""

    site: str
    ae_title: str
    patient_name: str
    patient_id: str
    birth_date: str
    sex: str
    accession: str
    priority: str  # as FHIR says it
    code: str  # LOINC or LOINC/RSNA Radiology Playbook
    text: str
    modality: str
    files: tuple[str, ...]  # below pydicom's test files, or slices of the phantom
    over: str  # "dimse" or "stow"

    def datasets(self) -> Iterator[Dataset]:
        """The files as this patient's study: new UIDs, consistent within the study."""
        study, series = generate_uid(), dict[str, str]()
        for name in self.files:
            dataset = phantom.slice_of(name) if name.startswith("phantom/") else pydicom.dcmread(FILES / name)
            old_series = str(dataset.get("SeriesInstanceUID", name))
            dataset.StudyInstanceUID = study
            dataset.SeriesInstanceUID = series.setdefault(old_series, generate_uid())
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.PatientName, dataset.PatientID = self.patient_name, self.patient_id
            dataset.PatientBirthDate, dataset.PatientSex = self.birth_date, self.sex
            dataset.AccessionNumber = self.accession
            dataset.StudyDate = datetime.now(UTC).strftime("%Y%m%d")
            dataset.InstitutionName = f"{self.site} clinic"
            yield dataset

    def encoded(self) -> Iterator[bytes]:
        """The study's instances as DICOM files."""
        for dataset in self.datasets():
            file = io.BytesIO()
            dataset.save_as(file, enforce_file_format=True)
            yield file.getvalue()

    def order(self) -> dict[str, Any]:
        """A FHIR R4 transaction Bundle: the patient and the ServiceRequest."""
        family, _, given = self.patient_name.partition("^")
        birth = f"{self.birth_date[:4]}-{self.birth_date[4:6]}-{self.birth_date[6:]}"
        patient = {
            "resourceType": "Patient",
            "identifier": [{"value": self.patient_id}],
            "name": [{"family": family, "given": given.split("^")}],
            "birthDate": birth,
            "gender": {"F": "female", "M": "male"}[self.sex],
        }
        kind = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}
        request = {
            "resourceType": "ServiceRequest",
            "identifier": [{"type": kind, "value": self.accession}],
            "status": "active",
            "intent": "order",
            "priority": self.priority,
            "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "363679005"}]}],
            "code": {"coding": [{"system": "http://loinc.org", "code": self.code}], "text": self.text},
            "subject": {"reference": "urn:uuid:7f1a52b0-0d5d-4c3e-9a55-000000000001"},
            "authoredOn": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        return {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "fullUrl": "urn:uuid:7f1a52b0-0d5d-4c3e-9a55-000000000001",
                    "resource": patient,
                    "request": {"method": "POST", "url": "Patient"},
                },
                {"resource": request, "request": {"method": "POST", "url": "ServiceRequest"}},
            ],
        }


SAMPLES = (
    Sample("prairie", "PRAIRIE_CT", "Whitehorse^Anna", "PR-1001", "19520317", "F", "PRA-7001", "routine",
           "30746-2", "MR brain", "MR", phantom.names("MR"), "dimse"),
    Sample("sagebrush", "SAGEBRUSH", "Ortiz^Manuel^J", "SB-2001", "19880605", "M", "SAG-4001", "routine",
           "36643-5", "XR cervical spine", "CR",
           ("dicomdirtests/77654033/CR1/6154", "dicomdirtests/77654033/CR2/6247", "dicomdirtests/77654033/CR3/6278"),
           "stow"),
    Sample("prairie", "PRAIRIE_US", "Lindqvist^Oskar", "PR-1002", "19710911", "M", "PRA-7002", "urgent",
           "42148-7", "US heart", "US", ("examples_ybr_color.dcm",), "dimse"),
    Sample("sagebrush", "SAGEBRUSH", "Begay^Ruth", "SB-2002", "19460224", "F", "SAG-4002", "urgent",
           "36554-4", "MR abdomen", "MR", ("examples_overlay.dcm",), "stow"),
    Sample("sagebrush", "SAGEBRUSH", "Haddad^Leila", "SB-2003", "19930801", "F", "SAG-4003", "routine",
           "18748-4", "Outside report", "SR", ("test-SR.dcm",), "stow"),
    Sample("prairie", "PRAIRIE_CT", "Doe^Jane^Q", "PR-1003", "19800101", "F", "PRA-7003", "stat",
           "30799-1", "CT head", "CT", phantom.names("CT"), "dimse"),
)  # fmt: skip
