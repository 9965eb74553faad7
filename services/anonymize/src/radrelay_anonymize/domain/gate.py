"""What may pass the engine at all, and whose pixels may show identity. Whatever is unknown does not pass."""

from __future__ import annotations

from typing import Literal

from pydicom.dataset import FileDataset
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
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
OVERLAY_GROUPS, OVERLAY_BIT_POSITION = 0x60, 0x0102
VIDEO_SYNTAXES = ("MPEG", "HEVC")  # streams with boxes and tracks of their own

# Images that people or machines write on, or that show faces and bodies: part of the keyword.
SUSPECT_CLASSES = (
    "Ultrasound", "SecondaryCapture", "PhotographicImage", "VLEndoscopic", "VLImageStorageTrial",
    "VLMultiFrameImageStorageTrial", "DermoscopicPhotography", "HardcopyGrayscale", "HardcopyColor",
)  # fmt: skip
SUSPECT_TYPES = {"SCREEN SAVE", "SCREENSAVE", "SCREEN", "REPORT", "DOSE", "FUSED", "CAPTURE"}


def refusal(dataset: FileDataset) -> str | None:
    """Why this instance cannot be de-identified, as a code, or None."""
    sop_class = UID(dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    for start, reason in REFUSED.items():
        if sop_class.keyword.startswith(start):
            return reason
    if "Storage" not in sop_class.keyword or sop_class.type != "SOP Class":
        return "sop-class-unknown"
    if not all(dataset.get(keyword) for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")):
        return "uid-missing"
    if dataset.file_meta.TransferSyntaxUID.keyword.startswith(VIDEO_SYNTAXES):
        return "video"
    return "pixels-missing" if _lacks_pixels(dataset) else None


def pixel_state(dataset: FileDataset) -> Pixels:
    """Whether the pixels may show identity. Nobody has looked at them: `plain` is what the class leads to expect."""
    if not any(keyword in dataset for keyword in PIXELS):
        return "none"
    if dataset.get("BurnedInAnnotation") == "YES":
        return "burned-in"
    return "suspect" if _is_suspect(dataset) else "plain"


def _is_suspect(dataset: FileDataset) -> bool:
    keyword = UID(dataset.SOPClassUID).keyword
    types = {text.upper() for text in texts(dataset["ImageType"])} if "ImageType" in dataset else set()
    return any(part in keyword for part in SUSPECT_CLASSES) or bool(types & SUSPECT_TYPES) or _has_drawn_bits(dataset)


def _has_drawn_bits(dataset: FileDataset) -> bool:
    """Whether an overlay lives in unused bits of the pixels (retired): then its element goes, but its bits stay."""
    positions = [
        tag
        for tag in dataset.keys()  # noqa: SIM118  a Dataset iterates over elements, parsing them
        if tag >> 24 == OVERLAY_GROUPS and tag & 0xFFFF == OVERLAY_BIT_POSITION
    ]
    return any(dataset[tag].value for tag in positions)


def _lacks_pixels(dataset: FileDataset) -> bool:
    """Whether an image class has no pixels at all, or fewer native ones than its rows, columns and frames say."""
    if not any(keyword in dataset for keyword in PIXELS):
        return "Image" in UID(dataset.SOPClassUID).keyword and "Rows" in dataset
    if dataset.file_meta.TransferSyntaxUID not in NATIVE or "PixelData" not in dataset:
        return False
    try:
        return bool(len(dataset.PixelData) < get_expected_length(dataset))
    except Exception:  # noqa: BLE001  a pixel module without its numbers cannot be shown by anybody
        return True
