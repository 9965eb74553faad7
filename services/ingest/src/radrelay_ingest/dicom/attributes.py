"""Attribute matching of C-FIND (PS3.4 §C.2.2.2): does an entry have what a query asks for, and what is answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import translate

from pydicom.charset import python_encoding
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

WIDTHS = {"DA": 8, "TM": 6}  # digits of a whole date or time
PERIODS = (("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"),)
UTF_8 = "ISO_IR 192"
NO_KEYS = {"SpecificCharacterSet", "TimezoneOffsetFromUTC"}


def matches(asked: Dataset, entry: Dataset) -> bool:
    """Whether the entry has every value that is asked for; what no entry here ever says is not asked for."""
    together = [pair for pair in PERIODS if all("-" in str(asked.get(keyword) or "") for keyword in pair)]
    apart = NO_KEYS.union(*together)
    alone = (key for key in asked if key.keyword not in apart and key.tag in entry)
    return all(_within(asked, entry, pair) for pair in together) and all(_matches(key, entry[key.tag]) for key in alone)


def answered(asked: Dataset, entry: Dataset) -> Dataset:
    """Of the entry what is asked for; empty what it does not say."""
    answer = Dataset()
    for key in asked:
        if key.keyword in NO_KEYS or key.tag.element == 0:
            continue
        found = entry[key.tag] if key.tag in entry else DataElement(key.tag, key.VR, None)
        if found.VR == "SQ" and key.value and found.value:
            found = DataElement(key.tag, "SQ", [answered(key.value[0], each) for each in found.value])
        answer[key.tag] = found
    return answer


def in_charset_of(asked: Dataset, answer: Dataset) -> Dataset:
    """The answer in the character set of who asks, if that is a plain one with all letters needed; else in UTF-8."""
    charset = str(asked.get("SpecificCharacterSet") or "")
    codec = python_encoding.get(charset, "ascii") if charset.startswith("ISO_IR") else "ascii"
    try:
        "".join(str(each.value) for each in answer.iterall() if each.VR != "SQ").encode(codec)
    except UnicodeEncodeError:
        charset = UTF_8
    answer.SpecificCharacterSet = charset if charset.startswith("ISO_IR") else None
    return answer


def _matches(key: DataElement, found: DataElement) -> bool:
    if key.VR == "SQ":
        return not key.value or any(matches(key.value[0], each) for each in found.value or ())
    wanted = [each for each in _texts(key) if each.strip("*")]
    compare = COMPARED.get(key.VR, _like)
    return not wanted or any(compare(each, mine) for each in wanted for mine in _texts(found))


def _texts(element: DataElement) -> Iterator[str]:
    value = element.value
    for each in value if isinstance(value, MultiValue) else (value,):
        if each is not None and (text := str(each).strip()):
            yield text


def _same(wanted: str, found: str) -> bool:
    return wanted == found


def _like(wanted: str, found: str) -> bool:
    """Wildcard matching: `*` any run, `?` one character."""
    return re.fullmatch(translate(wanted.replace("[", "[[]")), found) is not None


def _like_name(wanted: str, found: str) -> bool:
    """Any component group of the name, case aside; who asks for less than all components means all that begin so."""
    pattern = wanted.casefold().rstrip("^")
    groups = found.casefold().split("=")
    return any(_like(each, group.rstrip("^")) for group in groups for each in (pattern, f"{pattern}^*"))


def _within(asked: Dataset, entry: Dataset, pair: tuple[str, str]) -> bool:
    """A range of dates and one of times are one period (PS3.4 §K.6.1.2.2)."""
    bounds = [_bounds(str(asked.get(keyword)), width) for keyword, width in zip(pair, WIDTHS.values(), strict=True)]
    low, high = ("".join(each) for each in zip(*bounds, strict=True))
    at = "".join(str(entry.get(keyword) or "").ljust(width, "0") for keyword, width in zip(pair, (8, 6), strict=True))
    return low <= at <= high


def _in_range(width: int) -> Callable[[str, str], bool]:
    def compare(wanted: str, found: str) -> bool:
        low, high = _bounds(wanted, width)
        return low <= _digits(found).ljust(width, "0") <= high

    return compare


def _bounds(wanted: str, width: int) -> tuple[str, str]:
    """First and last moment that a value or range means; an open end is endless."""
    first, dash, last = wanted.partition("-")
    return _digits(first).ljust(width, "0"), _digits(last if dash else first).ljust(width, "9")


def _digits(text: str) -> str:
    """Without the fraction of a time, and without the marks of older standards."""
    return re.sub(r"\D", "", re.sub(r"(?<=\d{6})\.\d+", "", text))


COMPARED: Mapping[str, Callable[[str, str], bool]] = {
    "UI": _same,
    "PN": _like_name,
    **{vr: _in_range(width) for vr, width in WIDTHS.items()},
}
