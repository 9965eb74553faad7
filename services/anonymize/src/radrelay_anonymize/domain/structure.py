"""Part 10 bytes as a light tree of where each element lies: nothing is copied, and every length is checked.

Time and memory are bounded by the file's size and `MOST_ELEMENTS`, whatever lengths it claims.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from struct import Struct

from pydicom.datadict import dictionary_VR, private_dictionary_VR

from radrelay_anonymize.domain.words import kind_of
from radrelay_shared.dicom.reading import DEEPEST, UNDEFINED
from radrelay_shared.errors import Invalid

MOST_ELEMENTS = 500_000  # 25,000 frames with twenty each

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
DELIMITERS = 0xFFFE  # group
ODD_GROUP = 0x00010000  # private
CREATORS = range(0x10, 0x100)  # elements (PS3.5 §7.8.1)
LONGEST_SHORT = 0xFFFF  # bytes
CHARACTER_SET, PIXEL_DATA = 0x00080005, 0x7FE00010

# PS3.5 §7.1.2: VRs whose length has 16 bits, and those with 32 after two reserved bytes.
SHORT = frozenset({
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI",
    "UL", "US",
})  # fmt: skip
LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
VRS = {vr.encode(): vr for vr in SHORT | LONG}
PLAIN_VRS = {vr.encode(): vr for vr in SHORT}


# One element: tag, VR, at, start, end, items. `data[start:end]` is its value; `data[at:end]` may be passed on as it is,
# unless `at` is -1. The VR is the dictionary's where the file says none, or UN. A sequence's values are in `items`.
# A bare tuple, for there are hundreds in each of a thousand files a second.
Element = tuple[int, str, int, int, int, "tuple[DataSet, ...]"]
# Tag, VR as declared, length, start of the value.
Head = tuple[int, "str | None", int, int]


@dataclass(slots=True)
class DataSet:
    """The file's, or an item's. `charset` is the raw character set in force: its own, or its parent's."""

    implicit: bool
    charset: bytes = b""
    elements: list[Element] = field(default_factory=list)
    creators: dict[int, str] = field(default_factory=dict)  # group and block → private creator


# A value that holds words of identity: their kind (`words.kind_of`), the element, the character set in force.
Named = tuple[str, Element, bytes]


class Parser:
    """One pass over `data`; raises `Invalid` for what cannot be read, or not within bounds.

    `odd` tells afterwards that pydicom reads something else than the bytes plainly say.
    """

    def __init__(self, data: bytes, *, implicit: bool, encapsulated: bool = False, big_endian: bool = False) -> None:
        order = ">" if big_endian else "<"
        self.data = data
        self.implicit, self.encapsulated = implicit, encapsulated
        self.explicit_head = Struct(order + "HH2sH").unpack_from
        self.implicit_head = Struct(order + "HHI").unpack_from
        self.long_length = Struct(order + "I").unpack_from
        self.left = MOST_ELEMENTS
        self.named: list[Named] = []
        self.odd = big_endian

    def data_set(self, start: int, end: int) -> DataSet:
        """The data set in `data[start:end]`."""
        if start < end and self._looks_implicit(start, end) != self.implicit:
            self.odd, self.implicit = True, not self.implicit
        found = DataSet(self.implicit)
        self._fill(found, start, end, depth=0, delimited=False)
        return found

    def _fill(self, into: DataSet, at: int, limit: int, depth: int, *, delimited: bool) -> int:
        """Add elements up to the limit, or to the item's delimiter; the position after that.

        Nearly all elements are plain: explicit, short, in order. What is not is left to `_head` and `_element`.
        """
        data, read, add = self.data, self.explicit_head, into.elements.append
        explicit, plain_vrs, before = not into.implicit, PLAIN_VRS, -1
        while at < limit:
            if explicit and at + 8 <= limit and self.left:
                group, number, code, length = read(data, at)
                vr, tag, end = plain_vrs.get(code), group << 16 | number, at + 8 + length
                if vr is not None and before < tag and end <= limit and not (tag & ODD_GROUP or tag == CHARACTER_SET):
                    before, self.left = tag, self.left - 1
                    element: Element = (tag, vr, at, at + 8, end, ())
                    add(element)
                    at = end
                    if kind := kind_of(tag, vr):
                        self.named.append((kind, element, into.charset))
                    continue
            head = self._head(at, limit, into.implicit)
            tag = head[0]
            if tag <= before or tag == ITEM_END:
                if tag == ITEM_END and delimited:
                    return head[3]
                self.odd = True
            before = tag
            element, at = self._element(at, head, limit, into, depth)
            add(element)
            if kind := kind_of(tag, element[1]):
                self.named.append((kind, element, into.charset))
        if delimited:
            raise Invalid("an item of undefined length has no end")
        return at

    def _head(self, at: int, limit: int, implicit: bool) -> Head:  # noqa: FBT001  in the innermost loop
        self.left -= 1
        if self.left < 0 or at + 8 > limit:
            raise Invalid("an element is cut off, or there are more than any image has")
        if not implicit:
            group, number, code, length = self.explicit_head(self.data, at)
            vr = VRS.get(code)
            if vr in LONG:
                if at + 12 > limit:
                    raise Invalid("an element is cut off")
                if length:  # reserved bytes, in which nothing is to be passed on
                    self.odd = True
                return group << 16 | number, vr, self.long_length(self.data, at + 8)[0], at + 12
            if vr is not None or group == DELIMITERS:
                return group << 16 | number, vr, length, at + 8
            self.odd = True
        group, number, length = self.implicit_head(self.data, at)
        return group << 16 | number, None, length, at + 8

    def _element(self, at: int, head: Head, limit: int, into: DataSet, depth: int) -> tuple[Element, int]:
        """The element, and the position after it."""
        tag, declared, length, start = head
        vr = declared if declared and declared != "UN" else self._known_vr(tag, declared, length, into)
        if vr != declared and not self.implicit:
            at = -1
        if length == UNDEFINED:
            return self._undefined((tag, vr, at, start, start, ()), limit, into, depth)
        end = start + length
        if end > limit:
            raise Invalid("an element is longer than what it is in")
        if vr == "SQ":
            items, _ = self._items(start, end, into, depth + 1, delimited=False)
            return (tag, vr, at, start, end, items), end
        if tag == CHARACTER_SET:
            into.charset = self.data[start:end]
        elif tag & ODD_GROUP and tag & 0xFFFF in CREATORS:
            into.creators[tag] = self.data[start:end].rstrip(b" \0").decode("latin-1")
        return (tag, vr, at, start, end, ()), end

    def _undefined(self, found: Element, limit: int, into: DataSet, depth: int) -> tuple[Element, int]:
        tag, vr, at, start, _, _ = found
        if self.encapsulated and tag == PIXEL_DATA and vr[:2] in {"OB", "OW"} and depth == 0:
            end = self._fragments(start, limit)
            return (tag, vr, at, start, end, ()), end
        self.odd |= vr not in {"SQ", "UN"}
        items, end = self._items(start, limit, into, depth + 1, delimited=True)
        return (tag, "SQ", at if vr == "SQ" else -1, start, end, items), end

    def _items(
        self, at: int, limit: int, parent: DataSet, depth: int, *, delimited: bool
    ) -> tuple[tuple[DataSet, ...], int]:
        """A sequence's items and the position after it."""
        if depth > DEEPEST:
            raise Invalid("sequences are nested too deeply")
        items: list[DataSet] = []
        while at < limit:
            tag, _, length, start = self._head(at, limit, implicit=True)
            if tag == SEQUENCE_END and delimited:
                return tuple(items), start
            end = limit if length == UNDEFINED else start + length
            if tag != ITEM or end > limit:
                raise Invalid("a sequence holds something else than items, or longer ones than itself")
            item = DataSet(parent.implicit or self._looks_implicit(start, end), parent.charset)
            at = self._fill(item, start, end, depth, delimited=length == UNDEFINED)
            items.append(item)
        if delimited:
            raise Invalid("a sequence of undefined length has no end")
        return tuple(items), at

    def _fragments(self, at: int, limit: int) -> int:
        """The position after encapsulated pixel data (PS3.5 §A.4), whose fragments are passed on as they are."""
        while True:
            tag, _, length, start = self._head(at, limit, implicit=True)
            if tag == SEQUENCE_END:
                return start
            at = start + length
            if tag != ITEM or at > limit:
                raise Invalid("encapsulated pixel data holds something else than fragments")

    def _looks_implicit(self, start: int, end: int) -> bool:
        """Whether no VR stands where an explicit element would have it, as pydicom looks at it."""
        code = self.data[start + 4 : min(start + 6, end)]
        return code not in VRS and not (len(code) == 2 and code.isalpha() and code.isupper())  # noqa: PLR2004  letters

    def _known_vr(self, tag: int, declared: str | None, length: int, into: DataSet) -> str:
        """The VR of an element that names none, or UN, as pydicom knows it."""
        if tag & ODD_GROUP:
            return private_vr(tag, into.creators.get(tag >> 16 << 16 | (tag & 0xFF00) >> 8))
        if declared and length >= LONGEST_SHORT:
            return "UN"
        return public_vr(tag) or ("UL" if not (declared or tag & 0xFFFF) else "UN")


@functools.lru_cache(maxsize=8192)
def public_vr(tag: int) -> str | None:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return None


@functools.lru_cache(maxsize=8192)
def private_vr(tag: int, creator: str | None) -> str:
    """From pydicom's dictionary of known vendors."""
    if tag & 0xFFFF in CREATORS:
        return "LO"
    try:
        return str(private_dictionary_VR(tag, creator)) if creator else "UN"
    except KeyError:
        return "UN"
