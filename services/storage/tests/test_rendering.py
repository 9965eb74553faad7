"""Frames and pictures of real images: the files inside the pydicom package."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from radrelay_shared.errors import NotFound
from radrelay_storage.frames import index_frames
from radrelay_storage.pixels import explicit
from radrelay_storage.problems import BadQuery, NotAcceptable
from radrelay_storage.rendering import Look, Viewport, Window, eight_bits, parse_viewport, parse_window, render
from real_files import TEST_FILES


def frames(name: str) -> list[bytes]:
    raw = (TEST_FILES / name).read_bytes()
    table = index_frames(io.BytesIO(raw))
    found = [bytes(frame.cut(raw[frame.span[0] : sum(frame.span)])) for frame in table]
    assert all(frame.intact(content) for frame, content in zip(table, found, strict=True))
    return found


@pytest.mark.parametrize(
    ("name", "count", "length"),
    [
        ("CT_small.dcm", 1, 128 * 128 * 2),
        ("MR_small_implicit.dcm", 1, 64 * 64 * 2),
        ("SC_rgb_small_odd.dcm", 1, 3 * 3 * 3),
        ("SC_ybr_full_422_uncompressed.dcm", 1, 100 * 100 * 2),
        ("liver_1frame.dcm", 1, 512 * 512 // 8),
        ("rtdose.dcm", 15, 10 * 10 * 4),
    ],
)
def test_native_frames_are_runs_of_equal_length(name: str, count: int, length: int) -> None:
    found = frames(name)
    assert [len(frame) for frame in found] == [length] * count
    assert dcmread(TEST_FILES / name).PixelData.startswith(b"".join(found))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("examples_ybr_color.dcm", 30),
        ("SC_rgb_jpeg_dcmtk.dcm", 1),
        ("MR_small_RLE.dcm", 1),
        ("rtdose_rle.dcm", 15),
        ("MR_small_jp2klossless.dcm", 1),
        ("MR_small_jpeg_ls_lossless.dcm", 1),
    ],
)
def test_compressed_frames_are_found_whole_in_their_fragments(name: str, count: int) -> None:
    expected = list(generate_frames(dcmread(TEST_FILES / name).PixelData, number_of_frames=count))
    assert frames(name) == expected


def test_an_instance_without_pixels_has_no_frames() -> None:
    with pytest.raises(NotFound):
        frames("test-SR.dcm")


def test_a_truncated_image_gives_no_frame_rather_than_half_a_frame() -> None:
    with pytest.raises(NotAcceptable):
        frames("MR_truncated.dcm")


def picture(name: str, number: int = 1, **look: Any) -> Any:
    content = render(io.BytesIO((TEST_FILES / name).read_bytes()), number, Look(**{"media_type": "image/png", **look}))
    return np.asarray(Image.open(io.BytesIO(content)))


def test_a_head_ct_in_its_brain_window_is_black_below_and_white_above() -> None:
    """Window 40/80 of a CT: 0 HU and less is black, 80 HU and more is white."""
    hounsfield = dcmread(TEST_FILES / "CT_small.dcm").pixel_array.astype(int) - 1024
    shown = picture("CT_small.dcm", window=Window(40, 80))
    assert shown.shape == (128, 128)
    assert set(shown[hounsfield <= 0]) == {0}
    assert set(shown[hounsfield >= 80]) == {255}
    between = shown[(hounsfield > 30) & (hounsfield < 50)]
    assert between.size == 0 or (between.min() > 60 and between.max() < 195)


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
    ],
)
def test_the_same_mr_looks_the_same_in_every_transfer_syntax(name: str) -> None:
    assert np.array_equal(picture(name), picture("MR_small.dcm"))


def test_colour_ultrasound_is_shown_as_pydicom_decodes_it() -> None:
    shown = picture("examples_rgb_color.dcm")
    assert np.array_equal(shown, dcmread(TEST_FILES / "examples_rgb_color.dcm").pixel_array)


def test_every_frame_of_a_cine_loop_can_be_shown() -> None:
    assert picture("examples_ybr_color.dcm", 30, media_type="image/jpeg").shape == (240, 320, 3)
    with pytest.raises(NotFound):
        picture("examples_ybr_color.dcm", 31)


def test_a_palette_becomes_colours() -> None:
    assert picture("examples_palette.dcm").shape == (350, 800, 3)


def test_a_deflated_instance_is_inflated_first() -> None:
    assert picture("image_dfl.dcm").shape == (512, 512)


@pytest.mark.parametrize("name", ["JPEG-lossy.dcm", "JPGExtended.dcm"])
def test_pixels_that_cannot_be_decoded_here_are_refused_in_plain_words(name: str) -> None:
    with pytest.raises(NotAcceptable, match="cannot be decoded here"):
        picture(name)


def test_a_structured_report_is_no_picture() -> None:
    with pytest.raises(NotAcceptable, match="no image"):
        picture("test-SR.dcm")


def grey_header(**changes: Any) -> Dataset:
    header = Dataset()
    header.SamplesPerPixel, header.BitsStored, header.PhotometricInterpretation = 1, 8, "MONOCHROME2"
    for name, value in changes.items():
        setattr(header, name, value)
    return header


def test_monochrome1_is_shown_with_high_values_dark() -> None:
    values = np.array([[0, 100]], np.uint8)
    assert eight_bits(values, grey_header(PhotometricInterpretation="MONOCHROME1"), None).tolist() == [[255, 0]]


def test_without_a_window_the_image_spans_black_to_white_even_if_flat() -> None:
    assert eight_bits(np.array([[10, 20, 30]]), grey_header(), None).tolist() == [[0, 128, 255]]
    assert eight_bits(np.array([[7, 7]]), grey_header(), None).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("function", "expected"),
    [("LINEAR", [0, 0, 128, 255, 255]), ("LINEAR_EXACT", [0, 0, 128, 255, 255]), ("SIGMOID", [5, 30, 128, 225, 250])],
)
def test_the_three_window_functions(function: str, expected: list[int]) -> None:
    """Centre 100, width 100, as PS3.3 §C.11.2.1.2 and §C.11.2.1.3 define them."""
    header = grey_header(WindowCenter=100, WindowWidth=100, VOILUTFunction=function)
    shown = eight_bits(np.array([[0, 48, 100, 152, 200]]), header, None)
    assert np.abs(shown.astype(int) - expected).max() <= 2


def test_a_window_is_a_centre_a_width_and_maybe_a_function() -> None:
    assert parse_window("40,400") == Window(40, 400, "LINEAR")
    assert parse_window("-600,1500.5,linear-exact") == Window(-600, 1500.5, "LINEAR_EXACT")
    assert parse_window(None) is None
    for wrong in ("40", "40,0", "40,-1", "a,b", "40,400,cubic"):
        with pytest.raises(BadQuery):
            parse_window(wrong)


def test_a_viewport_bounds_the_picture_and_keeps_its_proportions() -> None:
    assert picture("examples_rgb_color.dcm").shape == (240, 320, 3)
    assert picture("examples_rgb_color.dcm", viewport=Viewport(160, 160)).shape == (120, 160, 3)
    assert picture("CT_small.dcm", viewport=Viewport(512, 300)).shape == (300, 300)


def test_a_region_of_an_image_can_be_shown_mirrored() -> None:
    whole = picture("CT_small.dcm")
    part = picture("CT_small.dcm", viewport=Viewport(32, 16, (10, 20, 32, 16)))
    assert np.array_equal(part, whole[20:36, 10:42])
    mirrored = picture("CT_small.dcm", viewport=Viewport(32, 16, (10, 20, 32, 16), mirrored=True))
    assert np.array_equal(mirrored, part[:, ::-1])
    with pytest.raises(BadQuery, match="outside"):
        picture("CT_small.dcm", viewport=Viewport(32, 16, (128, 0, 10, 10)))


def test_a_viewport_is_a_size_and_maybe_a_region() -> None:
    assert parse_viewport("512,256") == Viewport(512, 256)
    assert parse_viewport("64,64,10,20,-32,16") == Viewport(64, 64, (10, 20, 32, 16), mirrored=True)
    assert parse_viewport(None) is None
    for wrong in ("512", "0,10", "512,512,1", "9000,10", "64,64,0,0,0,10", "a,b"):
        with pytest.raises(BadQuery):
            parse_viewport(wrong)


def test_pixels_without_a_decoder_are_not_transcoded() -> None:
    with pytest.raises(NotAcceptable, match="cannot be decoded here"):
        explicit(io.BytesIO((TEST_FILES / "JPGExtended.dcm").read_bytes()))
