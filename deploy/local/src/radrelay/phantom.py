"""A head that nobody has: ellipsoids of tissue, seen by a CT and an MR. The same slices every time, in milliseconds."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGLSLossless

SIZE = 128  # pixels each way
FIELD = 240.0  # mm
HEIGHT = 160.0  # mm, of the stack
EDGE = 40  # how sharp the border between two tissues is
SEED = 20261125
FOREIGN = {"PixelPaddingValue", "SmallestImagePixelValue", "LargestImagePixelValue", "DataSetTrailingPadding"}


@dataclass(frozen=True)
class Tissue:
    """An ellipsoid, painted over those before it; places and radii in halves of the field and the height."""

    place: tuple[float, float, float]
    radii: tuple[float, float, float]
    hounsfield: float
    t1: float
    folds: float = 0.0  # of its surface


HEAD = (
    Tissue((0, 0, 0), (0.72, 0.9, 1.25), 45, 850),  # skin and fat
    Tissue((0, 0, 0), (0.68, 0.86, 1.2), 950, 50),  # skull
    Tissue((0, 0, 0), (0.62, 0.8, 1.12), 10, 120),  # fluid around the brain
    Tissue((0, 0, 0), (0.6, 0.78, 1.08), 38, 430, folds=0.05),  # grey matter
    Tissue((0, 0, 0), (0.52, 0.7, 1.0), 28, 640, folds=0.1),  # white matter
    Tissue((-0.12, -0.05, 0.05), (0.07, 0.3, 0.35), 6, 110),  # ventricles
    Tissue((0.12, -0.05, 0.05), (0.07, 0.3, 0.35), 6, 110),
    Tissue((-0.26, -0.05, 0), (0.1, 0.2, 0.3), 40, 470),  # basal ganglia
    Tissue((0.26, -0.05, 0), (0.1, 0.2, 0.3), 40, 470),
    Tissue((0.3, 0.12, 0.1), (0.13, 0.17, 0.3), 72, 760, folds=0.07),  # a bleed on the left
)
AIR = Tissue((0, 0, 0), (9, 9, 9), -1000, 0)


@dataclass(frozen=True)
class Scan:
    """What one scanner makes of it; the header is that of a real file of pydicom's."""

    header: str
    slices: int
    measures: str  # which property of tissue
    noise: float
    window: tuple[int, int]  # centre and width
    compressed: str | None = None


SCANS = {
    "CT": Scan("dicomdirtests/77654033/CT2/17106", 24, "hounsfield", 3.0, (40, 90), JPEGLSLossless),
    "MR": Scan("MR_small.dcm", 20, "t1", 12.0, (420, 900)),
}


def names(modality: str) -> tuple[str, ...]:
    """Those of its slices, from the bottom up."""
    return tuple(f"phantom/{modality}/{number:02d}" for number in range(1, SCANS[modality].slices + 1))


def slice_of(name: str) -> Dataset:
    """The slice of this name as an instance; who and whose it is, is for the caller to say."""
    _, modality, number = name.split("/")
    scan, place = SCANS[modality], int(number) - 1
    dataset = dcmread(str(get_testdata_file(scan.header, download=False)))
    for keyword in FOREIGN & set(dataset.dir()):
        delattr(dataset, keyword)
    for keyword, value in (geometry(scan, place) | pixels(scan, place)).items():
        setattr(dataset, keyword, value)
    if scan.compressed:
        dataset.compress(scan.compressed, generate_instance_uid=False)
    return dataset


def geometry(scan: Scan, place: int) -> dict[str, Any]:
    spacing, step = FIELD / SIZE, HEIGHT / scan.slices
    return {
        "InstanceNumber": place + 1,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-FIELD / 2, -FIELD / 2, round(place * step, 3)],
        "SliceLocation": round(place * step, 3),
        "SliceThickness": round(step, 3),
        "PixelSpacing": [spacing, spacing],
    }


def pixels(scan: Scan, place: int) -> dict[str, Any]:
    """What the scanner saw, as signed numbers."""
    height = 2 * (place + 0.5) / scan.slices - 1
    values = painted(scan.measures, round(height, 6)) + noise(place) * scan.noise
    center, width = scan.window
    numbers = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "RescaleSlope": 1}
    shown = {"Rows": SIZE, "Columns": SIZE, "RescaleIntercept": 0, "WindowCenter": center, "WindowWidth": width}
    return {**numbers, **shown, "PixelData": values.round().astype("<i2").tobytes()}


def painted(measures: str, height: float) -> Any:
    image: Any = np.full((SIZE, SIZE), getattr(AIR, measures), float)
    for tissue in HEAD:
        share = inside(tissue, height)
        image += share * (getattr(tissue, measures) - image)
    return image


@functools.cache
def inside(tissue: Tissue, height: float) -> Any:
    """How much of each pixel is in the ellipsoid, from 0 to 1."""
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    (left, front, low), (wide, deep, tall) = tissue.place, tissue.radii
    across, along, up = (x - left) / wide, (y - front) / deep, (height - low) / tall
    angle = np.arctan2(along, across)
    folded = 1 + tissue.folds * (0.6 * np.sin(11 * angle + 4 * height) + 0.4 * np.sin(23 * angle - 7 * height))
    return np.clip(0.5 + EDGE * wide * (folded - np.sqrt(across**2 + along**2 + up**2)), 0, 1)


def noise(place: int) -> Any:
    return np.random.default_rng(SEED + place).standard_normal((SIZE, SIZE))
