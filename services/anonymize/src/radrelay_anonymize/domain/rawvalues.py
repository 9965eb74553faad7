"""Values between raw bytes and text, as pydicom reads and writes them; plain ASCII goes a short way."""

from __future__ import annotations

import functools
import re
from struct import Struct

from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.tag import BaseTag
from pydicom.values import convert_string

from radrelay_anonymize.domain.plain import LONG, LONGEST_SHORT
from radrelay_anonymize.domain.values import SPELLED
from radrelay_shared.dicom.reading import quietly, texts
from radrelay_shared.dicom.walk import ITEM

MOST_TEXT = 8 << 20  # bytes of text in one instance that are decoded and looked at

# Bytes per value of binary VRs; another length is no value of them.
SIZES = {"AT": 4, "FD": 8, "FL": 4, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8}

# Possessive throughout, for hostile values shall not make the search walk back.
_DECIMAL = rb"(?=[^\\]{0,24}+(?![^\\])) *+(?:[+-]?+(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d++)?+)?+ *+"
_INTEGER = rb"(?=[^\\]{0,14}+(?![^\\])) *+(?:[+-]?+\d++)?+ *+"
NUMBERS = {
    "DS": re.compile(_DECIMAL + rb"(?:\\" + _DECIMAL + rb")*+"),
    "IS": re.compile(_INTEGER + rb"(?:\\" + _INTEGER + rb")*+"),
}  # exactly what `values.FORMS` lets through and pydicom takes for numbers; the rest is asked there

SEVERAL = frozenset({"AS", "CS", "DA", "DT", "LO", "PN", "SH", "TM", "UC", "UI"})  # backslashes separate values
TRIMMED = frozenset({"LO", "SH", "UC", "UI"})  # each of them
ONE = frozenset({"LT", "ST", "UR", "UT"})
ESCAPE = b"\x1b"  # ISO 2022: what follows is not ASCII

_SHORT, _LONG, _IMPLICIT = Struct("<HH2sH").pack, Struct("<HH2sHI").pack, Struct("<HHI").pack


class Unusual(Exception):
    """Right, perhaps, but only pydicom can write it."""


def texts_of(tag: int, vr: str, raw: bytes, charset: bytes) -> list[str]:
    """As `reading.texts` of pydicom's element; none for a VR that is not text. Raises what pydicom raises."""
    if vr not in SPELLED:
        return []
    if raw.isascii() and ESCAPE not in raw and not (vr == "PN" and b"=" in raw):
        if vr in SEVERAL:
            values = raw.decode().rstrip(" \0").split("\\")
            return [text for text in ([each.rstrip("\0 ") for each in values] if vr in TRIMMED else values) if text]
        if vr in ONE:
            text = raw.decode().rstrip("\0 ")
            return [text] if text else []
    element = RawDataElement(BaseTag(tag), vr, len(raw), raw, 0, is_implicit_VR=False, is_little_endian=True)
    with quietly():
        return texts(convert_raw_data_element(element, encoding=encodings(charset)))


@functools.lru_cache(maxsize=64)
def encodings(charset: bytes) -> list[str]:
    """Python's names of the character sets in a raw (0008,0005)."""
    return list(convert_encodings(convert_string(charset, is_little_endian=True)))


def joined(vr: str, values: list[str]) -> bytes:
    """The values as raw bytes of even length, in UTF-8."""
    raw = "\\".join(values).encode()
    return raw + (b"\0" if vr == "UI" else b" ") if len(raw) % 2 else raw


def header(tag: int, vr: str, length: int, *, implicit: bool) -> bytes:
    """Everything of an element before its value (PS3.5 §7.1); raises `Unusual` if the length does not fit."""
    group, number = tag >> 16, tag & 0xFFFF
    if implicit:
        return _IMPLICIT(group, number, length)
    if vr in LONG:
        return _LONG(group, number, vr.encode(), 0, length)
    if length > LONGEST_SHORT or len(vr) > 2:  # noqa: PLR2004  "US or SS" has to be told by the pixels
        raise Unusual("an element needs another VR")
    return _SHORT(group, number, vr.encode(), length)


def item(content: bytes) -> bytes:
    """A sequence's item of defined length (PS3.5 §7.5)."""
    return header(ITEM, "", len(content), implicit=True) + content
