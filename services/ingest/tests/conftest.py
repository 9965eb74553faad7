"""Instances to send: a real CT slice of pydicom's, given to patients and studies of the tests."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

Slice = Callable[..., bytes]


def ct_slice(number: int = 1, study: str = "1.2.3.1", accession: str = "ACC123", **tags: str) -> bytes:
    """A DICOM file: slice `number` of the study's only series."""
    data_set = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, f"{study}.1"
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.{number}"
    data_set.InstanceNumber, data_set.AccessionNumber, data_set.PatientID = str(number), accession, "123456"
    for keyword, value in tags.items():
        setattr(data_set, keyword, value)
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    file = BytesIO()
    data_set.save_as(file)
    return file.getvalue()


@pytest.fixture
def slices(tmp_path: Path) -> Callable[[int], list[Path]]:
    """Files of the first so many slices of one study."""

    def write(count: int) -> list[Path]:
        folder = tmp_path / "ct"
        folder.mkdir(exist_ok=True)
        files = [folder / f"{number}.dcm" for number in range(1, count + 1)]
        for number, file in enumerate(files, 1):
            file.write_bytes(ct_slice(number))
        return files

    return write
