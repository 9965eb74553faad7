"""A second reader, stricter than the parser and by other code: it takes only what the rewriter is meant to write.

Group 0002 with its true length, little endian, UTF-8, VRs of the standard, ascending tags, defined lengths that fill
what they are in to the last byte. Whatever is written otherwise is `Odd`, and left to pydicom.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, UID_dictionary

from radrelay_anonymize.domain.pieces import PIECE, Buffer, Output, let_go

# Tag, VR, where the element begins, where its value does, where both end. The VR is the dictionary's if none is said.
Spot = tuple[int, str, int, int, int]

META, GROUP_LENGTH = 132, b"DICM\x02\0\0\0UL\x04\0"
SHORT = frozenset({
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI",
    "UL", "US",
})  # fmt: skip
LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UR", "UT", "UV"})  # UN may be anything
NAMES = {vr.encode(): vr for vr in SHORT | LONG}
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
ITEM, DELIMITERS, END_OF_FRAGMENTS, UNDEFINED = 0xFFFEE000, 0xFFFE, 0xFFFEE0DD, 0xFFFFFFFF
SYNTAX, CHARACTER_SET = BaseTag(0x00020010), BaseTag(0x00080005)
ELSEWHERE = frozenset({ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian})

_explicit, _implicit, _long = Struct("<HH2sH").unpack_from, Struct("<HHI").unpack_from, Struct("<I").unpack_from


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
    meta = FileMetaDataset(raws(head, first, implicit=False))
    syntax = _text(meta.get_item(SYNTAX))
    if syntax not in UID_dictionary or syntax in ELSEWHERE or end != start:
        raise Odd
    implicit = syntax == ImplicitVRLittleEndian
    spots, end = elements(head, start, len(head), implicit=implicit)
    rest: Buffer = memoryview(head)[end:]
    if len(rest) and len(pixels):
        raise Odd
    dataset = FileDataset(None, raws(head, spots, implicit=implicit), head[: META - 4], meta, implicit, True)
    if _text(dataset.get_item(CHARACTER_SET)) != "ISO_IR 192":
        raise Odd
    dataset.set_original_encoding(implicit, True, "utf8")
    return Seen(dataset, implicit, head[:end], first, spots, _are_pixels(rest or pixels, implicit=implicit))


def elements(data: bytes, at: int, limit: int, *, implicit: bool) -> tuple[list[Spot], int]:
    """The elements up to the limit, or to the pixels; and where that is."""
    found: list[Spot] = []
    creators: dict[int, str] = {}
    before = -1
    while at < limit:
        tag, vr, start, length = _head(data, at, creators, implicit=implicit)
        if tag in PIXELS:
            break
        end = start + length
        if tag <= before or tag >> 16 == DELIMITERS or end > limit:
            raise Odd
        if tag & 0x10000 and tag & 0xFF00 == 0:
            creators[tag] = data[start:end].decode("latin-1").rstrip(" \0")
        found.append((tag, vr, at, start, end))
        before, at = tag, end
    return found, at


def _head(data: Buffer, at: int, creators: dict[int, str], *, implicit: bool) -> tuple[int, str, int, int]:
    """Tag, VR, where the value begins, its length."""
    if implicit:
        group, number, length = _implicit(data, at)
        tag = group << 16 | number
        return tag, known_vr(tag, creators), at + 8, length
    group, number, code, length = _explicit(data, at)
    vr = NAMES.get(code)
    if vr is None:
        raise Odd
    if vr in SHORT:
        return group << 16 | number, vr, at + 8, length
    if length:  # reserved
        raise Odd
    return group << 16 | number, vr, at + 12, _long(data, at + 8)[0]


def items(data: bytes, at: int, limit: int) -> Iterator[tuple[int, int]]:
    """Where each item of a sequence begins and ends."""
    while at < limit:
        group, number, length = _implicit(data, at)
        start, at = at + 8, at + 8 + length
        if group << 16 | number != ITEM or at > limit:
            raise Odd
        yield start, at


def raws(data: bytes, spots: list[Spot], *, implicit: bool) -> dict[BaseTag, RawDataElement]:
    """The elements for pydicom, which parses a value when somebody asks for it."""
    found = {}
    for tag, vr, _, start, end in spots:
        key = BaseTag(tag)
        found[key] = RawDataElement(key, None if implicit else vr, end - start, data[start:end], start, implicit, True)
    return found


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
