"""What each profile lets stay of every attribute of the dictionary, written down by hand: all else of somebody's goes.

Each attribute holds a word, UID, date or time of its own; what stands in the same attribute of the copy has stayed.
"""

from __future__ import annotations

import io
import string
from dataclasses import replace

import pydicom
import pytest
from pydicom import config
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from hideouts.writing import ENCODINGS, ROOT, file, image
from radrelay_anonymize.domain import Context, Released, Words, encode, read, release
from radrelay_anonymize.domain.profile import packaged
from radrelay_anonymize.domain.rules import KEPT_CODES, KEPT_TEXT, WRITTEN
from radrelay_shared.dicom.reading import quietly

CONTEXT = Context(secret=b"tenant secret of these tests", pseudonym="RR-ABCDEFGHIJ", date_shift=-70, words=Words())
TEXT, TEMPORAL = frozenset({"LO", "LT", "SH", "ST", "UC", "UR", "UT", "AE", "PN"}), frozenset({"DA", "DT", "TM"})
IMAGE_GROUPS = (0x0028, 0x7FE0)  # rows, columns and frames have to fit the pixels


def named(keywords: str) -> set[str]:
    return set(keywords.split())


# Text that stays, cleaned, whoever asks: the policy's own list, with its reasons.
ALWAYS = {keyword for keywords in KEPT_TEXT.values() for keyword in keywords} | KEPT_CODES

# … and with an option, cleaned as well.
DESCRIPTORS = named("""
    AcquisitionDeviceProcessingDescription AcquisitionProtocolDescription Allergies ChannelDerivationDescription
    ChannelLabel ContrastBolusAgent DecompositionDescription DerivationDescription MultienergyAcquisitionDescription
    MultiplexGroupLabel PerformedProcedureStepDescription ProtocolName ROIName RTPlanLabel
    RequestedProcedureDescription SeriesDescription StructureSetLabel StudyDescription UnformattedTextValue
""")
PATIENT = {"EthnicGroup", "PatientSex", "PatientSexNeutered", "SmokingStatus"}
DEVICE = named("""
    CassetteID DetectorID DeviceDescription DeviceLabel DeviceSerialNumber GantryID GeneratorID
    HardcopyCreationDeviceID LensMake LensModel LensSerialNumber ManufacturerDeviceIdentifier ModifyingDeviceID
    ModifyingSystem PerformedStationName PlateID ScheduledProcedureStepLocation ScheduledStationName
    ScheduledStudyLocation SecondaryCaptureDeviceID SourceManufacturer SourceSerialNumber StationName
    TreatmentMachineName UniqueDeviceIdentifier XRayDetectorID XRayDetectorLabel XRaySourceID
""")
INSTITUTION = named("""
    ClinicalTrialCoordinatingCenterName ClinicalTrialProtocolEthicsCommitteeName ClinicalTrialSiteID
    ClinicalTrialSiteName InstitutionAddress InstitutionName InstitutionalDepartmentName SourceOfPreviousValues
""")
FULL_DATES = {"TimezoneOffsetFromUTC"}  # of text: it says where

# Codes and UIDs stay, or are mapped, but for these; a day and a time of day stay with dates, but for these.
CODES_GONE = named("""
    GPSDestBearingRef GPSDestDistanceRef GPSDestLatitudeRef GPSDestLongitudeRef GPSImgDirectionRef GPSLatitudeRef
    GPSLongitudeRef GPSMeasureMode GPSSpeedRef GPSStatus GPSTrackRef InstanceOriginStatus
    ReasonForTheAttributeModification
""")
UIDS_GONE, DATES_GONE = {"DigitalSignatureUID", "UID"}, {"PatientBirthDate", "PatientBirthTime", "GPSTimeStamp"}

STAYS: dict[str, set[str]] = {
    "basic": ALWAYS,
    "teleradiology": ALWAYS | DESCRIPTORS | PATIENT,
    "research": ALWAYS | DESCRIPTORS | PATIENT,
    "quality": ALWAYS | DESCRIPTORS | PATIENT | DEVICE | INSTITUTION | FULL_DATES,
}
VRS_THAT_STAY: dict[str, set[str]] = {
    "basic": set(),
    "teleradiology": {"TM"},
    "research": {"TM"},
    "quality": {"TM", "DA", "DT", "UI"},
}


def word(number: int) -> str:
    """No word of any language, another one for each number."""
    letters = (string.ascii_lowercase[number // 26**place % 26] for place in range(3))
    return f"Vbk{''.join(letters)}q"


def planted() -> dict[int, tuple[str, str]]:
    """VR and value by tag."""
    found = {}
    for number, (tag, (vrs, _, _, _, keyword)) in enumerate(DicomDictionary.items()):
        vr = vrs.split(" ")[0]
        said = {"CS": word(number).upper(), "AE": word(number).upper(), "UR": f"https://{word(number)}.example/"}
        said |= {"UI": f"{ROOT}.{number}", "DA": "19690312", "DT": "19690312081533", "TM": "081533.71", "AS": "094Y"}
        value = said.get(vr, word(number))
        is_own = keyword in WRITTEN or keyword == "SOPClassUID" or tag < 0x00080000 or tag >> 16 in IMAGE_GROUPS
        if not is_own and vr in TEXT | TEMPORAL | {"UI", "CS", "AS"}:
            found[tag] = (vr, value)
    return found


@pytest.fixture(scope="module")
def original() -> bytes:
    with quietly():
        dataset = read(file(ENCODINGS["explicit"], image(ENCODINGS["explicit"], "")))
        for tag, (vr, value) in planted().items():
            dataset[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)
        return encode(dataset)


def stayed(data: bytes) -> dict[str, str]:
    """VR by keyword of what has its value still."""
    with quietly():
        copy: Dataset = pydicom.dcmread(io.BytesIO(data))
        found = {tag: str(copy[tag].value).lower() for tag in planted() if tag in copy}
    return {
        keyword_for_tag(tag): vr
        for tag, (vr, value) in planted().items()
        if value.lower().removeprefix("https://") in found.get(tag, "")
    }


def test_everything_stays_in_the_original(original: bytes) -> None:
    assert len(stayed(original)) == len(planted()) > 1700


@pytest.mark.parametrize("profile", STAYS)
def test_of_text_stays_what_the_profile_names_and_nothing_else(original: bytes, profile: str) -> None:
    outcome = release(original, replace(CONTEXT, profile=packaged(profile)))
    assert isinstance(outcome, Released)
    known = {keyword_for_tag(tag): vr for tag, (vr, _) in planted().items()}
    found = stayed(outcome.data)
    assert {keyword for keyword, vr in found.items() if vr in TEXT} == {
        keyword for keyword in STAYS[profile] if known.get(keyword) in TEXT
    }
    codes = {keyword for keyword, vr in known.items() if vr == "CS"}
    assert codes - found.keys() == CODES_GONE | (codes & (PATIENT | DEVICE) - STAYS[profile])
    for vr in ("AS", "DA", "DT", "TM", "UI"):
        of_it = {keyword for keyword, each in known.items() if each == vr}
        gone = UIDS_GONE | DATES_GONE if vr in VRS_THAT_STAY[profile] else of_it
        assert of_it - found.keys() == of_it & gone, vr
