"""What the ingest benchmark sends: three kinds of images, and one that hardly fits anywhere."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file

MIB = 1 << 20


@dataclass(frozen=True)
class Kind:
    """So many files of one series, each of so many frames of `side` x `side` pixels of 16 bits."""

    name: str
    count: int
    side: int
    sop_class: str
    modality: str
    frames: int = 1


KINDS = (
    Kind("ct-530kb", 300, 512, "1.2.840.10008.5.1.4.1.1.2", "CT"),
    Kind("us-60mb", 4, 512, "1.2.840.10008.5.1.4.1.1.3.1", "US", frames=114),
    Kind("cr-20kb", 400, 100, "1.2.840.10008.5.1.4.1.1.1", "CR"),
)
HUGE = Kind("us-2gb", 4, 512, "1.2.840.10008.5.1.4.1.1.3.1", "US", frames=4094)


def make_files(kind: Kind, folder: Path) -> list[Path]:
    """In explicit VR little endian, with pixels drawn at random."""
    draw = random.Random(1)
    size = 2 * kind.side * kind.side * kind.frames
    return [made(kind, folder, number, draw.randbytes(size)) for number in range(kind.count)]


def make_huge(folder: Path) -> list[Path]:
    """Files of 2 GB that take no room: their pixels are holes."""
    paths = [made(HUGE, folder, number, b"\1\2") for number in range(HUGE.count)]
    length = 2 * HUGE.side * HUGE.side * HUGE.frames
    for path in paths:
        with path.open("r+b") as file:
            file.seek(-6, 2)  # where the length is, before two pixels' bytes
            file.write(length.to_bytes(4, "little"))
            file.truncate(file.tell() + length)
    return paths


def made(kind: Kind, folder: Path, number: int, pixels: bytes) -> Path:
    image = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    del image[0xFFFC_FFFC]  # trailing padding
    image.Rows = image.Columns = kind.side
    image.Modality, image.SOPClassUID, image.file_meta.MediaStorageSOPClassUID = (
        kind.modality,
        kind.sop_class,
        kind.sop_class,
    )
    image.StudyInstanceUID, image.SeriesInstanceUID = "1.2.3.1", "1.2.3.1.1"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.1.1.{number}"
    if kind.frames > 1:
        image.NumberOfFrames = kind.frames
    image.InstanceNumber, image.PixelData = str(number), pixels
    file, path = BytesIO(), folder / f"{number:03d}.dcm"
    image.save_as(file)
    path.write_bytes(file.getvalue())
    return path


def size_of(files: Sequence[Path]) -> int:
    return sum(file.stat().st_size for file in files)
