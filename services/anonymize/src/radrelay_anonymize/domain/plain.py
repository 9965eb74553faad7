"""Elements that are read at a glance: explicit, short, and nothing by which others are read. Nearly all are."""

from __future__ import annotations

import functools
from collections.abc import Callable
from struct import Struct, pack, unpack
from typing import Any, NamedTuple

from pydicom.datadict import dictionary_VR

from radrelay_anonymize.domain.pieces import Data
from radrelay_anonymize.domain.remembering import remember
from radrelay_anonymize.domain.runs import ALWAYS, HEAD, LONGEST_RUN, MOST_IN_RUN, OFTEN, Element
from radrelay_anonymize.domain.words import kind_of
from radrelay_shared.dicom.walk import ITEM

ODD_GROUP = 0x00010000  # private
CREATORS = range(0x10, 0x100)  # elements (PS3.5 §7.8.1)
LONGEST_SHORT = 0xFFFF  # bytes
LONGEST_PLAIN = LONGEST_RUN // MOST_IN_RUN - HEAD  # bytes of a value
LONG_HEAD = 12  # bytes, of a sequence
BEFORE_ITEM = LONG_HEAD + HEAD
CHARACTER_SET = 0x00080005

# PS3.5 §7.1.2: VRs whose length has 16 bits, and those with 32 after two reserved bytes.
SHORT = frozenset({
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI",
    "UL", "US",
})  # fmt: skip
LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
VRS = {vr.encode(): vr for vr in SHORT | LONG}

Unpack = Callable[[Data, int], tuple[Any, ...]]


class PlainHeads(dict[bytes, tuple[int, str, "str | None", int, int]]):
    """What the eight bytes before a short value say: tag, VR, kind of name, which tags it stands with, where it ends.

    The tag is -1 if the element is not plain: explicit, short, and nothing by which others are read.
    """

    def __missing__(self, head: bytes) -> tuple[int, str, str | None, int, int]:
        group, number, code, length = unpack("<HH2sH", head.ljust(HEAD, b"\0"))
        tag, vr = group << 16 | number, VRS.get(code)
        found: tuple[int, str, str | None, int, int] = (-1, "", None, 0, 0)
        if vr in SHORT and not is_creator(tag) and tag != CHARACTER_SET and length <= LONGEST_PLAIN:
            found = (tag, vr, kind_of(tag, vr), (tag in OFTEN) + 2 * (tag in ALWAYS), HEAD + length)
        if public_vr(tag):  # so that foreign tags cannot fill the memory
            remember(self, head, found)
        return found


PLAIN_HEADS = PlainHeads()


class Mould(NamedTuple):
    """A sequence of one item of plain elements, without their values: frames often differ in nothing but these."""

    tag: int
    size: int
    said: list[tuple[int, str]]  # tags and VRs in the item
    heads: tuple[bytes, ...]  # the item's, those of its elements
    heads_in: Unpack
    elements_in: Unpack

    @classmethod
    def of(cls, sequence: Element, length: int) -> Mould | None:
        """None if it holds anything else, or names; `length` are all its bytes."""
        tag, _, _, _, items = sequence
        elements = list(items[0].elements) if len(items) == 1 else []
        heads = [bytes(raw[:HEAD]) for _, _, raw, _, _ in elements]
        plain = [PLAIN_HEADS[head] for head in heads]
        said, sizes = [each[:2] for each in plain], [size for *_, size in plain]
        is_named = any(kind for _, _, kind, _, _ in plain)
        if not said or said != [each[:2] for each in elements] or is_named or length != BEFORE_ITEM + sum(sizes):
            return None
        item = pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, sum(sizes))
        apart = Struct(f"{LONG_HEAD}x{HEAD}s" + "".join(f"{HEAD}s{size - HEAD}x" for size in sizes))
        whole = Struct(f"{BEFORE_ITEM}x" + "".join(f"{size}s" for size in sizes))
        return cls(tag, length, said, (item, *heads), apart.unpack_from, whole.unpack_from)

    def poured(self, data: Data, at: int) -> list[Element] | None:
        """The item's elements, if such a sequence begins there."""
        if self.heads_in(data, at) != self.heads:
            return None
        raws = self.elements_in(data, at)
        return [(tag, vr, raw, HEAD, ()) for (tag, vr), raw in zip(self.said, raws, strict=True)]


def is_creator(tag: int) -> bool:
    """Whether the element names the private creator of a block (PS3.5 §7.8.1)."""
    return bool(tag & ODD_GROUP) and tag & 0xFFFF in CREATORS


@functools.lru_cache(maxsize=8192)
def public_vr(tag: int) -> str | None:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return None
