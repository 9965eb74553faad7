"""What happens to each attribute: the table first, then default deny by VR with a keep list that gives its reasons."""

from __future__ import annotations

import functools

from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword

from radrelay_anonymize.domain.profile import Option, Profile
from radrelay_anonymize.domain.table import TEMPORAL, TEXT, Action, listed_action
from radrelay_anonymize.domain.words import IDENTIFIERS, PLACES

# Text that Table E.1-1 does not list and that stays, cleaned. Text that is not here goes.
KEPT_TEXT: dict[str, tuple[str, ...]] = {
    "kind of equipment, never the single device": (
        "Manufacturer", "ManufacturerModelName", "ManufacturerRelatedModelGroup", "SoftwareVersions",
        "SecondaryCaptureDeviceManufacturer", "SecondaryCaptureDeviceManufacturerModelName",
        "SecondaryCaptureDeviceSoftwareVersions", "DetectorManufacturerName", "DetectorManufacturerModelName",
        "ApplicationName", "ApplicationVersion", "ApplicationManufacturer",
    ),
    "physics of the acquisition": (
        "AcquisitionMode", "AcquisitionProtocolName", "CardiacFramingType", "CollimatorGridName",
        "ContrastBolusRoute", "ConvolutionKernel", "DoseModeName", "FilterType", "ImagedNucleus", "ImageFilter",
        "InterventionDrugName", "MultiCoilConfiguration", "MultiCoilElementName", "OutputPower", "PaddleDescription",
        "PhosphorType", "PlateType", "ProcessingFunction", "PulseSequenceName", "Radionuclide",
        "Radiopharmaceutical", "RadiopharmaceuticalRoute", "ReceiveCoilManufacturerName", "ReceiveCoilName",
        "SequenceName", "StageName", "TransducerData", "TransmitCoilManufacturerName", "TransmitCoilName",
        "TriggerSourceOrType", "TypeOfFilters", "ViewName", "ASLTechniqueDescription", "ASLCrusherDescription",
    ),
    "reconstruction and correction": (
        "AttenuationCorrectionMethod", "ReconstructionDescription", "ReconstructionMethod", "PVCRejection",
        "DetectorLinesOfResponseUsed", "ScatterCorrectionMethod", "AlgorithmDescription", "AlgorithmName",
        "AlgorithmVersion", "AlgorithmParameters", "EnergyWindowName",
    ),
    "geometry and order of frames": (
        "PositionReferenceIndicator", "TargetPositionReferenceIndicator", "StackID", "DimensionDescriptionLabel",
        "FrameLabel", "OpticalPathIdentifier", "ReferencedOpticalPathIdentifier", "OpticalPathDescription",
        "FieldOfViewDescription", "PartialViewDescription",
    ),
    "how to show the pixels": (
        "RescaleType", "WindowCenterWidthExplanation", "LUTExplanation", "LUTLabel", "ModalityLUTType",
        "PixelSpacingCalibrationDescription", "FrameOfInterestDescription", "MaskOperationExplanation",
        "GraphicLayerDescription", "HistogramExplanation",
    ),
    "what was segmented or planned": (
        "SegmentLabel", "SegmentDescription", "SegmentAlgorithmName", "TrackingID", "ContentDescription",
        "BeamName", "RTImageLabel", "RTImageName", "ApplicatorDescription", "SourceIsotopeName", "FractionPattern",
        "BlockName", "ToleranceTableLabel", "PatientSetupLabel",
    ),
    "finding of a structured report": ("TextValue", "CompletionFlagDescription"),
}  # fmt: skip

# Text that means a code: its long digits are SNOMED's, not a patient's.
KEPT_CODES = frozenset({
    "CodeValue", "LongCodeValue", "URNCodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning",
    "ExtendedCodeValue", "ExtendedCodeMeaning", "CodingSchemeName", "CodingSchemeRegistry", "MappingResourceName",
})  # fmt: skip

# And of these what anybody may have typed: it goes where it has the form of identity, too.
MEANINGS = frozenset({"CodeMeaning", "ExtendedCodeMeaning"})

# Bytes that stay: pixels, what turns them into light, and signals. Any other OB or OW goes.
KEPT_BINARY = frozenset({
    "PixelData", "FloatPixelData", "DoubleFloatPixelData", "ICCProfile", "LUTData", "BlendingLookupTableData",
    "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
    "AlphaPaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData",
    "SegmentedAlphaPaletteColorLookupTableData", "WaveformData", "WaveformPaddingValue", "ChannelMinimumValue",
    "ChannelMaximumValue", "RecommendedDisplayCIELabValueList",
})  # fmt: skip

# Rebuilt by the engine, never copied.
WRITTEN = frozenset({
    "SpecificCharacterSet", "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified", "BurnedInAnnotation",
})  # fmt: skip

# The rest of the public dictionary, by VR.
BY_VR = {
    **dict.fromkeys(("AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV", "DS", "IS", "TM", "CS"), Action.KEEP),
    **dict.fromkeys(("OF", "OD", "OL", "OV"), Action.KEEP),  # arrays of numbers by definition
    **dict.fromkeys(("DA", "DT"), Action.SHIFT),
    "AS": Action.AGE,
    "SQ": Action.RECURSE,
    "UI": Action.UID,
}  # AE, PN, UR, UN, OB, OW and text: removed

CLASS_UIDS = frozenset({
    "SOPClassUID", "ReferencedSOPClassUID", "RelatedGeneralSOPClassUID", "OriginalSpecializedSOPClassUID",
    "SOPClassesInStudy", "CodingSchemeUID", "ContextUID", "MappingResourceUID", "AvailableTransferSyntaxUID",
    "MACCalculationTransferSyntaxUID",
})  # fmt: skip

# CS whose values only DICOM defines and whose loss breaks the object; a name that equals one is coincidence.
ENUMERATED = frozenset({
    "ValueType", "RelationshipType", "ContinuityOfContent", "CompletionFlag", "VerificationFlag", "PreliminaryFlag",
    "GraphicType", "TemporalRangeType", "Modality",
})  # fmt: skip

# SR concepts (DCM, PS3.16) whose text value is an identity, whatever it says.
IDENTITY_CONCEPTS = frozenset({
    "121022",  # Accession Number
    "121029",  # Subject Name
    "121030",  # Subject ID
    "121031",  # Subject Birth Date
    "121040",  # Specimen Accession Number
    "121008",  # Person Observer Name
    "121009",  # Person Observer's Organization Name
    "121013",  # Device Observer Name
    "121016",  # Device Observer Serial Number
    "121017",  # Device Observer Physical Location During Observation
    "121193",  # Device Subject Name
    "121197",  # Device Subject Physical Location during observation
    "113870",  # Person Name
    "113873",  # Organization Name
    "113877",  # Device Name
    "128774",  # Person Observer's Login Name
    "128775",  # Identifier within Person Observer's Role
})  # fmt: skip

FIRST_GROUP, PIXEL_GROUP = 0x0008, 0x7FE0  # below: commands, file meta, DICOMDIR; above: padding and signatures
DISPLAY_GROUP = 0x0028
_KEPT_TEXT = frozenset(keyword for keywords in KEPT_TEXT.values() for keyword in keywords)


class Actions(dict[int, Action]):
    """A profile's one action for each tag, decided when it is first asked for.

    Private (but see `private`), unknown, repeating (50xx, 60xx) and out-of-place groups are removed.
    """

    def __init__(self, profile: Profile) -> None:
        super().__init__()
        self._options = profile.options

    def __missing__(self, tag: int) -> Action:
        action = _decided(tag, self._options)
        if dictionary_has_tag(tag):  # so that foreign tags cannot fill the memory
            self[tag] = action
        return action


@functools.lru_cache(maxsize=32)
def actions(profile: Profile) -> Actions:
    """The profile's table, the same for everyone who asks."""
    return Actions(profile)


@functools.lru_cache(maxsize=32)
def passed_on(profile: Profile) -> frozenset[int]:
    """Identifiers that the profile retains: what stays on purpose is no word to search for."""
    tags = [tag_for_keyword(keyword) or 0 for keyword in (*IDENTIFIERS, *PLACES)]
    return frozenset(tag for tag in tags if actions(profile)[tag] is Action.CODE)


def _decided(tag: int, options: frozenset[Option]) -> Action:
    group = tag >> 16
    if not FIRST_GROUP <= group <= PIXEL_GROUP or not dictionary_has_tag(tag) or group % 2:
        return Action.REMOVE
    keyword = keyword_for_tag(tag)
    if keyword in WRITTEN:
        return Action.REMOVE
    return listed_action(keyword, tag, options) or _by_vr(keyword, dictionary_VR(tag), options)


def _by_vr(keyword: str, vr: str, options: frozenset[Option]) -> Action:
    if keyword in KEPT_CODES:
        return Action.CODE
    if vr in TEXT:
        return Action.CLEAN if keyword in _KEPT_TEXT else Action.REMOVE
    if keyword in KEPT_BINARY:
        return Action.KEEP
    if vr == "UI" and Option.RETAIN_UIDS in options:
        return Action.KEEP
    if vr in TEMPORAL and Option.RETAIN_MODIFIED_DATES not in options:
        return Action.KEEP if Option.RETAIN_FULL_DATES in options else Action.DUMMY
    return BY_VR.get(vr[:2], Action.REMOVE)  # "US or SS": all numbers; "OB or OW": none


def is_enumerated(tag: int) -> bool:
    """Whether the code string's value can only be one of DICOM's own terms."""
    return tag >> 16 == DISPLAY_GROUP or keyword_for_tag(tag) in ENUMERATED


def is_meaning(tag: int) -> bool:
    """Whether the text says what a code means."""
    return keyword_for_tag(tag) in MEANINGS


def names_a_class(tag: int) -> bool:
    """Whether the UID says what a thing is, not which."""
    return keyword_for_tag(tag) in CLASS_UIDS
