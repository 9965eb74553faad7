"""DICOM files (PS3.10 §7) read while they come: just enough to know what an instance is, and that it is whole."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from radrelay_shared.dicom.walk import Values, Walk
from radrelay_shared.errors import Invalid

PREAMBLE, PREFIX = 128, b"DICM"
META_END, TRANSFER_SYNTAX_UID = 0x0002_FFFF, 0x0002_0010
SOP_CLASS_UID, SOP_INSTANCE_UID = 0x0008_0016, 0x0008_0018
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020_000D, 0x0020_000E
INFLATED_PIECE, MAX_INFLATED = 1 << 20, 4 << 30  # bytes
UID = re.compile(r"[0-9.]{1,64}")


def is_uid(text: str) -> bool:
    """Whether it has the form of a UID (PS3.5 §9.1), leading zeros forgiven."""
    return UID.fullmatch(text) is not None


class WholeFile:
    """Feed it a DICOM file as it comes; it raises `Invalid` unless that is one, and whole. It keeps the wanted values.

    All elements are walked (PS3.5 §7.1) without reading their values, so that a file cut anywhere but between two
    elements is noticed, and no pixel data is held in memory. A deflated data set is checked by its own end mark.
    """

    def __init__(self, wanted: Collection[int]) -> None:
        self.wanted, self.syntax, self.preamble = wanted, "", b""
        self.meta = Walk({TRANSFER_SYNTAX_UID}, implicit=False, little=True, last=META_END)
        self.data_set: Walk | Deflated | None = None  # once the meta information is behind

    def feed(self, piece: bytes | memoryview) -> None:
        data = memoryview(piece)
        if len(self.preamble) < PREAMBLE + len(PREFIX):
            data = self._take_preamble(data)
        if self.data_set is None:
            data = self._take_meta(data)
        if self.data_set is not None:
            self.data_set.feed(data)

    def skip(self) -> int:
        """How many of the next bytes it need not be fed."""
        return self.data_set.skip() if isinstance(self.data_set, Walk) else 0

    def finish(self) -> Values:
        """The file has ended; the wanted values of its data set."""
        if not self.preamble.endswith(PREFIX):
            raise _not_dicom()
        self.syntax = uid_in(self.meta.values, TRANSFER_SYNTAX_UID)
        if self.data_set is None:
            return {}
        self.data_set.finish()
        return self.data_set.values

    def _take_preamble(self, data: memoryview) -> memoryview:
        missing = PREAMBLE + len(PREFIX) - len(self.preamble)
        self.preamble += data[:missing]
        if missing <= len(data) and not self.preamble.endswith(PREFIX):
            raise _not_dicom()
        return data[missing:]

    def _take_meta(self, data: memoryview) -> memoryview:
        """Take the file meta information (PS3.10 §7.1); once it is complete, the beginning of the data set."""
        self.meta.feed(data)
        if self.meta.rest is None:
            return data[:0]
        self.data_set = _data_set(uid_in(self.meta.values, TRANSFER_SYNTAX_UID), self.wanted)
        return self.meta.rest


def _data_set(syntax: str, wanted: Collection[int]) -> Walk | Deflated:
    if syntax == DeflatedExplicitVRLittleEndian:
        return Deflated(wanted)
    return Walk(wanted, implicit=syntax == ImplicitVRLittleEndian, little=syntax != ExplicitVRBigEndian)


class Deflated:
    """A deflated data set (PS3.5 §A.5), walked while it is inflated."""

    def __init__(self, wanted: Collection[int]) -> None:
        self.inflater, self.size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        self.walk = Walk(wanted, implicit=False, little=True)

    @property
    def values(self) -> Values:
        return self.walk.values

    def feed(self, data: bytes | memoryview) -> None:
        try:
            while len(data) and not self.inflater.eof:
                inflated = self.inflater.decompress(data, INFLATED_PIECE)
                self.walk.feed(memoryview(inflated))
                data, self.size = self.inflater.unconsumed_tail, self.size + len(inflated)
                if self.size > MAX_INFLATED:
                    raise Invalid(f"a deflated data set has at most {MAX_INFLATED} bytes when it is inflated")
        except zlib.error as error:
            raise Invalid("damaged: the deflated data set cannot be inflated") from error

    def finish(self) -> None:
        if not self.inflater.eof:
            raise Invalid("truncated: the deflated data set has no end")


def _not_dicom() -> Invalid:
    return Invalid("not a DICOM file: there is no DICM prefix at byte 128")


def uid_in(values: Values, tag: int) -> str:
    found = text_in(values, tag)
    if not is_uid(found):
        raise Invalid(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {'is not a UID' if found else 'is missing'}")
    return found


def text_in(values: Values, tag: int) -> str:
    """A short text value without padding; what is not UTF-8 is read byte for byte, so that equal stays equal."""
    value = values.get(tag, b"")
    try:
        return value.decode().strip("\0 ")
    except UnicodeDecodeError:
        return value.decode("latin-1").strip("\0 ")
