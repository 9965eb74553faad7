"""What looks like identity in prose, whoever it belongs to."""

from __future__ import annotations

import re

MARK = "[removed]"

_MONTH = r"(?:jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-zé]*\.?"
_ORDINAL = r"(?:\.|st|nd|rd|th)?"
_CALL = r"(?:tel|phone|fax|mobile|cell)"
_NUMBER = r"(?:no\.|nr\b\.?|number|nummer|id\b|#)"
_NUMBERED = r"(?:acc|case|chart|exam|fall|file|hospital|order|pat|patient|patienten|record|request|study|visit)"
# Of another study, perhaps, and too short to be told by its form; "no" without its dot is a finding's.
_ANNOUNCED = rf"\b(?:(?:accession|mrn)\b(?: ?{_NUMBER})?|{_NUMBERED}[ -]?{_NUMBER})[ :.]{{0,3}}[a-z/-]{{0,8}}\d[\w/-]*+"
_TITLE = r"(?:Dr|dr|DR(?=\.)|Prof|Mr|Mrs|Ms|Miss|Herrn?|Frau|Mme|Sra?|Dra)"  # DR CHEST is a radiograph
_NAME = r"[^\W\d_a-z][\w'\u2019-]+"  # a capital, then more

# Applied in this order.
PATTERNS: dict[str, re.Pattern[str]] = {
    "e-mail": re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+"),
    "web address": re.compile(r"\b(?:https?|ftp)://\S+|\bwww\.\S+", re.IGNORECASE),
    "UID": re.compile(r"\b\d+(?:\.\d+){5,}\b"),
    "year first date": re.compile(r"(?<!\d)(?:19|20)\d\d([-./]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)"),
    "day or month first date": re.compile(r"(?<![\d.])\d{1,2}([-./])\d{1,2}\1(?:\d{4}|\d{2})(?![\d.]\d)"),
    "date, then month's name": re.compile(rf"\b\d{{1,2}}{_ORDINAL}[ -]*{_MONTH}[ ,-]*\d{{2,4}}\b", re.IGNORECASE),
    "month's name, then date": re.compile(rf"\b{_MONTH} +\d{{1,2}}{_ORDINAL},? +\d{{4}}\b", re.IGNORECASE),
    "announced telephone": re.compile(rf"\b{_CALL}[a-z]*\.?:? *[+(\d][\d ()./-]{{4,}}\d", re.IGNORECASE),
    "telephone": re.compile(
        r"\+\d[\d ()./-]{6,}\d|(?<![\d.])\(?0\d[\d ()/-]{5,}\d|(?<!\d)\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}(?!\d)"
    ),
    "announced identifier": re.compile(_ANNOUNCED, re.IGNORECASE),
    "long number": re.compile(r"\d{7,}"),
    "titled name": re.compile(
        rf"\b{_TITLE}\b\.? *(?:(?:med|Dr|dr)\. *)*{_NAME}(?: +{_NAME})?"
    ),
}  # fmt: skip


def without_patterns(text: str) -> str:
    """The text with a mark in place of each match."""
    for pattern in PATTERNS.values():
        text = pattern.sub(MARK, text)
    return text
