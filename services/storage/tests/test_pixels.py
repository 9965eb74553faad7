"""Every compressed, big-endian and deflated image inside the pydicom package comes out with the pixels it has."""

from __future__ import annotations

import base64
import io

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2KLossless

from radrelay_storage.decoders import DECODERS, decodable
from radrelay_storage.pixels import explicit, plain_frame
from radrelay_storage.rendering import Look, render
from real_files import TEST_FILES

TRANSCODED = {  # by transfer syntax
    "1.2.840.10008.1.2": ["MR_small_implicit.dcm"],
    "1.2.840.10008.1.2.1": ["CT_small.dcm"],
    "1.2.840.10008.1.2.1.99": ["image_dfl.dcm"],
    "1.2.840.10008.1.2.2": [
        "ExplVR_BigEnd.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_expb.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "liver_expb_1frame.dcm",
    ],
    "1.2.840.10008.1.2.4.50": [
        "SC_jpeg_no_color_transform.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+n1.dcm",
        "SC_rgb_dcmtk_+eb+cy+s2.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_rgb_jpeg_lossy_gdcm.dcm",
        "SC_rgb_small_odd_jpeg.dcm",
        "examples_ybr_color.dcm",
    ],
    "1.2.840.10008.1.2.4.70": ["SC_rgb_jpeg_gdcm.dcm"],
    "1.2.840.10008.1.2.4.80": ["MR_small_jpeg_ls_lossless.dcm"],
    "1.2.840.10008.1.2.4.81": [
        "JPEGLSNearLossless_08.dcm",
        "JPEGLSNearLossless_16.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jls_lossy_sample.dcm",
    ],
    "1.2.840.10008.1.2.4.90": [
        "GDCMJ2K_TextGBR.dcm",
        "J2K_pixelrep_mismatch.dcm",
        "MR_small_jp2klossless.dcm",
        "examples_jpeg2k.dcm",
    ],
    "1.2.840.10008.1.2.4.91": ["693_J2KI.dcm", "JPEG2000.dcm", "SC_rgb_gdcm_KY.dcm"],
    "1.2.840.10008.1.2.5": [
        "MR_small_RLE.dcm",
        "SC_rgb_rle_16bit_2frame.dcm",
        "SC_rgb_rle_2frame.dcm",
        "SC_rgb_rle_32bit.dcm",
        "rtdose_rle.dcm",
    ],
}
CASES = [(syntax, name) for syntax, names in TRANSCODED.items() for name in names]
# 16 x 16 pixels of 16 bits, each 16 more than the one before it, losslessly encoded by OpenJPH.
HTJ2K_RAMP = base64.b64decode(
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQ"
    "kJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAH4AAf+TwAAmSfYFB3QAAMAAEsAAEwAiAYd0AEbyA4d0AMAAE0AA"
    "E4AQyAECdAAe6ZEAw1QAwAAVEAAFYIZhGKpwgnUAfvTDDz/+wFKB7LYAwAArIAAWkO7u7u7nwKenp8J4AP79/f39/f39/Yxge/Yxgey6AP/Z"
)


@pytest.mark.parametrize(("syntax", "name"), CASES)
def test_an_instance_made_explicit_little_endian_has_the_same_pixels_and_words(syntax: str, name: str) -> None:
    stored = dcmread(TEST_FILES / name)
    made = dcmread(io.BytesIO(explicit(io.BytesIO((TEST_FILES / name).read_bytes()))))
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert made.SOPInstanceUID == stored.SOPInstanceUID
    assert made.get("PatientName") == stored.get("PatientName")
    assert np.array_equal(made.pixel_array, stored.pixel_array)


@pytest.mark.parametrize(("syntax", "name"), CASES)
def test_a_plain_frame_has_the_pixels_that_pydicom_decodes(syntax: str, name: str) -> None:
    assert decodable(syntax)
    stored = dcmread(TEST_FILES / name)
    count = int(stored.get("NumberOfFrames") or 1)
    plain = plain_frame(io.BytesIO((TEST_FILES / name).read_bytes()), count)
    made = dcmread(io.BytesIO(explicit(io.BytesIO((TEST_FILES / name).read_bytes()))))
    length = stored.Rows * stored.Columns * stored.SamplesPerPixel * stored.BitsAllocated // 8
    assert len(plain) == length
    assert made.PixelData[length * (count - 1) : length * count] == plain


@pytest.mark.parametrize("name", [name for _, name in CASES if "rgb" in name or "ybr" in name or "color" in name])
def test_colour_is_shown_with_the_pixels_that_pydicom_decodes(name: str) -> None:
    stored = dcmread(TEST_FILES / name)
    shown = render(io.BytesIO((TEST_FILES / name).read_bytes()), 1, Look("image/png"))
    frames = stored.pixel_array if int(stored.get("NumberOfFrames") or 1) > 1 else [stored.pixel_array]
    expected = np.rint(frames[0] / (2**stored.BitsStored - 1) * 255)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(shown))), expected)


def test_high_throughput_jpeg_2000_is_decoded() -> None:
    stored = dcmread(TEST_FILES / "CT_small.dcm")
    stored.file_meta.TransferSyntaxUID = HTJ2KLossless
    stored.Rows = stored.Columns = 16
    stored.BitsStored, stored.HighBit, stored.PixelRepresentation = 16, 15, 0
    stored.PixelData = encapsulate([HTJ2K_RAMP])
    file = io.BytesIO()
    stored.save_as(file, enforce_file_format=True)
    assert np.frombuffer(plain_frame(io.BytesIO(file.getvalue()), 1), "<u2").tolist() == list(range(0, 4096, 16))


def test_every_decoder_of_the_table_is_installed() -> None:
    for syntax, name in DECODERS.items():
        assert pydicom.pixels.get_decoder(syntax)._available.get(name), (syntax, name)
