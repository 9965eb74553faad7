"""What each VR of PS3.5 can hide: a value for each of all 34, and how it is found again in raw bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache

from canary.patients import in_base64, spellings
from hideouts.writing import ROOT, Encoding

KNOWN, STRANGER = "Qzxcanary", "Vbkstranger"  # the patient; somebody of whom no header says that it is a name
NAME = f"{KNOWN}^Ann"
BOTH = f"{KNOWN} {STRANGER}"
DATE, TIME, AGE, UID = "19690312", "081533.718281", "094Y", f"{ROOT}.14142135"
NUMBER = 618033988  # somebody's, perhaps


def said(value: str) -> Callable[[str], bytes]:
    return lambda _order: value.encode()


def packed(code: str, *values: float) -> Callable[[str], bytes]:
    return lambda order: struct.pack(f"{order}{len(values)}{code}", *values)


# By byte order.
VALUES: dict[str, Callable[[str], bytes]] = {
    **dict.fromkeys(("LO", "LT", "OB", "OW", "SH", "ST", "UC", "UN", "UT"), said(BOTH)),
    **dict.fromkeys(("AE", "CS"), said(BOTH.upper())),
    **dict.fromkeys(("PN", "SQ"), said(NAME)),  # a sequence of one name
    "AS": said(AGE),
    "AT": packed("H", 0x1234, 0x5678, 0x2345, 0x6789),
    "DA": said(DATE),
    "DS": said(f"{NUMBER}.5"),
    "DT": said(f"{DATE}{TIME}"),
    "FD": packed("d", NUMBER + 0.5),
    "FL": packed("f", NUMBER, 2 / NUMBER),
    "IS": said(f"{NUMBER + 10}"),
    "OD": packed("d", NUMBER + 0.25, NUMBER),
    "OF": packed("f", 3 / NUMBER, 4 / NUMBER),
    "OL": packed("I", NUMBER + 1, NUMBER + 2),
    "OV": packed("Q", NUMBER + 3, NUMBER + 4),
    "SL": packed("i", -NUMBER, NUMBER + 5),
    "SS": packed("h", -31416, -27183, -16180, -14142),
    "SV": packed("q", -NUMBER - 6),
    "TM": said(TIME),
    "UI": said(UID),
    "UL": packed("I", NUMBER + 7, NUMBER + 8),
    "UR": said(f"https://example.org/{KNOWN}/{STRANGER}"),
    "US": packed("H", 31416, 27183, 16180, 14142),
    "UV": packed("Q", NUMBER + 9),
}
WORDED = frozenset({"AE", "CS", "LO", "LT", "OB", "OW", "PN", "SH", "SQ", "ST", "UC", "UN", "UR", "UT"})


def hidden(encoding: Encoding, tag: int, vr: str) -> bytes:
    """An element of this VR with something of somebody in it."""
    value = VALUES[vr](encoding.order)
    if vr == "SQ":
        return encoding.sequence(tag, {0x00100010: encoding.element(0x00100010, "PN", value)})
    return encoding.element(tag, vr, value)


def found(data: bytes, order: str) -> set[str]:
    """What of all that stands in the bytes: VRs, and words in whatever spelling."""
    folded = data.lower()
    return {what for what, needle in _needles(order) if needle in folded} | {
        what for what, needle in _exact() if needle in data
    }


@cache
def _needles(order: str) -> tuple[tuple[str, bytes], ...]:
    values = [(vr, make(order).lower()) for vr, make in VALUES.items() if vr not in WORDED]
    return (*values, *((word, form) for word in (KNOWN, STRANGER) for form in spellings(word)))


@cache
def _exact() -> tuple[tuple[str, bytes], ...]:
    return tuple(_in_base64())


def _in_base64() -> Iterator[tuple[str, bytes]]:
    for word in (KNOWN, STRANGER):
        yield from ((f"{word} in base64", part) for case in (word, word.upper()) for part in in_base64(case.encode()))
