"""A second reader, stricter than the parser and by other code: it takes only what the rewriter is meant to write.

Group 0002 with its true length, little endian, UTF-8, VRs of the standard, ascending tags, defined lengths that fill
what they are in to the last byte. Whatever is written otherwise is `Odd`, and left to pydicom.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Any, NamedTuple

from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, UID_dictionary

from radrelay_anonymize.domain.pieces import PIECE, Buffer, Output, let_go
from radrelay_anonymize.domain.remembering import remember

# Tag, VR, all its bytes, and where in them the value begins. The VR is the dictionary's if none is said.
Spot = tuple[int, str, Buffer, int]
Unpack = Callable[[Buffer, int], tuple[Any, ...]]

LONGEST_REMEMBERED = 4096  # bytes of an element; of longer ones, there are views
META, GROUP_LENGTH = 132, b"DICM\x02\0\0\0UL\x04\0"
SHORT = frozenset({
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI",
    "UL", "US",
})  # fmt: skip
LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UR", "UT", "UV"})  # UN may be anything
NAMES = {vr.encode(): vr for vr in SHORT | LONG}
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
ITEM, DELIMITERS, END_OF_FRAGMENTS, UNDEFINED = 0xFFFEE000, 0xFFFE0000, 0xFFFEE0DD, 0xFFFFFFFF
SYNTAX, CHARACTER_SET = BaseTag(0x00020010), BaseTag(0x00080005)
ELSEWHERE = frozenset({ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian})

LAYOUTS: dict[tuple[int, bool], Layout] = {}  # by the elements' length, and whether they are implicit
MOST_LAYOUTS = 64

_explicit, _implicit, _long = Struct("<HH2sH").unpack, Struct("<HHI").unpack_from, Struct("<I").unpack_from


class Odd(Exception):
    """Not written as the rewriter writes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read: the data set before its pixels, its bytes, and where in them the elements lie."""

    dataset: FileDataset
    implicit: bool
    head: bytes
    meta: list[Spot]
    spots: list[Spot]
    is_whole: bool  # nothing but the pixels follows


def seen(output: Output) -> Seen:
    """The output as its readers will find it; raises `Odd`."""
    try:
        return _seen(output.head, output.pixels)
    except (struct.error, IndexError):  # a head that is cut
        raise Odd from None


def _seen(head: bytes, pixels: Buffer) -> Seen:
    if head[META - 4 : META + 8] != GROUP_LENGTH:
        raise Odd
    start = META + 12 + _long(head, META + 8)[0]
    first, end = elements(head, META + 12, start, implicit=False)
    meta = FileMetaDataset(raws(first, implicit=False))
    syntax = _text(meta.get_item(SYNTAX))
    if syntax not in UID_dictionary or syntax in ELSEWHERE or end != start:
        raise Odd
    implicit = syntax == ImplicitVRLittleEndian
    spots, end = _top(head, start, implicit=implicit)
    rest: Buffer = memoryview(head)[end:]
    if len(rest) and len(pixels):
        raise Odd
    dataset = FileDataset(None, raws(spots, implicit=implicit), head[: META - 4], meta, implicit, True)
    if _text(dataset.get_item(CHARACTER_SET)) != "ISO_IR 192":
        raise Odd
    dataset.set_original_encoding(implicit, True, "utf8")
    return Seen(dataset, implicit, head[:end], first, spots, _are_pixels(rest or pixels, implicit=implicit))


def _top(head: bytes, start: int, *, implicit: bool) -> tuple[list[Spot], int]:
    """The elements before the pixels, by a layout that is known if they are laid out so; and where they end."""
    size = len(head) - start
    layout = LAYOUTS.get((size, implicit))
    known = layout and layout.spots(head, start)
    if known:
        return known, len(head)
    spots, end = elements(head, start, len(head), implicit=implicit)
    if end == len(head) and all(not tag & 0x10000 and isinstance(raw, bytes) for tag, _, raw, _ in spots):
        remember(LAYOUTS, (size, implicit), Layout.of(spots), MOST_LAYOUTS)
    return spots, end


class Layout(NamedTuple):
    """How one copy's elements lie: most copies of a series differ from another one in nothing but values."""

    said: list[tuple[int, str, int]]
    heads: tuple[bytes, ...]
    heads_in: Unpack
    elements_in: Unpack

    @classmethod
    def of(cls, spots: list[Spot]) -> Layout:
        heads = "".join(f"{start}s{len(raw) - start}x" for _, _, raw, start in spots)
        whole = "".join(f"{len(raw)}s" for _, _, raw, _ in spots)
        return cls(
            [(tag, vr, start) for tag, vr, _, start in spots],
            tuple(bytes(raw[:start]) for _, _, raw, start in spots),
            Struct(heads).unpack_from,
            Struct(whole).unpack_from,
        )

    def spots(self, data: bytes, at: int) -> list[Spot] | None:
        """The elements that begin there, None if any of them is another, or of another length."""
        if self.heads_in(data, at) != self.heads:
            return None
        raws = self.elements_in(data, at)
        return [(tag, vr, raw, start) for (tag, vr, start), raw in zip(self.said, raws, strict=True)]


def elements(data: Buffer, at: int, limit: int, *, implicit: bool) -> tuple[list[Spot], int]:
    """The elements up to the limit, or to the pixels; and where that is."""
    found: list[Spot] = []
    creators: dict[int, str] = {}
    before = -1
    while at < limit:
        tag, vr, start, length = _head(data, at, creators, implicit=implicit)
        if tag in PIXELS:
            break
        end = start + length
        if not before < tag < DELIMITERS or end > limit:
            raise Odd
        raw = bytes(data[at:end]) if end - at <= LONGEST_REMEMBERED else memoryview(data)[at:end]
        if implicit and tag & 0x10000 and tag & 0xFF00 == 0:
            creators[tag] = bytes(data[start:end]).decode("latin-1").rstrip(" \0")
        found.append((tag, vr, raw, start - at))
        before, at = tag, end
    return found, at


def _head(data: Buffer, at: int, creators: dict[int, str], *, implicit: bool) -> tuple[int, str, int, int]:
    """Tag, VR, where the value begins, its length."""
    if implicit:
        group, number, length = _implicit(data, at)
        tag = group << 16 | number
        return tag, known_vr(tag, creators), at + 8, length
    tag, vr, length, is_long = _said(bytes(data[at : at + 8]))
    return (tag, vr, at + 12, _long(data, at + 8)[0]) if is_long else (tag, vr, at + 8, length)


@functools.lru_cache(maxsize=8192)
def _said(head: bytes) -> tuple[int, str, int, bool]:
    """Tag, VR and length in the first eight bytes of an explicit element, and whether the length follows them."""
    group, number, code, length = _explicit(head)
    vr = NAMES.get(code)
    if vr is None or (vr in LONG and length):  # reserved
        raise Odd
    return group << 16 | number, vr, length, vr in LONG


def items(data: Buffer, at: int, limit: int) -> Iterator[tuple[int, int]]:
    """Where each item of a sequence begins and ends."""
    while at < limit:
        group, number, length = _implicit(data, at)
        start, at = at + 8, at + 8 + length
        if group << 16 | number != ITEM or at > limit:
            raise Odd
        yield start, at


def raws(spots: list[Spot], *, implicit: bool) -> dict[BaseTag, RawDataElement]:
    """The elements for pydicom, which parses a value when somebody asks for it."""
    made = [(_remembered if isinstance(spot[2], bytes) else _raw)(spot, implicit) for spot in spots]
    return {each.tag: each for each in made}


def _raw(spot: Spot, implicit: bool) -> RawDataElement:  # noqa: FBT001  in the innermost loop
    tag, vr, raw, start = spot
    value = bytes(raw[start:])
    return RawDataElement(BaseTag(tag), None if implicit else vr, len(value), value, 0, implicit, True)


_remembered = functools.lru_cache(maxsize=4096)(_raw)  # most come again in every instance of a series


def _text(raw: object) -> str:
    return raw.value.decode("latin-1").rstrip(" \0") if isinstance(raw, RawDataElement) and raw.value else ""


def _are_pixels(element: Buffer, *, implicit: bool) -> bool:
    """Whether this is one element of pixels (PS3.5 §8.1, §A.4), or nothing."""
    if not len(element):
        return True
    tag, vr, at, length = _head(element, 0, {}, implicit=implicit)
    if tag not in PIXELS:
        raise Odd
    if length != UNDEFINED:
        return at + length == len(element)
    return vr[:2] in {"OB", "OW"} and _end_of_fragments(element, at) == len(element)


def _end_of_fragments(element: Buffer, at: int) -> int:
    looked = at
    while True:
        group, number, length = _implicit(element, at)
        tag, at = group << 16 | number, at + 8
        if tag == END_OF_FRAGMENTS:
            return int(at + length)
        if tag != ITEM:
            raise Odd
        at += length
        if at - looked > 32 * PIECE:
            looked = at
            let_go(element)


def known_vr(tag: int, creators: dict[int, str]) -> str:
    """The VR of an element that says none."""
    if not tag & 0x10000:
        return _public_vr(tag)
    return _private_vr(tag, creators.get(tag >> 16 << 16 | (tag & 0xFF00) >> 8, ""))


@functools.lru_cache(maxsize=8192)
def _public_vr(tag: int) -> str:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


@functools.lru_cache(maxsize=8192)
def _private_vr(tag: int, creator: str) -> str:
    if tag & 0xFF00 == 0:
        return "LO"
    try:
        return str(private_dictionary_VR(tag, creator))
    except KeyError:
        return "UN"
