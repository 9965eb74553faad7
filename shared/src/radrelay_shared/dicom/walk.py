"""Walking over the elements of a data set (PS3.5 §7.1) while it comes, nested ones included, keeping a few values.

pydicom would do it in ten times the time, and this is between an instance's last byte and its acknowledgement.
"""

from __future__ import annotations

from collections.abc import Collection
from struct import Struct

from radrelay_shared.errors import Invalid

Values = dict[int, bytes]

UNDEFINED = 0xFFFF_FFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD
DELIMITERS = ITEM >> 16  # their group
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # 2 reserved bytes, 4 of length
HEADER, LONG_HEADER = 8, 12  # bytes
SHORT = 4096  # bytes: longer values are not kept
DEPTH = 64  # of sequences within sequences


class Walk:
    """Feed it a data set in pieces of any size; it keeps the wanted values and holds one element's beginning back.

    It stops before the first element behind the tag `last`; `rest` is then what it was fed of that and the others.
    """

    def __init__(self, wanted: Collection[int], *, implicit: bool, little: bool, last: int = UNDEFINED) -> None:
        self.wanted, self.implicit, self.last = wanted, implicit, last
        order = "<" if little else ">"
        self.explicit_header, self.long = Struct(order + "HH2sH"), Struct(order + "I")
        self.values: Values = {}
        self.held = b""
        self.missing = 0  # bytes of a value
        self.inside: list[tuple[int, bool]] = []  # sequences and items: how each ends, whether VRs are implicit then
        self.padding = False  # zeros follow the last element
        self.rest: memoryview | None = None

    def feed(self, data: memoryview) -> None:
        """Go on; raises `Invalid` where the data set is damaged."""
        if self.rest is not None:
            return
        if self.held:
            data, self.held = memoryview(self.held + data), b""
        at = self.missing
        while at + HEADER <= len(data):
            end = self._element(data, at)
            if end is None:
                break
            at = end
        self.missing = max(at - len(data), 0)
        if self.rest is None:
            self.held = bytes(data[at:])

    def skip(self) -> int:
        """How many of the next bytes it need not be fed: they are a value's."""
        skipped, self.missing = self.missing, 0
        return skipped

    def finish(self) -> None:
        """The data set has ended; raises `Invalid` if it should not have."""
        if self.missing and not self.inside:
            raise Invalid(f"truncated: {self.missing} bytes of the last element are missing")
        if self.missing or self.inside or len(self.held) >= HEADER:
            raise _cut()
        _check_padding(self.held)

    def _element(self, data: memoryview, at: int) -> int | None:
        """Where the next element begins; None if this one is not to be taken, or not yet."""
        group, element, vr, length = self.explicit_header.unpack_from(data, at)
        tag, begin = group << 16 | element, at + HEADER
        if self.padding or not (tag or any(data[at:begin])):
            return self._pad(data, at)
        if self.implicit or group == DELIMITERS or not vr.isupper():
            (length,) = self.long.unpack_from(data, at + 4)
        elif vr in LONG_VRS:
            begin = at + LONG_HEADER
            if begin > len(data):
                return None
            (length,) = self.long.unpack_from(data, at + HEADER)
        if tag > self.last and not self.inside:
            self.rest = data[at:]
            return None
        if self.inside or length == UNDEFINED:
            return begin + self._within(tag, vr, length)
        if tag in self.wanted and length <= SHORT:
            if begin + length > len(data):
                return None
            self.values[tag] = bytes(data[begin : begin + length])
        return begin + int(length)

    def _within(self, tag: int, vr: bytes, length: int) -> int:
        """Go into or out of a sequence or an item; how many bytes then are to be skipped."""
        if self.inside and tag == self.inside[-1][0]:
            _, self.implicit = self.inside.pop()
        elif length == UNDEFINED:
            if len(self.inside) == DEPTH:
                raise Invalid(f"damaged: more than {DEPTH} sequences within each other")
            self.inside.append((ITEM_END if tag == ITEM else SEQUENCE_END, self.implicit))
            # A sequence of unknown VR and undefined length is in implicit VR (PS3.5 §6.2.2, note 2).
            self.implicit = self.implicit or (vr == b"UN" and tag != ITEM)
        else:
            return length
        return 0

    def _pad(self, data: memoryview, at: int) -> int:
        if self.inside:
            raise _cut()
        self.padding = True
        _check_padding(data[at:])
        return len(data)


def _check_padding(data: bytes | memoryview) -> None:
    if bytes(data).strip(b"\0"):
        raise Invalid("truncated or damaged: the data set does not end with an element's end")


def _cut() -> Invalid:
    return Invalid("truncated: the file ends within an element")
