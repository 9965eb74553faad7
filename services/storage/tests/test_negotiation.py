"""What viewers accept, and what they are sent (PS3.18 §8.7)."""

from __future__ import annotations

import pytest

from radrelay_storage.negotiation import Form, described_type, frame_form, instance_form, rendered_type, takes_gzip
from radrelay_storage.problems import NotAcceptable

EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
JPEG, J2K, RLE, JLS, VIDEO = (
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.102",
)
DICOM = 'multipart/related; type="application/dicom"'
OCTETS = 'multipart/related; type="application/octet-stream"'

FRAMES: list[tuple[str | None, str, Form]] = [
    (None, EXPLICIT, Form("application/octet-stream", EXPLICIT)),
    ("*/*", IMPLICIT, Form("application/octet-stream", EXPLICIT)),
    (OCTETS, EXPLICIT, Form("application/octet-stream", EXPLICIT)),
    (f"{OCTETS}; transfer-syntax={EXPLICIT}", IMPLICIT, Form("application/octet-stream", EXPLICIT)),
    (None, JPEG, Form("image/jpeg", JPEG)),
    ('multipart/related; type="image/jpeg"', JPEG, Form("image/jpeg", JPEG)),
    ("multipart/related; type=image/jp2; transfer-syntax=" + J2K, J2K, Form("image/jp2", J2K)),
    (f"{OCTETS}; transfer-syntax=*", J2K, Form("application/octet-stream", J2K)),
    ('multipart/related; type="image/*"', RLE, Form("image/dicom-rle", RLE)),
    ('multipart/related; type="*/*"', JLS, Form("image/jls", JLS)),
    (f'{OCTETS}; q=0.5, multipart/related; type="image/jls"', JLS, Form("image/jls", JLS)),
    (
        f'{OCTETS}, multipart/related; type="image/jls"; q=0.5',
        JLS,
        Form("application/octet-stream", EXPLICIT, transcoded=True),
    ),
    (f'{OCTETS}, multipart/related; type="video/mp4"; q=0.5', VIDEO, Form("video/mp4", VIDEO)),
    (OCTETS, JPEG, Form("application/octet-stream", EXPLICIT, transcoded=True)),
    (f"{OCTETS}; transfer-syntax={EXPLICIT}", J2K, Form("application/octet-stream", EXPLICIT, transcoded=True)),
    ("*/*", BIG, Form("application/octet-stream", EXPLICIT, transcoded=True)),
]


@pytest.mark.parametrize(("accept", "stored", "form"), FRAMES)
def test_stored_frames_are_sent_under_a_name_that_the_viewer_accepts(
    accept: str | None, stored: str, form: Form
) -> None:
    assert frame_form(accept, stored) == form


@pytest.mark.parametrize(
    ("accept", "stored"),
    [
        (OCTETS, VIDEO),
        (f"{OCTETS}; transfer-syntax={EXPLICIT}", VIDEO),
        (f'multipart/related; type="image/jpeg"; transfer-syntax={JPEG}', J2K),
        ('multipart/related; type="image/jpeg"', EXPLICIT),
        ("image/png", EXPLICIT),
        ("*/*;q=0", EXPLICIT),
        ("application/octet-stream", EXPLICIT),
    ],
)
def test_frames_in_a_form_that_there_is_not_are_not_acceptable(accept: str, stored: str) -> None:
    with pytest.raises(NotAcceptable) as caught:
        frame_form(accept, stored)
    assert stored in caught.value.detail or EXPLICIT in caught.value.detail


def test_a_content_type_of_a_frame_names_the_transfer_syntax() -> None:
    assert Form("image/jpeg", JPEG).content_type == "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"


def test_a_single_frame_goes_without_parts_around_it_if_that_is_asked_for() -> None:
    assert frame_form("image/jpeg", JPEG, one=True) == Form("image/jpeg", JPEG, alone=True)
    assert frame_form("application/octet-stream", EXPLICIT, one=True).alone
    assert not frame_form("*/*", EXPLICIT, one=True).alone


INSTANCES: list[tuple[str | None, str, Form]] = [
    (None, JPEG, Form("application/dicom", JPEG)),
    ("*/*", BIG, Form("application/dicom", BIG)),
    (DICOM, JLS, Form("application/dicom", JLS)),
    (f"{DICOM}; transfer-syntax=*", JLS, Form("application/dicom", JLS)),
    (f"{DICOM}; transfer-syntax={JPEG}, {DICOM}; transfer-syntax={EXPLICIT}", JPEG, Form("application/dicom", JPEG)),
    ("application/dicom", JPEG, Form("application/dicom", JPEG, alone=True)),
    (f"{DICOM}; transfer-syntax={EXPLICIT}", J2K, Form("application/dicom", EXPLICIT, transcoded=True)),
    (f"{DICOM}; transfer-syntax={EXPLICIT}", IMPLICIT, Form("application/dicom", EXPLICIT, transcoded=True)),
    (
        f"application/dicom; transfer-syntax={EXPLICIT}",
        BIG,
        Form("application/dicom", EXPLICIT, alone=True, transcoded=True),
    ),
]


@pytest.mark.parametrize(("accept", "stored", "form"), INSTANCES)
def test_instances_are_sent_as_stored_unless_another_form_is_demanded(
    accept: str | None, stored: str, form: Form
) -> None:
    assert instance_form(accept, stored, one=True) == form


@pytest.mark.parametrize(
    ("accept", "stored"),
    [
        ("application/dicom+json", EXPLICIT),
        ('multipart/related; type="application/octet-stream"', EXPLICIT),
        (f"{DICOM}; transfer-syntax={EXPLICIT}", VIDEO),
        (f"{DICOM}; transfer-syntax={J2K}", EXPLICIT),
    ],
)
def test_instances_that_cannot_be_made_so_here_are_not_acceptable(accept: str, stored: str) -> None:
    with pytest.raises(NotAcceptable):
        instance_form(accept, stored, one=True)


def test_several_instances_never_go_as_a_single_part() -> None:
    with pytest.raises(NotAcceptable):
        instance_form("application/dicom", EXPLICIT, one=False)


@pytest.mark.parametrize(
    ("header", "taken"),
    [(None, False), ("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("*", True), ("identity", False)],
)
def test_json_is_compressed_for_those_who_take_it(header: str | None, taken: bool) -> None:  # noqa: FBT001  a table
    assert takes_gzip(header) is taken


def test_json_is_dicom_json_unless_only_plain_json_is_accepted() -> None:
    assert described_type("application/dicom+json, application/json") == "application/dicom+json"
    assert described_type("application/json") == "application/json"
    assert described_type(None) == "application/dicom+json"
    for nothing in (";", "q=1;", '"'):
        with pytest.raises(NotAcceptable):
            described_type(nothing)
    assert described_type('multipart/related; type="application/dicom+xml"') == "application/dicom+xml"
    assert (
        described_type('multipart/related; type="application/dicom+xml"; q=0.5, application/json') == "application/json"
    )
    with pytest.raises(NotAcceptable):
        described_type('multipart/related; type="application/dicom"')


def test_pictures_are_jpeg_unless_png_is_preferred() -> None:
    assert rendered_type(None) == "image/jpeg"
    assert rendered_type("image/*") == "image/jpeg"
    assert rendered_type("image/png, image/jpeg;q=0.5") == "image/png"
    with pytest.raises(NotAcceptable):
        rendered_type("image/gif")
