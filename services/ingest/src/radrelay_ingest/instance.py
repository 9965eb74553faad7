"""Reading DICOM files at the front door: just enough to know where an instance belongs, and that it is whole."""

from __future__ import annotations

import re
import zlib
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from radrelay_ingest.domain.studies import Head
from radrelay_ingest.walk import Values, Walk
from radrelay_shared.errors import Invalid

PREAMBLE = 128
TRANSFER_SYNTAX_UID = 0x0002_0010
SOP_CLASS_UID, SOP_INSTANCE_UID = 0x0008_0016, 0x0008_0018
ACCESSION_NUMBER, MODALITY = 0x0008_0050, 0x0008_0060
PATIENT_ID = 0x0010_0020
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020_000D, 0x0020_000E

INFLATED_HEAD = 1 << 20
PIECE = 1 << 20
UID = re.compile(r"[0-9.]{1,64}")


def read_head(path: Path) -> Head:
    """What the front door needs of a DICOM file; raises `Invalid` unless the file is one, and whole.

    All elements are walked (PS3.5 §7.1) without reading their values, so that a file cut anywhere but between two
    elements is noticed and no pixel data is held in memory. A deflated data set is checked by its own end mark.
    """
    with path.open("rb") as file:
        syntax = _transfer_syntax(file)
        if syntax == DeflatedExplicitVRLittleEndian:
            values = _elements(_inflated_head(file), syntax, last=SERIES_INSTANCE_UID)
        else:
            values = _elements(file, syntax)
    return Head(
        sop_class_uid=_uid(values, SOP_CLASS_UID),
        sop_instance_uid=_uid(values, SOP_INSTANCE_UID),
        study_instance_uid=_uid(values, STUDY_INSTANCE_UID),
        series_instance_uid=_uid(values, SERIES_INSTANCE_UID),
        transfer_syntax_uid=syntax,
        modality=_text(values, MODALITY),
        accession_number=_text(values, ACCESSION_NUMBER),
        patient_id=_text(values, PATIENT_ID),
    )


def _transfer_syntax(file: BinaryIO) -> str:
    """From the file meta information (PS3.10 §7.1); leaves the file at the data set's first element."""
    if file.read(PREAMBLE + 4)[PREAMBLE:] != b"DICM":
        raise Invalid("not a DICOM file: there is no DICM prefix at byte 128")
    meta = _walk(file, implicit=False, little=True, last=0x0002_FFFF)
    return _uid(meta, TRANSFER_SYNTAX_UID)


def _elements(file: BinaryIO, syntax: str, last: int | None = None) -> Values:
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    return _walk(file, implicit=implicit, little=little, last=last)


def _walk(file: BinaryIO, *, implicit: bool, little: bool, last: int | None) -> Values:
    """The short values of all elements up to the tag `last`, or up to the end, which must be an element's end."""
    walk = Walk(file, implicit=implicit, little=little)
    values = walk.values(last)
    if last is None:
        _check_end(file, walk.end)
    return values


def _check_end(file: BinaryIO, end: int) -> None:
    """Raise `Invalid` if the last element reaches beyond the file, or if the file goes on with half of another one."""
    size = file.seek(0, 2)
    if end > size:
        raise Invalid(f"truncated: {end - size} bytes of the last element are missing")
    file.seek(end)
    if file.read(PIECE).strip(b"\0"):
        raise Invalid("truncated or damaged: the data set does not end with an element's end")


def _inflated_head(file: BinaryIO) -> BinaryIO:
    """The beginning of a deflated data set (PS3.5 §A.5); raises `Invalid` if the stream has no end."""
    inflater, head = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
    try:
        while not inflater.eof:
            piece = inflater.unconsumed_tail or file.read(PIECE)
            if not piece:
                raise Invalid("truncated: the deflated data set has no end")
            head += inflater.decompress(piece, PIECE)[: INFLATED_HEAD - len(head)]
    except zlib.error as error:
        raise Invalid("damaged: the deflated data set cannot be inflated") from error
    return BytesIO(head)


def _uid(values: Values, tag: int) -> str:
    found = _text(values, tag)
    if not UID.fullmatch(found):
        raise Invalid(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {'is not a UID' if found else 'is missing'}")
    return found


def _text(values: Values, tag: int) -> str:
    """A short text value without padding; what is not UTF-8 is read byte for byte, so that equal stays equal."""
    value = values.get(tag, b"")
    try:
        return value.decode().strip("\0 ")
    except UnicodeDecodeError:
        return value.decode("latin-1").strip("\0 ")
