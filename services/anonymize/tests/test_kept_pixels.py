"""Pixels in which nothing hides leave as the very bytes that came: generated images of many forms, and real files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from burned import background, encoded, instance, jpeg
from radrelay_anonymize.domain import Context, Released, release
from radrelay_anonymize.domain.profile import packaged, packaged_names
from radrelay_anonymize.pixels import without_identity
from radrelay_anonymize.pixels.worker import Washer
from radrelay_shared.dicom.reading import quietly
from real_files import FILES, is_part10

CT = "1.2.840.10008.5.1.4.1.1.2"
DRAW = np.random.default_rng(4)
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def drawn(kind: str, most: int, *, least: int = 0, colour: bool = False, frames: int = 1) -> Any:
    return DRAW.integers(least, most, (frames, 66, 75, 3) if colour else (frames, 66, 75)).astype(kind)


FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "8 bits": (drawn("u1", 256), {}),
    "8 bits, 3 frames": (drawn("u1", 256, frames=3), {}),
    "12 of 16 bits": (drawn("<u2", 4096), {"BitsStored": 12, "HighBit": 11}),
    "12 of 16 bits, 5 frames": (drawn("<u2", 4096, frames=5), {"BitsStored": 12, "HighBit": 11}),
    "12 of 16 bits, signed": (
        drawn("<i2", 2048, least=-2048), {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1},
    ),
    "10 of 16 bits, the upper ones": (drawn("<u2", 1024) << 6, {"BitsStored": 10}),
    "16 bits": (drawn("<u2", 1 << 16), {}),
    "16 bits, signed": (drawn("<i2", 1 << 15, least=-(1 << 15)), {"PixelRepresentation": 1}),
    "32 bits": (drawn("<u4", 1 << 32), {}),
    "colour": (drawn("u1", 256, colour=True), {}),
    "colour, 2 frames": (drawn("u1", 256, colour=True, frames=2), {}),
    "colour by plane": (drawn("u1", 256, colour=True), {"PlanarConfiguration": 1}),
}  # fmt: skip
NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)  # big endian: real files
NOT_CODED = {"10 of 16 bits, the upper ones", "32 bits", "colour by plane"}  # no encoder here makes such images
CASES = [(form, uid) for form in FORMS for uid in (*NATIVE, RLELossless, JPEGLSLossless)
         if uid in NATIVE or form not in NOT_CODED]  # fmt: skip


@pytest.fixture(scope="module")
def washer() -> Iterator[Washer]:
    washer = Washer()
    yield washer
    washer.close()


def image(form: str, syntax: str) -> bytes:
    values, tags = FORMS[form]
    found = instance(values, CT, Modality="CT", **tags)
    if syntax in NATIVE:
        found.file_meta.TransferSyntaxUID = syntax
    else:
        found.compress(syntax, generate_instance_uid=False)
    return encoded(found)


def shown(data: bytes) -> FileDataset:
    with quietly():
        return pydicom.dcmread(io.BytesIO(data))


def pixels(data: bytes) -> list[bytes | None]:
    return [shown(data).get(keyword) for keyword in PIXELS]


def washed(data: bytes, context: Context, washer: Washer) -> Released:
    found = release(data, context)
    assert isinstance(found, Released)
    made = without_identity(found, context, washer)
    assert isinstance(made, Released)
    return made


@pytest.mark.parametrize(("form", "syntax"), CASES, ids=[f"{form}, {uid.keyword}" for form, uid in CASES])
def test_pixels_of_every_form_stay_as_they_are(form: str, syntax: str, context: Context, washer: Washer) -> None:
    data = image(form, syntax)
    rendered = "colour" in form or form.startswith("8 bits")  # which other profiles look at
    for name in {"basic"} if rendered else packaged_names():
        made = washed(data, replace(context, profile=packaged(name)), washer)
        assert pixels(made.data) == pixels(data)


@pytest.mark.parametrize("form", sorted(FORMS.keys() - NOT_CODED))
def test_jpeg_2000_loses_its_encoders_signature_and_no_pixel(form: str, context: Context, washer: Washer) -> None:
    data = image(form, JPEG2000Lossless)
    made = washed(data, replace(context, profile=packaged("basic")), washer)
    assert b"OpenJPEG" in data
    assert b"OpenJPEG" not in made.data
    assert np.array_equal(shown(made.data).pixel_array, shown(data).pixel_array)


def test_a_jpeg_without_a_comment_stays_as_it_is(context: Context, washer: Washer) -> None:
    data = encoded(jpeg(background("fan", 64, 64, 1).astype(np.uint8)))
    assert pixels(washed(data, replace(context, profile=packaged("basic")), washer).data) == pixels(data)


# Of pydicom's files those in which something hides: comments of encoders, application segments, and unused bits.
HIDING = {
    "693_J2KI.dcm": "bits above those stored",
    "GDCMJ2K_TextGBR.dcm": "comment",
    "J2K_pixelrep_mismatch.dcm": "comment",
    "JPEG-lossy.dcm": "comment",
    "JPEG2000-embedded-sequence-delimiter.dcm": "comment",
    "JPEG2000.dcm": "comment",
    "JPGExtended.dcm": "comment",
    "MR_small_jp2klossless.dcm": "comment",
    "SC_rgb_gdcm_KY.dcm": "comment",
    "examples_jpeg2k.dcm": "comment",
}


@pytest.mark.parametrize("file", [pytest.param(file, id=file.name) for file in FILES if is_part10(file)])
def test_pixels_of_a_real_file_stay_as_they_are_unless_something_hides_in_them(
    file: Path, context: Context, washer: Washer
) -> None:
    """Under a profile that does not look for burned-in text; what is refused has its own tests."""
    basic, data = replace(context, profile=packaged("basic")), file.read_bytes()
    found = release(data, basic)
    if not isinstance(found, Released):
        return
    made = without_identity(found, basic, washer)
    assert isinstance(made, Released)
    assert (pixels(made.data) == pixels(data)) is (file.name not in HIDING)
