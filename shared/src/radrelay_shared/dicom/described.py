"""DICOM JSON (PS3.18 Annex F) as it lies beside the packs: all of a data set but its bulk."""

from __future__ import annotations

import json
from typing import Any

from pydicom.dataset import Dataset

from radrelay_shared.dicom.reading import quietly

BULK = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


def metadata_of(dataset: Dataset) -> dict[str, Any]:
    """The data set as DICOM JSON; consumes it, for pixels and other bulk are taken out, waveforms in sequences, too."""
    with quietly():
        without_bulk(dataset)
        found = {f"{int(tag):08X}": as_json(dataset, tag) for tag in list(dataset.keys())}
    return {tag: element for tag, element in found.items() if element is not None}


def without_bulk(dataset: Dataset) -> None:
    for element in list(dataset):
        if element.VR in BULK:
            del dataset[element.tag]
        elif element.VR == "SQ":
            for item in element.value:
                without_bulk(item)


def as_json(dataset: Dataset, tag: int) -> dict[str, Any] | None:
    """One element; None for what JSON has no form for: a DS that is no number, an FD that is not a number (NaN)."""
    try:
        element: dict[str, Any] = dataset[tag].to_json_dict(None, 0)
        json.dumps(element, allow_nan=False)
    except Exception:  # noqa: BLE001  pydicom raises many kinds, whose texts may quote values; the file keeps the element
        return None
    return element
