"""One tenant, one patient, and files that ship inside pydicom."""

from __future__ import annotations

import warnings
from pathlib import Path

import pydicom.data
import pytest
from pydicom.dataset import FileDataset

from radrelay_anonymize.domain import Context, Words, read

PYDICOM = Path(pydicom.data.__file__).parent


@pytest.fixture
def context() -> Context:
    """Ten weeks back in time, under a fixed pseudonym; nothing is known from an order."""
    return Context(secret=b"tenant secret of these tests", pseudonym="RR-ABCDEFGHIJ", date_shift=-70, words=Words())


@pytest.fixture
def chest_ct() -> FileDataset:
    """GE's CT slice of 128 x 128 pixels, with private groups, two nested other patient IDs and padding at the end."""
    return read((PYDICOM / "test_files/CT_small.dcm").read_bytes())


@pytest.fixture
def report() -> FileDataset:
    """DCMTK's demonstration of structured reporting, with names, codes, measurements and references."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its UIDs are read lazily
        return read((PYDICOM / "test_files/test-SR.dcm").read_bytes())
