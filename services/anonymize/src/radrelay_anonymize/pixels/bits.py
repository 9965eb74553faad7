"""Bits of a pixel that no viewer shows, and in which overlays were once kept: everything above the bits stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.dataset import Dataset

Samples = Any  # an array of integers, of any shape


def has_spare(dataset: Dataset) -> bool:
    return bool(dataset.BitsStored < dataset.BitsAllocated <= 32)  # noqa: PLR2004  there are no wider integers


def cleared(samples: Samples, dataset: Dataset) -> Samples | None:
    """Samples without anything in them, None if nothing is. Signs that are extended, and padding, are no hidden text.

    `samples` are as stored (PS3.5 §8.1.1); the value may lie above unused low bits, too.
    """
    stored = int(dataset.BitsStored)
    low = int(dataset.get("HighBit", stored - 1)) + 1 - stored
    unsigned = samples.view(np.dtype(f"{samples.dtype.byteorder}u{samples.dtype.itemsize}"))
    kind = unsigned.dtype.type
    whole = (1 << 8 * samples.dtype.itemsize) - 1
    used = kind(((1 << stored) - 1) << max(low, 0))
    spare = kind(whole ^ int(used))
    if not (unsigned & spare).any():
        return None
    plain = unsigned & used
    if dataset.get("PixelRepresentation") == 1 and low <= 0:
        negative = (unsigned & kind(1 << (stored - 1))) != 0
        extended = np.where(negative, plain | spare, plain)
        plain = extended if _mostly_extended(unsigned, extended, negative) else plain
    padding = dataset.get("PixelPaddingValue")
    if isinstance(padding, int):
        plain = np.where(unsigned == kind(padding & whole), unsigned, plain)
    return None if np.array_equal(plain, unsigned) else plain.astype(unsigned.dtype).view(samples.dtype)


def _mostly_extended(samples: Samples, extended: Samples, negative: Samples) -> bool:
    """Whether the device writes its negative values with the sign in all bits: most of them look so."""
    return bool(2 * np.count_nonzero((samples == extended) & negative) >= np.count_nonzero(negative))
