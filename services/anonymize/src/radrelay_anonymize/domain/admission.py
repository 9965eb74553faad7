"""The gate's questions, answered from raw elements: whether an instance may pass, and what its pixels may show."""

from __future__ import annotations

import functools
from typing import NamedTuple

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.tag import BaseTag

from radrelay_anonymize.domain.gate import BULK, REGIONS, Pixels, pixel_state, refusal
from radrelay_anonymize.domain.part10 import Part10
from radrelay_anonymize.domain.runs import Element, Run
from radrelay_shared.dicom.reading import quietly

# What `gate` asks an instance for. Of these it is enough to know that they are there.
PRESENT = frozenset(map(tag_for_keyword, ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", REGIONS)))
ASKED = PRESENT | frozenset(
    map(
        tag_for_keyword,
        (
            "SOPClassUID", "ImageType", "BurnedInAnnotation", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
            "BitsAllocated", "PhotometricInterpretation",
        ),
    )
)  # fmt: skip
META_CLASS = 0x00020002


class Raw(NamedTuple):
    tag: int
    vr: str
    value: bytes | range  # of pixels, only the length is told


class Admission(NamedTuple):
    """`refusal` is a reason or None; `annotation` is what the source says of burned-in text."""

    refusal: str | None
    pixels: Pixels
    annotation: str | None


def admission(source: Part10) -> Admission:
    """As `gate` would say of the data set; the answer is remembered, for a series' instances are alike."""
    asked = [each for run in source.dataset.runs for each in (_recalled(run) if run.raw else _asked(run))]
    classes = [_raw(each) for each in source.meta.elements if each[0] == META_CLASS]
    return _answer(source.syntax, tuple(classes), tuple(asked), implicit=source.dataset.implicit)


def _asked(run: Run) -> tuple[Raw, ...]:
    return tuple([_raw(each) for each in run.elements if _is_asked(each[0])])


_recalled = functools.lru_cache(maxsize=1024)(_asked)


@functools.lru_cache(maxsize=8192)
def _is_asked(tag: int) -> bool:
    return tag in ASKED or tag in BULK


def _raw(element: Element) -> Raw:
    tag, vr, raw, start, _ = element
    if tag in BULK:
        return Raw(tag, vr, range(len(raw) - start))
    value = bytes(raw[start:])
    return Raw(tag, vr, value if tag not in PRESENT else b"1 " if value.strip(b"\0 ") else b"")


@functools.lru_cache(maxsize=256)
def _answer(syntax: str, classes: tuple[Raw, ...], asked: tuple[Raw, ...], *, implicit: bool) -> Admission:
    meta = FileMetaDataset({BaseTag(each.tag): _element(each, implicit=False) for each in classes})
    meta.TransferSyntaxUID = syntax
    elements = {BaseTag(each.tag): _element(each, implicit=implicit) for each in asked}
    dataset = FileDataset(None, elements, file_meta=meta)
    with quietly():
        reason = refusal(dataset)
        if reason:
            return Admission(reason, "none", None)
        return Admission(None, pixel_state(dataset), dataset.get("BurnedInAnnotation"))


def _element(raw: Raw, *, implicit: bool) -> RawDataElement:
    return RawDataElement(BaseTag(raw.tag), raw.vr, len(raw.value), raw.value, 0, implicit, True)
