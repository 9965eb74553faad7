"""DICOM JSON (PS3.18 Annex F) as it lies beside the packs: all of a data set but its bulk."""

from __future__ import annotations

import functools
import json
from typing import Any

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from radrelay_shared.dicom.reading import quietly

BULK = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
REMEMBERED, LONGEST_REMEMBERED = 4096, 4096  # elements; bytes of a value
UTF8 = "utf8"


def metadata_of(dataset: Dataset) -> dict[str, Any]:
    """The data set as DICOM JSON; consumes it, for pixels and other bulk are taken out, waveforms in sequences, too."""
    with quietly():
        found = {f"{tag:08X}": _described(dataset, tag) for tag in list(dataset.keys())}
    return {tag: element for tag, element in found.items() if element is not None}


def _described(dataset: Dataset, tag: BaseTag) -> dict[str, Any] | None:
    raw = dataset.get_item(tag)
    alone = isinstance(raw, RawDataElement) and not tag & 0x10000 and dataset.original_character_set == UTF8
    if not alone or len(raw.value or b"") > LONGEST_REMEMBERED:
        return as_json(dataset, tag)
    return _remembered(tag, raw.VR, raw.value, implicit=raw.is_implicit_VR)


@functools.lru_cache(maxsize=REMEMBERED)  # most elements come again in every instance of a series
def _remembered(tag: BaseTag, vr: str | None, value: bytes | None, *, implicit: bool) -> dict[str, Any] | None:
    """A public element of a data set in UTF-8, as if it stood there alone."""
    alone = Dataset({tag: RawDataElement(tag, vr, len(value or b""), value, 0, implicit, True)})
    alone.set_original_encoding(implicit, True, UTF8)
    return as_json(alone, tag)


def as_json(dataset: Dataset, tag: BaseTag) -> dict[str, Any] | None:
    """One element; None for bulk, and for what JSON has no form for: a DS that is no number, an FD that is NaN."""
    try:
        if _is_bulk(dataset[tag]):
            return None
        element: dict[str, Any] = dataset[tag].to_json_dict(None, 0)
        json.dumps(element, allow_nan=False)
    except Exception:  # noqa: BLE001  pydicom raises many kinds, whose texts may quote values; the file keeps the element
        return None
    return element


def _is_bulk(element: DataElement) -> bool:
    """Whether it is; bulk in its items is taken out of them."""
    if element.VR == "SQ":
        for item in element.value:
            for each in [each for each in item if _is_bulk(each)]:
                del item[each.tag]
    return element.VR in BULK
