"""DICOM Part 10 bytes to pydicom's data sets and back, and quiet access to values as they are."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import warnings
from collections.abc import Iterator
from mmap import mmap

import pydicom
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.multival import MultiValue
from pydicom.uid import UID_dictionary

from radrelay_shared.dicom.walk import UNDEFINED
from radrelay_shared.errors import Invalid

PREAMBLE = 132  # bytes, with the prefix
DEEPEST = 16  # the standard's own deepest nesting is about eight

_QUIET = threading.RLock()  # filters and loggers belong to the process, so one thread at a time may set them


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Odd values of foreign devices are daily work here, and pydicom quotes them: its warnings and log stay silent."""
    log = logging.getLogger("pydicom")
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, log.disabled = log.disabled, True
        try:
            yield
        finally:
            log.disabled = before


def read(data: bytes | mmap) -> FileDataset:
    """The whole instance; raises `Invalid` for what is not DICOM Part 10, is truncated or cannot be parsed."""
    if data[PREAMBLE - 4 : PREAMBLE] != b"DICM":
        raise Invalid("not a DICOM Part 10 file: no DICM prefix after the preamble")
    with quietly():
        try:
            dataset = pydicom.dcmread(io.BytesIO(data))
            cut, syntax = _is_cut(dataset), str(dataset.file_meta.get("TransferSyntaxUID"))
        except Exception as error:  # noqa: BLE001  hostile bytes raise many kinds, whose texts may quote values
            raise Invalid(f"the DICOM file cannot be parsed ({type(error).__name__})") from None
    if cut:
        raise Invalid("the DICOM file is truncated")
    if syntax not in UID_dictionary:
        raise Invalid("the DICOM file names no known transfer syntax")
    return dataset


def encode(dataset: Dataset) -> bytes:
    """Part 10 bytes (PS3.10 §7): zero preamble, rebuilt file meta, the data set, and nothing after it."""
    buffer = io.BytesIO()
    with quietly():
        try:
            pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        except Exception as error:  # noqa: BLE001  as in `read`
            raise Invalid(f"the de-identified file cannot be written ({type(error).__name__})") from None
    return buffer.getvalue()


def element(dataset: Dataset, tag: int) -> DataElement | None:
    """The element with its value parsed, or None where the bytes are no value of their VR."""
    try:
        return dataset[tag]
    except Exception:  # noqa: BLE001  pydicom raises many kinds; what cannot be read is not passed on
        return None


def elements(dataset: Dataset, depth: int = 0) -> Iterator[DataElement]:
    """Every readable element, depth first; raises `Invalid` below `DEEPEST`."""
    if depth > DEEPEST:
        raise Invalid("sequences are nested too deeply")
    for tag in list(dataset.keys()):
        found = element(dataset, tag)
        if found is None:
            continue
        yield found
        if found.VR == "SQ":
            for item in found.value:
                yield from elements(item, depth + 1)


def texts(found: DataElement) -> list[str]:
    """Its values as text, as they stood in the file; none if it is empty."""
    value = found.value
    if value is None:
        return []
    several = value if isinstance(value, (MultiValue, list)) else [value]
    return [text for text in (str(one) for one in several) if text]


def _is_cut(dataset: FileDataset) -> bool:
    """Whether an element promises more bytes than there are."""
    for tag in dataset.keys():  # noqa: SIM118  a Dataset iterates over elements, parsing them
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.length != UNDEFINED and len(raw.value or b"") != raw.length:
            return True
    return False
