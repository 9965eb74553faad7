"""A CT series of 0.5 MB slices with a canary in every place where identity is found, and the search for them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

SIDE = 512  # pixels
ROOT = "1.2.826.0.1.3680043.8.498.977"  # of every UID of the series

PEOPLE_AND_PLACES = (
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientAddress", "PatientTelephoneNumbers", "IssuerOfPatientID", "EthnicGroup", "Occupation", "MilitaryRank",
    "BranchOfService", "PatientReligiousPreference", "MedicalRecordLocator", "CountryOfResidence", "RegionOfResidence",
    "AdditionalPatientHistory", "PatientComments", "MedicalAlerts", "ResponsiblePerson", "ResponsibleOrganization",
    "PatientInsurancePlanCodeSequence", "AccessionNumber", "StudyID", "ReferringPhysicianName",
    "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers", "ConsultingPhysicianName",
    "PhysiciansOfRecord", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "OperatorsName",
    "AdmittingDiagnosesDescription", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName",
    "StationName", "DeviceSerialNumber", "DeviceID", "GantryID", "PlateID", "CassetteID", "DetectorID",
    "ScheduledStationAETitle", "PerformedStationAETitle", "PerformedStationName", "PerformedLocation",
    "RequestingPhysician", "RequestingService", "AdmissionID", "ServiceEpisodeID", "CurrentPatientLocation",
    "StudyComments", "ImageComments", "RequestedProcedureComments", "PerformedProcedureStepID",
    "ContentCreatorName", "RetrieveURL", "InterpretationText", "ClinicalTrialSubjectID", "ClinicalTrialSiteName",
    "ClinicalTrialSponsorName", "DataSetTrailingPadding",
)  # fmt: skip
PROSE = ("StudyDescription", "SeriesDescription", "ProtocolName", "ContentDescription", "DerivationDescription")
PHYSICS = {
    "KVP": "120", "SliceThickness": "1.25", "DataCollectionDiameter": "500", "ReconstructionDiameter": "360",
    "DistanceSourceToDetector": "949.147", "DistanceSourceToPatient": "541.0", "GantryDetectorTilt": "0",
    "TableHeight": "151.5", "RotationDirection": "CW", "ExposureTime": "800", "XRayTubeCurrent": "240",
    "Exposure": "12", "FilterType": "BODY FILTER", "GeneratorPower": "48000", "FocalSpots": "1.2",
    "ConvolutionKernel": "STANDARD", "PatientPosition": "FFS", "SpiralPitchFactor": 0.984, "SingleCollimationWidth": 0.625,
    "TotalCollimationWidth": 40.0, "TableSpeed": 49.2, "TableFeedPerRotation": 39.4, "CTDIvol": 12.3,
    "RescaleSlope": "1", "RescaleIntercept": "-1024", "RescaleType": "HU", "WindowCenter": ["40", "400"],
    "WindowWidth": ["400", "1500"], "PixelSpacing": ["0.703125", "0.703125"],
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"], "PatientSex": "F", "PatientAge": "054Y",
    "PatientWeight": "61.5", "PatientSize": "1.68", "BodyPartExamined": "CHEST", "Manufacturer": "GE MEDICAL SYSTEMS",
    "ManufacturerModelName": "Revolution CT", "SoftwareVersions": "revo_ct_21b.33", "ScanOptions": "HELICAL MODE",
    "PositionReferenceIndicator": "SN", "AcquisitionNumber": "2", "SeriesNumber": "4",
}  # fmt: skip
