"""What may pass the engine at all, and whose pixels are looked at. Unknown classes do not pass; unknown images are."""

from __future__ import annotations

from typing import Literal

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from radrelay_shared.dicom.reading import texts

Pixels = Literal["none", "plain", "suspect", "burned-in"]

# Storage classes whose payload cannot be cleaned: start of the keyword → reason.
REFUSED = {
    "MediaStorageDirectory": "dicomdir",
    "Encapsulated": "encapsulated-document",
    "Video": "video",
    "RawData": "raw-data",
    "BasicVoiceAudio": "audio",
    "GeneralAudio": "audio",
    "AudioSR": "audio",
    "StandaloneOverlay": "retired-graphics",
    "StandaloneCurve": "retired-graphics",
    "StandalonePETCurve": "retired-graphics",
    "Inventory": "inventory",
}
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
BULK = frozenset(map(tag_for_keyword, PIXELS))
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
REGIONS = "SequenceOfUltrasoundRegions"
VIDEO_SYNTAXES = ("MPEG", "HEVC")  # streams with boxes and tracks of their own

# Which images are looked at for burned-in text, by the first part of their class's keyword that fits.
Rule = Literal["always", "unless the sender says NO", "if rendered", "if a label", "never"]
LOOKED_AT: dict[str, tuple[Rule, str]] = {
    "Segmentation": ("never", "numbers of an algorithm"),
    "ParametricMap": ("never", "as segmentations"),
    "RTDose": ("never", "as segmentations"),
    "Microscopy": ("if a label", "the slide's label has the name on it, its tissue has not"),
    "CTImage": ("if rendered", "slices from the scanner hold no text; what a workstation made of them does"),
    "MRImage": ("if rendered", "as CT"),
    "EnhancedMRColor": ("always", "colour is a rendering"),
    "CTImageStorage": ("if rendered", "as CT"),
    "EnhancedPET": ("if rendered", "as CT"),
    "PositronEmission": ("if rendered", "as CT"),
    "NuclearMedicine": ("if rendered", "as CT"),
    "Tomosynthesis": ("if rendered", "as CT"),
    "XRay3D": ("if rendered", "as CT"),
    "OphthalmicTomography": ("if rendered", "as CT"),
    "DigitalXRay": ("unless the sender says NO", "the detector's image; some consoles burn markers and names in"),
    "DigitalMammography": ("unless the sender says NO", "as digital radiographs"),
    "DigitalIntraOral": ("unless the sender says NO", "as digital radiographs"),
    "ComputedRadiography": ("unless the sender says NO", "plates carry flashed names, films that were scanned too"),
    "RTImage": ("unless the sender says NO", "portal images with a console's overlay"),
    "XRayAngiographic": ("unless the sender says NO", "fluoroscopy: consoles write beside the field"),
    "XRayRadiofluoroscopic": ("unless the sender says NO", "as angiography"),
    "Ultrasound": ("always", "the machine writes name, date and measures around the sector"),
    "SecondaryCapture": ("always", "whatever was on a screen, a film or a sheet of paper"),
    "Hardcopy": ("always", "a page as it was printed"),
    "Photographic": ("always", "cameras write dates; people hold up name plates"),
    "Endoscop": ("always", "processors write name and date beside the picture"),
}  # every other image class: always
RENDERED_TYPES = frozenset({
    "SCREEN SAVE", "SCREENSAVE", "SCREEN", "REPORT", "DOSE", "FUSED", "CAPTURE", "DISPLAY", "PROTOCOL",
    "PATIENT_PROTOCOL",
})  # fmt: skip
LABEL_TYPES = frozenset({"LABEL", "OVERVIEW", "THUMBNAIL"})  # the overview often shows the label, too
SMALLEST = 24  # pixels a side; no line of text fits into less
SCREEN_BITS = 8
NAMED_BY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def refusal(dataset: FileDataset) -> str | None:
    """Why this instance cannot be de-identified, as a code, or None."""
    sop_class = _sop_class(dataset)
    for start, reason in REFUSED.items():
        if sop_class.keyword.startswith(start):
            return reason
    if "Storage" not in sop_class.keyword or sop_class.type != "SOP Class":
        return "sop-class-unknown"
    if not all(_has_uid(dataset, keyword) for keyword in NAMED_BY):
        return "uid-missing"
    if dataset.file_meta.TransferSyntaxUID.keyword.startswith(VIDEO_SYNTAXES):
        return "video"
    return "pixels-missing" if _lacks_pixels(dataset) else None


def _has_uid(dataset: FileDataset, keyword: str) -> bool:
    """Under another VR it would not reach the copy."""
    return bool(dataset.get(keyword)) and dataset[keyword].VR == "UI"


def _sop_class(dataset: FileDataset) -> UID:
    """Of the data set, else of the file meta information; an empty one where neither is a single UID."""
    found = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
    return UID(found if isinstance(found, str) else "")


def pixel_state(dataset: FileDataset) -> Pixels:
    """Whether the pixels may show identity. Nobody has looked at them: `plain` is what the class leads to expect."""
    if not any(keyword in dataset for keyword in PIXELS):
        return "none"
    if dataset.get("BurnedInAnnotation") == "YES":
        return "burned-in"
    return "suspect" if _is_suspect(dataset) else "plain"


def _is_suspect(dataset: FileDataset) -> bool:
    if min(dataset.get("Rows") or 0, dataset.get("Columns") or 0) < SMALLEST:
        return False
    keyword = _sop_class(dataset).keyword
    types = {text.upper() for text in texts(dataset["ImageType"])} if "ImageType" in dataset else set()
    rule: Rule = next((rule for part, (rule, _) in LOOKED_AT.items() if part in keyword), "always")
    answers: dict[Rule, bool] = {
        "always": True,
        "unless the sender says NO": dataset.get("BurnedInAnnotation") != "NO" or bool(types & RENDERED_TYPES),
        "if rendered": bool(types & RENDERED_TYPES) or _is_rendered(dataset) or REGIONS in dataset,
        "if a label": bool(types & LABEL_TYPES),
        "never": False,
    }
    return answers[rule]


def _is_rendered(dataset: FileDataset) -> bool:
    """Scanners count in more than eight bits and without colour; screens do not."""
    return int(dataset.get("SamplesPerPixel") or 1) > 1 or int(dataset.get("BitsAllocated") or 16) <= SCREEN_BITS


def end_of_frames(dataset: Dataset) -> int:
    """Where native pixels end, padded to an even length (PS3.5 §8.1.1); raises as pydicom if their size is not told."""
    length: int = get_expected_length(dataset)
    return length + length % 2


def _lacks_pixels(dataset: FileDataset) -> bool:
    """Whether an image class has no pixels at all, or fewer native ones than its rows, columns and frames say."""
    if not any(keyword in dataset for keyword in PIXELS):
        return "Image" in _sop_class(dataset).keyword and "Rows" in dataset
    if dataset.file_meta.TransferSyntaxUID not in NATIVE or "PixelData" not in dataset:
        return False
    try:
        return bool(len(dataset.PixelData) < get_expected_length(dataset))
    except Exception:  # noqa: BLE001  a pixel module without its numbers cannot be shown by anybody
        return True
