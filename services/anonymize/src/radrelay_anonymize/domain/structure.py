"""Part 10 bytes as a light tree of elements: nothing large is copied, and every length is checked.

Time and memory are bounded by the file's size and `MOST_ELEMENTS`, whatever lengths it claims.
"""

from __future__ import annotations

import functools
import struct
from struct import Struct

from pydicom.datadict import private_dictionary_VR

from radrelay_anonymize.domain.pieces import Buffer, Data, let_go
from radrelay_anonymize.domain.plain import (
    CHARACTER_SET,
    CREATORS,
    LONG,
    LONG_HEAD,
    LONGEST_SHORT,
    ODD_GROUP,
    PLAIN_HEADS,
    VRS,
    Mould,
    Unpack,
    is_creator,
    public_vr,
)
from radrelay_anonymize.domain.runs import (
    ALWAYS,
    HEAD,
    LONGEST_RUN,
    MEMORY,
    MOST_IN_RUN,
    DataSet,
    Element,
    Named,
    Run,
    Runs,
)
from radrelay_anonymize.domain.words import kind_of
from radrelay_shared.dicom.reading import DEEPEST
from radrelay_shared.dicom.walk import DELIMITERS, ITEM, ITEM_END, SEQUENCE_END, UNDEFINED
from radrelay_shared.errors import Invalid

MOST_ELEMENTS = 500_000  # 25,000 frames with twenty each

MOST_HELD = 32 << 20  # bytes of a mapped file
PIXEL_DATA = 0x7FE00010


def _order(sign: str) -> tuple[Unpack, Unpack, Unpack, bytes]:
    """How heads are read in this byte order, explicit and implicit ones and long lengths; and the end of an item."""
    explicit, implicit, long = (Struct(sign + fields).unpack_from for fields in ("HH2sH", "HHI", "I"))
    return explicit, implicit, long, struct.pack(sign + "HH", ITEM_END >> 16, ITEM_END & 0xFFFF)


LITTLE, BIG = _order("<"), _order(">")
# Tag, VR as declared, length, start of the value.
Head = tuple[int, "str | None", int, int]


class Parser:
    """One pass over `data`; raises `Invalid` for what cannot be read, or not within bounds.

    `odd` tells afterwards that pydicom reads something else than the bytes plainly say.
    """

    def __init__(self, data: Data, *, implicit: bool, encapsulated: bool = False, big_endian: bool = False) -> None:
        self.data, self.view = data, memoryview(data)
        self.implicit, self.encapsulated = implicit, encapsulated
        self.explicit_head, self.implicit_head, self.long_length, self.end_of_item = BIG if big_endian else LITTLE
        self.left = MOST_ELEMENTS
        self.named: list[Named] = []
        self.odd = big_endian
        self.recalls = not big_endian  # not within what differs from frame to frame
        self.moulds: dict[bytes, Mould | None] = {}  # of such, by tag and length

    def data_set(self, start: int, end: int) -> DataSet:
        """The data set in `data[start:end]`."""
        if start < end and self._looks_implicit(start, end) != self.implicit:
            self.odd, self.implicit = True, not self.implicit
        found = DataSet(self.implicit)
        self._fill(found, start, end, depth=0, delimited=False)
        return found

    def _fill(self, into: DataSet, at: int, limit: int, depth: int, *, delimited: bool) -> int:
        """Add runs up to the limit, or to the item's delimiter; the position after that."""
        before, add = -1, into.runs.append
        known = self._known(into, depth)
        again: list[Run] = []  # recalled one after the other
        while at < limit:
            run = self._recalled(known, at, limit, before) if known and not self.odd else None
            if run is not None:
                MEMORY.follow(again, run, known)
                at += len(run.raw)
                self.left -= run.heads
                self.named += run.named
            else:
                MEMORY.join(again, known)
                if delimited and self.data[at : at + 4] == self.end_of_item:
                    return self._head(at, limit, into.implicit)[3]
                run, at = self._moulded(into, at, limit, depth, before) or self._run(into, at, limit, depth, before)
                if run.raw:
                    MEMORY.add(run, known)
                elif run.elements[0][0] == CHARACTER_SET or is_creator(run.elements[0][0]):
                    known = self._known(into, depth)
            add(run)
            before = run.elements[-1][0]
        MEMORY.join(again, known)
        if delimited:
            raise Invalid("an item of undefined length has no end")
        return at

    def _known(self, into: DataSet, depth: int) -> Runs:
        """The runs that are read as here."""
        if not self.recalls:
            return {}
        return MEMORY.among(into.charset, into.creators, self.implicit, into.implicit, depth)

    def _recalled(self, known: Runs, at: int, limit: int, before: int) -> Run | None:
        data = self.data
        for run in known.get(data[at : at + HEAD], ()):
            end = at + len(run.raw)
            if data[at:end] == run.raw and end <= limit and before < run.elements[0][0] and run.heads <= self.left:
                return run
        return None

    def _moulded(self, into: DataSet, at: int, limit: int, depth: int, before: int) -> tuple[Run, int] | None:
        """The sequence that begins here and the position after it, if it is like the last one in all but values."""
        mould = self.moulds.get(self.data[at : at + LONG_HEAD])
        if mould is None or mould.tag <= before or at + mould.size > limit or into.implicit or self.odd:
            return None
        elements = mould.poured(self.data, at)
        if elements is None or len(elements) + 2 > self.left or depth >= DEEPEST:
            return None
        self.left -= len(elements) + 2
        item = DataSet(implicit=False, charset=into.charset, runs=[Run(elements, (), len(elements), b"")])
        return Run([(mould.tag, "SQ", b"", 0, (item,))], (), len(elements) + 2, b""), at + mould.size

    def _run(self, into: DataSet, at: int, limit: int, depth: int, before: int) -> tuple[Run, int]:
        """The elements from here on that may be recalled together, or the one that may not; the position after them."""
        start, left, names = at, self.left, len(self.named)
        found, at = self._plain(into, at, limit, before)
        if not found:
            element, at = self._element(at, limit, into, depth)
            self.odd |= element[0] <= before or element[0] == ITEM_END
            if kind := kind_of(element[0], element[1]):
                self.named.append((kind, element, into.charset))
            found = [element]
        tag, vr, _, _, _ = found[0]
        if vr == "SQ" and tag in ALWAYS:
            self.moulds[self.data[start : start + LONG_HEAD]] = Mould.of(found[0], at - start)
        recalled = self.recalls and not (self.odd or tag in ALWAYS or is_creator(tag) or at - start > LONGEST_RUN)
        return Run(found, self.named[names:], left - self.left, self.data[start:at] if recalled else b""), at

    def _plain(self, into: DataSet, at: int, limit: int, before: int) -> tuple[list[Element], int]:
        """Explicit, short, in order: nearly all elements are. The others are read one by one."""
        data, among = self.data, -1
        found: list[Element] = []
        for _ in range(0 if into.implicit or self.odd else min(MOST_IN_RUN, self.left)):
            tag, vr, kind, others, size = PLAIN_HEADS[data[at : at + HEAD]]
            end = at + size
            if tag <= before or end > limit or (others != among and found and self.recalls):
                break
            element: Element = (tag, vr, data[at:end], HEAD, ())
            found.append(element)
            before, at, among = tag, end, others
            if kind:
                self.named.append((kind, element, into.charset))
        self.left -= len(found)
        return found, at

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

    def _element(self, at: int, limit: int, into: DataSet, depth: int) -> tuple[Element, int]:
        """The element, and the position after it."""
        tag, declared, length, start = self._head(at, limit, into.implicit)
        vr = declared if declared and declared != "UN" else self._known_vr(tag, declared, length, into)
        if vr != declared and not self.implicit:
            at = start  # its header says another VR
        if length == UNDEFINED:
            return self._undefined((tag, vr, at, start), limit, into, depth)
        end = start + length
        if end > limit or (vr == "AT" and length > LONGEST_SHORT):
            raise Invalid("an element is longer than what it is in, or than any list of tags")
        if self.encapsulated and tag == PIXEL_DATA and depth == 0:
            raise Invalid("the transfer syntax promises fragments, and the pixel data has none")
        if vr == "SQ":
            items, _ = self._items(tag, start, end, into, depth + 1, delimited=False)
            return (tag, vr, b"", 0, items), end
        if tag == CHARACTER_SET:
            into.charset = self.data[start:end]
        elif is_creator(tag):
            into.creators[tag] = self.data[start:end].rstrip(b" \0").decode("latin-1")
        return (tag, vr, self._raw(at, end), start - at, ()), end

    def _raw(self, at: int, end: int) -> Buffer:
        return self.data[at:end] if end - at <= LONGEST_RUN else self.view[at:end]

    def _undefined(
        self, found: tuple[int, str, int, int], limit: int, into: DataSet, depth: int
    ) -> tuple[Element, int]:
        tag, vr, at, start = found
        if tag == PIXEL_DATA and vr[:2] in {"OB", "OW"} and depth == 0:
            if not self.encapsulated:
                raise Invalid("there are fragments of pixel data, which the transfer syntax does not allow")
            end = self._fragments(start, limit)
            return (tag, vr, self._raw(at, end), start - at, ()), end
        self.odd |= vr not in {"SQ", "UN"}
        items, end = self._items(tag, start, limit, into, depth + 1, delimited=True)
        return (tag, "SQ", b"", 0, items), end

    def _items(
        self, sequence: int, at: int, limit: int, parent: DataSet, depth: int, *, delimited: bool
    ) -> tuple[tuple[DataSet, ...], int]:
        """A sequence's items and the position after it."""
        if depth > DEEPEST:
            raise Invalid("sequences are nested too deeply")
        around, self.recalls = self.recalls, self.recalls and sequence not in ALWAYS
        items: list[DataSet] = []
        while at < limit:
            tag, _, length, start = self._head(at, limit, True)
            if tag == SEQUENCE_END and delimited:
                break
            end = limit if length == UNDEFINED else start + length
            if tag != ITEM or end > limit:
                raise Invalid("a sequence holds something else than items, or longer ones than itself")
            item = DataSet(parent.implicit or self._looks_implicit(start, end), parent.charset)
            at = self._fill(item, start, end, depth, delimited=length == UNDEFINED)
            items.append(item)
        else:
            start = at
            if delimited:
                raise Invalid("a sequence of undefined length has no end")
        self.recalls = around
        return tuple(items), start

    def _fragments(self, at: int, limit: int) -> int:
        """The position after encapsulated pixel data (PS3.5 §A.4), whose fragments are passed on as they are."""
        held = at
        items: list[tuple[int, int]] = []  # where each begins, and its value
        while True:
            tag, _, length, start = self._head(at, limit, implicit=True)
            if tag == SEQUENCE_END:
                self._check_offsets(items, at)
                return start
            items.append((at, start))
            at = start + length
            if at - held > MOST_HELD:
                held = at
                let_go(self.data)
            if tag != ITEM or at > limit:
                raise Invalid("encapsulated pixel data holds something else than fragments")

    def _check_offsets(self, items: list[tuple[int, int]], end: int) -> None:
        """The first item is empty, or says where frames begin, counted from the second one: at fragments only."""
        begins = [at for at, _ in items[1:]]
        if not begins:
            raise Invalid("encapsulated pixel data holds no fragment")
        table = self.data[items[0][1] : begins[0]]
        offsets = {offset for (offset,) in Struct("<I").iter_unpack(table)} if len(table) % 4 == 0 else {end}
        if not offsets <= {at - begins[0] for at in begins}:
            raise Invalid("the offset table of encapsulated pixel data points at no fragment")

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
def private_vr(tag: int, creator: str | None) -> str:
    """From pydicom's dictionary of known vendors."""
    if tag & 0xFFFF in CREATORS:
        return "LO"
    try:
        return str(private_dictionary_VR(tag, creator)) if creator else "UN"
    except KeyError:
        return "UN"
