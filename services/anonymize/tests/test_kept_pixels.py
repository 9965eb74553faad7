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
from hideouts.values import BOTH, KNOWN, STRANGER, found
from hideouts.writing import ENCODINGS, file, plain
from hideouts.writing import image as plain_image
from radrelay_anonymize.domain import Context, Quarantined, Released, release
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
    made = instance(values, CT, Modality="CT", **tags)
    if syntax in NATIVE:
        made.file_meta.TransferSyntaxUID = syntax
    else:
        made.compress(syntax, generate_instance_uid=False)
    return encoded(made)


def shown(data: bytes) -> FileDataset:
    with quietly():
        return pydicom.dcmread(io.BytesIO(data))


def pixels(data: bytes) -> list[bytes | None]:
    return [shown(data).get(keyword) for keyword in PIXELS]


def washed(data: bytes, context: Context, washer: Washer) -> Released:
    released = release(data, context)
    assert isinstance(released, Released)
    made = without_identity(released, context, washer)
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


@pytest.mark.parametrize("behind", [BOTH.encode() + b" ", bytes(64) + BOTH.encode() + b" "], ids=["at once", "later"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_behind_the_last_frame_goes(encoding: str, behind: bytes, context: Context, washer: Washer) -> None:
    how = ENCODINGS[encoding]
    pixels_and_more = how.element(0x7FE00010, "OW", bytes(range(8)) + behind)
    data = file(how, plain_image(how, "Other^Ann") | {0x7FE00010: pixels_and_more})
    copy = washed(data, context, washer).data
    assert found(plain(data), how.order) == {KNOWN, STRANGER}
    assert found(plain(copy), how.order) == set()
    assert shown(copy).PixelData[:8] == bytes(range(8))


@pytest.mark.parametrize("missing", [0x00280002, 0x00280004, 0x00280010, 0x00280100])
def test_pixels_whose_end_the_header_does_not_tell_are_held(missing: int, context: Context, washer: Washer) -> None:
    how = ENCODINGS["explicit"]
    elements = plain_image(how, "Other^Ann") | {0x7FE00008: how.element(0x7FE00008, "OF", bytes(16))}
    data = file(how, {tag: each for tag, each in elements.items() if tag not in {missing, 0x7FE00010}})
    released = release(data, context)
    assert isinstance(released, Released)
    assert without_identity(released, context, washer) == Quarantined(("pixels-unreadable",))


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


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in FILES if is_part10(path)])
def test_pixels_of_a_real_file_stay_as_they_are_unless_something_hides_in_them(
    path: Path, context: Context, washer: Washer
) -> None:
    """Under a profile that does not look for burned-in text; what is refused has its own tests."""
    basic, data = replace(context, profile=packaged("basic")), path.read_bytes()
    if isinstance(release(data, basic), Released):
        assert (pixels(washed(data, basic, washer).data) == pixels(data)) is (path.name not in HIDING)
