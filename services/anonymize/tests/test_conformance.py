"""Copies are as good DICOM as their originals: dciodvfy finds no error in one that it did not find in the other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pydicom.data
import pytest

from radrelay_anonymize.domain import Context, Released, release

DCIODVFY = Path(sys.executable).parent / "dciodvfy"
FILES = sorted((Path(pydicom.data.__file__).parent / "test_files").rglob("*.dcm"))
QUOTED = re.compile(r"<[^>]*>|\b[0-9a-f]{4,}\b|\d+(\.\d+)+|\b\d+$")  # values, which differ on purpose


def errors(file: Path) -> set[str]:
    """What is wrong with it, without the values that are wrong."""
    found = subprocess.run([DCIODVFY, file], capture_output=True, check=False, timeout=30)
    lines = (found.stdout + found.stderr).decode("latin-1").splitlines()
    return {QUOTED.sub("", line) for line in lines if line.startswith("Error")}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_copy_has_no_error_that_its_original_has_not(file: Path, tmp_path: Path, context: Context) -> None:
    outcome = release(file.read_bytes(), context)
    if not isinstance(outcome, Released):  # what becomes of those is another test's affair
        return
    copy = tmp_path / "copy.dcm"
    copy.write_bytes(outcome.data)
    assert errors(copy) - errors(file) == set()


def test_the_judge_does_find_errors() -> None:
    assert errors(next(file for file in FILES if file.name == "rtplan.dcm")) != set()
