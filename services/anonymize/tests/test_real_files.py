"""Every DICOM file inside pydicom's wheel leaves clean and verified, or is refused with the reason written here."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pydicom
import pydicom.data
import pytest

from radrelay_anonymize.domain import Context, Quarantined, Released, Words, read, release
from radrelay_shared.dicom.reading import quietly
from radrelay_shared.errors import Invalid
from real_files import FILES, PYDICOM, is_part10

REFUSED = {
    "DICOMDIR-nooffset": "unreadable",  # its items are longer than they say
    "ExplVR_BigEndNoMeta.dcm": "unreadable",  # no Part 10 header
    "ExplVR_LitEndNoMeta.dcm": "unreadable",
    "JPEGLSNearLossless_08.dcm": "uid-missing",
    "JPEGLSNearLossless_16.dcm": "uid-missing",
    "MR_truncated.dcm": "unreadable",
    "SC_rgb_jls_lossy_line.dcm": "uid-missing",
    "SC_rgb_jls_lossy_sample.dcm": "uid-missing",
    "UN_sequence.dcm": "uid-missing",
    "badVR.dcm": "pixels-missing",  # its number of frames is no number
    "chrJapMulti.dcm": "pixels-missing",
    "chrJapMultiExplicitIR6.dcm": "pixels-missing",
    "chrKoreanMulti.dcm": "pixels-missing",
    "chrSQEncoding.dcm": "uid-missing",
    "chrSQEncoding1.dcm": "uid-missing",
    "empty_charset_LEI.dcm": "sop-class-unknown",
    "meta_missing_tsyntax.dcm": "unreadable",
    "nested_priv_SQ.dcm": "sop-class-unknown",
    "no_meta.dcm": "unreadable",
    "no_meta_group_length.dcm": "uid-missing",
    "priv_SQ.dcm": "uid-missing",
    "rtplan_truncated.dcm": "unreadable",
    "rtstruct.dcm": "unreadable",  # no Part 10 header
}


def is_dicom(path: Path) -> bool:
    return path.suffix == ".dcm" or is_part10(path)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in FILES if is_dicom(path)])
def test_file_leaves_clean_or_is_refused(path: Path, context: Context) -> None:
    outcome = release(path.read_bytes(), context)
    if path.name in REFUSED:
        assert outcome == Quarantined((REFUSED[path.name],))
    elif path.name.startswith("DICOMDIR"):
        assert outcome == Quarantined(("dicomdir",))
    else:
        assert isinstance(outcome, Released)
        with quietly():
            before, after = pydicom.dcmread(path), pydicom.dcmread(io.BytesIO(outcome.data))
            assert before.get("PixelData") == after.get("PixelData")
            assert outcome.dataset.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID


def test_one_study_of_many_instances_stays_one_study(context: Context) -> None:
    """The head CT of the DICOMDIR set: series and counts are the same before and after."""
    paths = [path for path in FILES if "98892003" in path.parts and is_dicom(path)]
    outcomes = [release(path.read_bytes(), context) for path in paths]
    with quietly():
        before = Counter(Counter(str(pydicom.dcmread(path).SeriesInstanceUID) for path in paths).values())
    released = [outcome for outcome in outcomes if isinstance(outcome, Released)]
    assert len(released) == len(paths)
    assert Counter(Counter(str(one.dataset.SeriesInstanceUID) for one in released).values()) == before
    assert len({one.dataset.SOPInstanceUID for one in released}) == len(paths)


def test_a_file_cut_anywhere_is_refused(context: Context) -> None:
    """Never an exception, and never an image with fewer pixels than it says."""
    whole = (PYDICOM / "test_files/CT_small.dcm").read_bytes()
    for length in [*range(0, 2000, 53), *range(2000, len(whole) - 200, 1999)]:
        assert isinstance(release(whole[:length], context), Quarantined), length


@pytest.mark.parametrize("data", [b"", b"DICM", b"\0" * 128 + b"DICM", b"%PDF-1.7 ", b"\0" * 4000])
def test_what_is_not_dicom_is_invalid_in_plain_words(data: bytes, context: Context) -> None:
    with pytest.raises(Invalid):
        read(data)
    assert release(data, context) == Quarantined(("unreadable",))


def test_bottomless_sequences_are_unreadable_and_not_a_crash(context: Context) -> None:
    """Five thousand anatomic regions, each inside the one before, of undefined length."""
    head = (PYDICOM / "test_files/CT_small.dcm").read_bytes()[:340]
    assert head[128:132] == b"DICM"
    start = b"\x08\x00\x18\x22SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    with quietly():
        meta_end = (
            132 + 12 + pydicom.dcmread(PYDICOM / "test_files/CT_small.dcm").file_meta.FileMetaInformationGroupLength
        )
    assert release(head[:meta_end] + 5000 * start, context) == Quarantined(("unreadable",))


def test_a_patient_named_like_the_scanner_costs_the_model_name(context: Context) -> None:
    """Cleaned on suspicion: neither leaked nor refused."""
    whole = (PYDICOM / "test_files/CT_small.dcm").read_bytes()
    named = replace(context, words=Words.of(names=["RHAPSODE^Bob"]))
    outcome = release(whole, named)
    assert isinstance(outcome, Released)
    assert outcome.dataset.ManufacturerModelName == "[removed]"
