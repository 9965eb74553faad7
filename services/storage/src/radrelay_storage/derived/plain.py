"""Whether a file says plainly what pydicom reads in it: each element once, in order, and nothing between or behind.

What is stored are the bytes that came. pydicom takes the last of two equal elements; the first would be stored unseen.
"""

from __future__ import annotations

from struct import Struct
from typing import IO, Any, NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from radrelay_shared.dicom.reading import DEEPEST, PREAMBLE
from radrelay_shared.dicom.walk import ITEM, ITEM_END, LONG_VRS, SEQUENCE_END, UNDEFINED
from radrelay_shared.errors import Invalid

META_GROUP, PIXEL_DATA = 0x0002, 0x7FE00010
SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
EXPLICIT, LENGTH = Struct("<HH2sH"), Struct("<I")


class Head(NamedTuple):
    tag: int
    sequence: bool
    length: int
    start: int  # of the value


def must_be_plain(file: IO[bytes], size: int, *, implicit: bool) -> None:
    """Raises `Invalid` for what another reader could read otherwise; little endian only. Blocks."""
    file.seek(0)
    if any(file.read(PREAMBLE)[:-4]):
        raise Invalid("its preamble is not empty, and could hold anything")
    scan = Scan(file)
    begin = scan.elements(PREAMBLE, size, implicit=False, group=META_GROUP)
    scan.elements(begin, size, implicit=implicit)


class Scan:
    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.depth = file, 0

    def elements(self, at: int, end: int, *, implicit: bool, delimited: bool = False, group: int | None = None) -> int:
        """The position after the elements up to the end, the item's delimiter, or those of the group."""
        before = -1
        while at < end:
            head = self._head(at, implicit=implicit)
            if delimited and head.tag == ITEM_END:
                return head.start
            if group is not None and head.tag >> 16 != group:
                return at
            if head.tag <= before:
                raise odd()
            before, at = head.tag, self._after(head, end, implicit=implicit)
        if at != end or delimited:
            raise odd()
        return at

    def _head(self, at: int, *, implicit: bool) -> Head:
        group, number, vr, length = self._read(EXPLICIT, at)
        tag = group << 16 | number
        if implicit or group == ITEM >> 16:
            sequence = dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
            return Head(tag, sequence, self._read(LENGTH, at + 4)[0], at + 8)
        if vr in SHORT:
            return Head(tag, False, length, at + 8)
        if vr not in LONG_VRS or length:
            raise odd()
        return Head(tag, vr == b"SQ", self._read(LENGTH, at + 8)[0], at + 12)

    def _after(self, head: Head, end: int, *, implicit: bool) -> int:
        if head.length == UNDEFINED and head.tag == PIXEL_DATA:
            return self._fragments(head.start, end)
        stop = end if head.length == UNDEFINED else head.start + head.length
        if stop > end or (head.length == UNDEFINED and not head.sequence):
            raise odd()
        if not head.sequence:
            return stop
        self.depth += 1
        after = self._items(head.start, stop, implicit=implicit, delimited=head.length == UNDEFINED)
        self.depth -= 1
        return after

    def _items(self, at: int, end: int, *, implicit: bool, delimited: bool) -> int:
        while at < end and self.depth <= DEEPEST:
            tag, _, length, start = self._head(at, implicit=True)
            if delimited and tag == SEQUENCE_END:
                return start
            stop = end if length == UNDEFINED else start + length
            if tag != ITEM or stop > end:
                raise odd()
            at = self.elements(start, stop, implicit=implicit, delimited=length == UNDEFINED)
        if delimited or at != end:
            raise odd()
        return at

    def _fragments(self, at: int, end: int) -> int:
        """The position after encapsulated pixel data (PS3.5 §A.4)."""
        while at < end:
            tag, _, length, start = self._head(at, implicit=True)
            if tag == SEQUENCE_END:
                return start
            if tag != ITEM:
                raise odd()
            at = start + length
        raise odd()

    def _read(self, form: Struct, at: int) -> tuple[Any, ...]:
        self.file.seek(at)
        found = self.file.read(form.size)
        if len(found) < form.size:
            raise odd()
        return form.unpack(found)


def odd() -> Invalid:
    return Invalid("its elements are not in order, or there is something between or behind them")
