"""A CT series of 0.5 MB slices with a canary in every place where identity is found, and the search for them."""

from __future__ import annotations

import io
import string
from collections.abc import Iterator
from pathlib import Path

from pydicom import config, dcmwrite
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

SIDE = 512  # pixels
ROOT = "1.2.826.0.1.3680043.8.498.977"  # of every UID of the series

PEOPLE_AND_PLACES = (
    "PatientName", "PatientID", "OtherPatientIDs", "PatientBirthName", "PatientMotherBirthName",
    "PatientAddress", "PatientTelephoneNumbers", "IssuerOfPatientID", "Occupation", "MilitaryRank",
    "BranchOfService", "PatientReligiousPreference", "MedicalRecordLocator", "CountryOfResidence", "RegionOfResidence",
    "AdditionalPatientHistory", "PatientComments", "MedicalAlerts", "ResponsiblePerson", "ResponsibleOrganization",
    "AccessionNumber", "StudyID", "ReferringPhysicianName",
    "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers", "ConsultingPhysicianName",
    "PhysiciansOfRecord", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "OperatorsName",
    "AdmittingDiagnosesDescription", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName",
    "StationName", "DeviceSerialNumber", "DeviceID", "GantryID", "PlateID", "CassetteID", "DetectorID",
    "ScheduledStationAETitle", "PerformedStationAETitle", "PerformedStationName", "PerformedLocation",
    "RequestingPhysician", "RequestingService", "AdmissionID", "ServiceEpisodeID", "CurrentPatientLocation",
    "StudyComments", "ImageComments", "RequestedProcedureComments", "PerformedProcedureStepID",
    "ContentCreatorName", "RetrieveURL", "InterpretationText", "ClinicalTrialSubjectID", "ClinicalTrialSiteName",
    "ClinicalTrialSponsorName",
)  # fmt: skip
# Free text that names somebody the header knows (in OtherPatientNames).
PROSE = (
    "StudyDescription", "SeriesDescription", "ProtocolName", "ContentDescription", "DerivationDescription",
    "EthnicGroup",
)  # fmt: skip
PHYSICS = {
    "KVP": "120", "SliceThickness": "1.25", "DataCollectionDiameter": "500", "ReconstructionDiameter": "360",
    "DistanceSourceToDetector": "949.147", "DistanceSourceToPatient": "541.0", "GantryDetectorTilt": "0",
    "TableHeight": "151.5", "RotationDirection": "CW", "ExposureTime": "800", "XRayTubeCurrent": "240",
    "Exposure": "12", "FilterType": "BODY FILTER", "GeneratorPower": "48000", "FocalSpots": "1.2",
    "ConvolutionKernel": "STANDARD", "PatientPosition": "FFS", "SpiralPitchFactor": 0.984,
    "SingleCollimationWidth": 0.625,
    "TotalCollimationWidth": 40.0, "TableSpeed": 49.2, "TableFeedPerRotation": 39.4, "CTDIvol": 12.3,
    "RescaleSlope": "1", "RescaleIntercept": "-1024", "RescaleType": "HU", "WindowCenter": ["40", "400"],
    "WindowWidth": ["400", "1500"], "PixelSpacing": ["0.703125", "0.703125"],
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"], "PatientSex": "F", "PatientAge": "054Y",
    "PatientWeight": "61.5", "PatientSize": "1.68", "BodyPartExamined": "CHEST", "Manufacturer": "GE MEDICAL SYSTEMS",
    "ManufacturerModelName": "Revolution CT", "SoftwareVersions": "revo_ct_21b.33", "ScanOptions": "HELICAL MODE",
    "PositionReferenceIndicator": "SN", "AcquisitionNumber": "2", "SeriesNumber": "4",
}  # fmt: skip


class Canaries:
    """Made-up words that occur nowhere else: one for each place, so that a search says which place leaks."""

    def __init__(self) -> None:
        self.places: dict[str, bytes] = {}

    def word(self, place: str) -> str:
        number, letters = len(self.places), string.ascii_uppercase
        word = f"QZX{letters[number // 26]}{letters[number % 26]}WQK"
        self.places[place] = word.encode()
        return word

    def uid(self, place: str) -> str:
        uid = f"{ROOT}.{len(self.places) + 100}"
        self.places[place] = uid.encode()
        return uid

    def leaks(self, output: bytes) -> set[str]:
        """The places whose canary stands in the bytes, in any case."""
        folded = output.upper()
        return {place for place, word in self.places.items() if word in folded}


def series(folder: Path, count: int) -> Canaries:
    """Write the slices; each has the same canaries, and UIDs, positions and pixels of its own."""
    canaries = Canaries()
    with config.disable_value_validation():
        slice_ = _slice(canaries)
        shades = bytes(range(256)) * (SIDE * SIDE * 2 // 256 + 1)
        for number in range(count):
            slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.1.{number}"
            slice_.InstanceNumber = str(number + 1)
            slice_.SliceLocation = f"{-120 + 1.25 * number:.3f}"
            slice_.ImagePositionPatient = ["-180", "-180", slice_.SliceLocation]
            slice_.PixelData = shades[number % 256 :][: SIDE * SIDE * 2]
            buffer = io.BytesIO()
            dcmwrite(buffer, slice_, enforce_file_format=True)
            (folder / f"{number:04}.dcm").write_bytes(buffer.getvalue())
    return canaries


def enhanced(file: Path, frames: int) -> None:
    """One enhanced CT whose functional groups say of every frame what scanners say; a pixel per frame."""
    with config.disable_value_validation():
        image = _slice(Canaries())
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
        image.SOPInstanceUID = f"{ROOT}.2"
        image.Rows, image.Columns, image.NumberOfFrames = 32, 32, str(frames)
        image.PerFrameFunctionalGroupsSequence = [_frame(number) for number in range(frames)]
        image.PixelData = bytes(32 * 32 * 2 * frames)
        dcmwrite(file, image, enforce_file_format=True)


def _frame(number: int) -> Dataset:
    frame, content, position, orientation, measures, voi = (Dataset() for _ in range(6))
    content.FrameAcquisitionDateTime = content.FrameReferenceDateTime = "20240304081544.125"
    content.FrameAcquisitionNumber, content.StackID, content.InStackPositionNumber = 1, "1", number + 1
    content.TemporalPositionIndex, content.DimensionIndexValues = 1, [1, number + 1]
    position.ImagePositionPatient = ["-180", "-180", f"{-120 + 1.25 * number:.3f}"]
    orientation.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    measures.SliceThickness, measures.PixelSpacing = "1.25", ["0.703125", "0.703125"]
    voi.WindowCenter, voi.WindowWidth, voi.WindowCenterWidthExplanation = "40", "400", "SOFT TISSUE"
    frame.FrameContentSequence, frame.PlanePositionSequence = [content], [position]
    frame.PlaneOrientationSequence, frame.PixelMeasuresSequence = [orientation], [measures]
    frame.FrameVOILUTSequence = [voi]
    return frame


def _slice(canaries: Canaries) -> FileDataset:
    dataset = FileDataset(None, _physics(), preamble=canaries.word("preamble").encode().ljust(128, b"\0"))
    for keyword in PEOPLE_AND_PLACES:
        _plant(dataset, keyword, canaries.word(keyword))
    named = {keyword: canaries.word(f"another name, in {keyword}") for keyword in PROSE}
    for keyword, word in named.items():
        _plant(dataset, keyword, f"axial {word}")
    dataset.OtherPatientNames = [f"{word}^Jane" for word in named.values()]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = canaries.uid("StudyInstanceUID"), canaries.uid("Series")
    dataset.FrameOfReferenceUID, dataset.DeviceUID = canaries.uid("FrameOfReferenceUID"), canaries.uid("DeviceUID")
    dataset.add_new(0x0010FFF1, "LO", canaries.word("unknown public element"))
    dataset.add_new(0x50000022, "LO", canaries.word("curve"))
    dataset.add_new(0x60000022, "LO", canaries.word("overlay description"))
    dataset.add_new(0x60003000, "OB", canaries.word("overlay data").encode())
    dataset.add_new(0xFFFCFFFC, "OB", canaries.word("trailing padding").encode())
    dataset.IconImageSequence = [_icon(canaries)]
    for keyword, nested in _sequences(canaries):
        setattr(dataset, keyword, Sequence([nested]))
    _add_private(dataset, canaries)
    meta = dataset.file_meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.SourceApplicationEntityTitle = canaries.word("file meta AE title")
    meta.PrivateInformationCreatorUID = canaries.uid("file meta private creator")
    meta.PrivateInformation = canaries.word("file meta private information").encode()
    return dataset


def _physics() -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.Modality, dataset.ImageType = CTImageStorage, "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    for keyword, value in PHYSICS.items():
        setattr(dataset, keyword, value)
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        setattr(dataset, keyword, "20240304")
    for keyword in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"):
        setattr(dataset, keyword, "081544.125")
    dataset.PatientBirthDate = "19690312"
    dataset.Rows = dataset.Columns = SIDE
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    return dataset


def _plant(dataset: Dataset, keyword: str, word: str) -> None:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    vr = dictionary_VR(tag)
    value = f"https://example.org/{word}" if vr == "UR" else word
    dataset[tag] = DataElement(tag, vr, value)


def _icon(canaries: Canaries) -> Dataset:
    icon = Dataset()
    icon.Rows = icon.Columns = 4
    icon.SamplesPerPixel, icon.PhotometricInterpretation, icon.PixelRepresentation = 1, "MONOCHROME2", 0
    icon.BitsAllocated, icon.BitsStored, icon.HighBit = 8, 8, 7
    icon.PixelData = canaries.word("icon pixels").encode().ljust(16, b"\0")
    return icon


def _sequences(canaries: Canaries) -> Iterator[tuple[str, Dataset]]:
    """Identity one and two levels down."""
    request, evidence, inner, equipment, before = Dataset(), Dataset(), Dataset(), Dataset(), Dataset()
    request.RequestedProcedureDescription = "CHEST " + canaries.word("request description")
    request.ScheduledProcedureStepID = canaries.word("scheduled step")
    yield "RequestAttributesSequence", request
    evidence.ReferencedSOPClassUID = CTImageStorage
    evidence.ReferencedSOPInstanceUID = canaries.uid("referenced image")
    inner.ReferencedSOPClassUID = CTImageStorage
    inner.ReferencedSOPInstanceUID = canaries.uid("referenced image at depth 2")
    evidence.PurposeOfReferenceCodeSequence = [_code(canaries.word("code meaning's owner") + "^Jane", inner)]
    yield "SourceImageSequence", evidence
    equipment.Manufacturer, equipment.InstitutionName = "PACS Inc", canaries.word("contributing institution")
    equipment.OperatorsName = canaries.word("contributing operator") + "^Jane"
    yield "ContributingEquipmentSequence", equipment
    before.SourceOfPreviousValues = canaries.word("source of previous values")
    before.ModifiedAttributesSequence = [_named(canaries.word("previous patient name"))]
    yield "OriginalAttributesSequence", before


def _code(name: str, inner: Dataset) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "121322", "DCM", "Source image"
    code.PersonName, code.SourceImageSequence = name, [inner]
    return code


def _named(name: str) -> Dataset:
    item = Dataset()
    item.PatientName = name + "^Jane"
    return item


def _add_private(dataset: Dataset, canaries: Canaries) -> None:
    """25 elements, as scanners write them."""
    block = dataset.private_block(0x0009, canaries.word("private creator"), create=True)
    block.add_new(1, "LO", canaries.word("private text"))
    block.add_new(2, "OB", canaries.word("private bytes").encode())
    block.add_new(3, "UI", canaries.uid("private UID"))
    block.add_new(4, "SQ", [_named(canaries.word("private sequence"))])
    for number in range(5, 25):
        block.add_new(number, "DS", str(number / 4))
