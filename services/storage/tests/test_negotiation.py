"""What viewers accept, and what they are sent (PS3.18 §8.7)."""

from __future__ import annotations

import pytest

from radrelay_storage.negotiation import FrameForm, check_instances, frame_form, json_type, rendered_type
from radrelay_storage.problems import NotAcceptable

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
JPEG, J2K, RLE, JLS = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.80",
)
DICOM = 'multipart/related; type="application/dicom"'
OCTETS = 'multipart/related; type="application/octet-stream"'

FRAMES: list[tuple[str | None, str, FrameForm]] = [
    (None, EXPLICIT, FrameForm("application/octet-stream", EXPLICIT)),
    ("*/*", IMPLICIT, FrameForm("application/octet-stream", EXPLICIT)),
    (OCTETS, EXPLICIT, FrameForm("application/octet-stream", EXPLICIT)),
    (f"{OCTETS}; transfer-syntax={EXPLICIT}", IMPLICIT, FrameForm("application/octet-stream", EXPLICIT)),
    (None, JPEG, FrameForm("image/jpeg", JPEG)),
    ('multipart/related; type="image/jpeg"', JPEG, FrameForm("image/jpeg", JPEG)),
    ("multipart/related; type=image/jp2; transfer-syntax=" + J2K, J2K, FrameForm("image/jp2", J2K)),
    (f"{OCTETS}; transfer-syntax=*", J2K, FrameForm("application/octet-stream", J2K)),
    ('multipart/related; type="image/*"', RLE, FrameForm("image/dicom-rle", RLE)),
    ('multipart/related; type="*/*"', JLS, FrameForm("image/jls", JLS)),
    (f'{OCTETS}, multipart/related; type="image/jls"; q=0.5', JLS, FrameForm("image/jls", JLS)),
]


@pytest.mark.parametrize(("accept", "stored", "form"), FRAMES)
def test_stored_frames_are_sent_under_a_name_that_the_viewer_accepts(
    accept: str | None, stored: str, form: FrameForm
) -> None:
    assert frame_form(accept, stored) == form


@pytest.mark.parametrize(
    ("accept", "stored"),
    [
        (OCTETS, JPEG),
        (f"{OCTETS}; transfer-syntax={EXPLICIT}", J2K),
        (f'multipart/related; type="image/jpeg"; transfer-syntax={JPEG}', J2K),
        ('multipart/related; type="image/jpeg"', EXPLICIT),
        ("image/png", EXPLICIT),
        ("*/*;q=0", EXPLICIT),
        ("*/*", BIG),
    ],
)
def test_frames_that_would_need_transcoding_are_not_acceptable(accept: str, stored: str) -> None:
    with pytest.raises(NotAcceptable) as caught:
        frame_form(accept, stored)
    assert stored in caught.value.detail or EXPLICIT in caught.value.detail


def test_a_content_type_of_a_frame_names_the_transfer_syntax() -> None:
    assert FrameForm("image/jpeg", JPEG).content_type == "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        'multipart/related; type="application/dicom"',
        'multipart/related; type="application/dicom"; transfer-syntax=*',
        f"{DICOM}; transfer-syntax={JPEG}, {DICOM}; transfer-syntax={EXPLICIT}",
    ],
)
def test_instances_are_sent_as_they_are_stored(accept: str | None) -> None:
    check_instances(accept, {EXPLICIT, JPEG})


@pytest.mark.parametrize(
    "accept",
    [
        "application/dicom+json",
        'multipart/related; type="application/octet-stream"',
        f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT}',
    ],
)
def test_instances_in_another_form_are_not_acceptable(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        check_instances(accept, {EXPLICIT, JPEG})


def test_json_is_dicom_json_unless_only_plain_json_is_accepted() -> None:
    assert json_type("application/dicom+json, application/json") == "application/dicom+json"
    assert json_type("application/json") == "application/json"
    assert json_type(None) == "application/dicom+json"
    with pytest.raises(NotAcceptable):
        json_type('multipart/related; type="application/dicom+xml"')


def test_pictures_are_jpeg_unless_png_is_preferred() -> None:
    assert rendered_type(None) == "image/jpeg"
    assert rendered_type("image/*") == "image/jpeg"
    assert rendered_type("image/png, image/jpeg;q=0.5") == "image/png"
    with pytest.raises(NotAcceptable):
        rendered_type("image/gif")
