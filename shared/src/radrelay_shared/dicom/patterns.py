"""What looks like identity in prose, whoever it belongs to."""

from __future__ import annotations

import re
from collections.abc import Collection

MARK = "[removed]"

# Months as whole words, so that "septal" and "markers" are none; no abbreviation that is a word of its own ("ago").
_MONTHS = (
    "january february march april may june july august september october november december "
    "januar jänner februar märz maerz mai juni juli oktober dezember "
    "janvier février fevrier mars avril juin juillet août aout septembre octobre novembre décembre decembre "
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre "
    "gennaio febbraio aprile maggio giugno luglio settembre ottobre dicembre "
    "janeiro fevereiro março maio junho julho setembro outubro novembro dezembro "
    "januari februari maart mei augustus "
    "января февраля марта апреля мая июня июля августа сентября октября ноября декабря "
    "jan feb mar mär mrz apr jun jul aug sep sept oct okt nov dec dez"
)
_MONTH = rf"(?:{'|'.join(sorted(_MONTHS.split(), key=len, reverse=True))})(?![^\W\d_])\.?"
_CAPITAL_MONTH = rf"(?=[^\W\d_a-zà-ÿа-я])(?i:{_MONTH})"
_DAY, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:19|20)\d\d"
_ORDINAL = r"(?:\.|st|nd|rd|th|er|º)?"
_CALL = r"(?:tel|phone|telephone|telefon|teléfono|tél|fax|mobile|cell ?phone|handy|pager|beeper|bleep|ext|dect)"
_NUMBER = r"(?:no\b\.?|nr\b\.?|n[°º]\.?|number|nummer|id\b|#)"
_NUMBERED = r"(?:acc|case|chart|dossier|exam|fall|file|hospital|order|pat|patient|patienten|record|request|study|visit)"
# Of another study, perhaps, and too short to be told by its form; "no" without its dot is a finding's.
_ANNOUNCED = (
    rf"\b(?:(?:accession|mrn|nhc|ssn)\b(?: ?{_NUMBER})?|{_NUMBERED}[ .-]{{0,2}}{_NUMBER.replace('no', 'no(?=[.])', 1)})"
    r"[ :.]{0,3}[a-z/-]{0,8}\d[\w/-]*+"
)
_TITLE = r"(?:Dr|dr|DR(?=\.)|Prof|Mr|Mrs|Ms|Miss|Herrn?|Frau|Mme|Sra?|Dra)"  # DR CHEST is a radiograph
_NAME = r"[^\W\d_a-z][\w'\u2019-]+"  # a capital, then more

# Applied in this order.
PATTERNS: dict[str, re.Pattern[str]] = {
    "e-mail": re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+"),
    "web address": re.compile(r"\b(?:https?|ftp)://\S+|\bwww\.\S+", re.IGNORECASE),
    "UID": re.compile(r"\b\d+(?:\.\d+){5,}\b"),
    "year first date": re.compile(
        rf"(?<!\d){_YEAR}(?:(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)|([-./])(?:0?[1-9]|1[0-2])\1{_DAY}(?!\d))"
    ),
    "day or month first date": re.compile(r"(?<![\d.])\d{1,2}([-./])\d{1,2}\1(?:\d{4}|\d{2})(?![\d.]\d)"),
    "date with spaces": re.compile(rf"(?<![\d.]){_DAY} ?([-./]) ?(?:0?[1-9]|1[0-2]) ?\1 ?{_YEAR}(?!\d)"),
    "month and year": re.compile(rf"(?<![\w./-])(?:0?[1-9]|1[0-2])[/.-]{_YEAR}(?![\w./-])"),
    "announced day and month": re.compile(
        rf"\b(?:am|vom|bis|seit|zum|on|since|le|du|el|del|il|op|van)\b +{_DAY}\.(?:0?[1-9]|1[0-2])\.(?!\d)",
        re.IGNORECASE,
    ),
    "date, then month's name": re.compile(
        rf"(?<![\d.]){_DAY}{_ORDINAL}[ ./-]{{0,3}}(?:de |di |of )?{_MONTH}"
        r"[ .,/-]{0,3}(?:del? )?(?:'?\d{4}|'?\d{2})\b(?!\.\d)",
        re.IGNORECASE,
    ),
    "month's name, then year": re.compile(
        rf"\b{_MONTH} {{0,2}}(?:{_DAY}{_ORDINAL},? {{0,2}}|de )?{_YEAR}\b", re.IGNORECASE
    ),
    "day and month's name": re.compile(
        rf"(?<![\d.]){_DAY}{_ORDINAL} (?:of )?{_CAPITAL_MONTH}"
        rf"|\b{_CAPITAL_MONTH} {_DAY}(?:st|nd|rd|th)?\b(?![.,]?\d| ?[mc]m)"
    ),
    "date of the east": re.compile(r"(?:19|20)?\d\d ?[年년] ?\d{1,2} ?[月월](?: ?\d{1,2} ?[日일号號])?"),
    "announced telephone": re.compile(rf"\b{_CALL}\b\.?:? *[+(\d][\d ()./-]{{2,}}\d", re.IGNORECASE),
    "telephone": re.compile(
        r"\+\d[\d ()./-]{6,}\d|(?<![\d.])\(?0\d[\d ()/-]{5,}\d"
        r"|(?<!\d)(?!\d\d0[-. ]\d\d0[-. ]\d\d\d0)\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}(?!\d)"  # but b-values 100 500 1000
    ),
    "social security number": re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)"),
    "announced identifier": re.compile(_ANNOUNCED, re.IGNORECASE),
    "long number": re.compile(r"\d{7,}"),
    "titled name": re.compile(
        rf"\b{_TITLE}\b\.? *(?:(?:med|Dr|dr)\. *)*{_NAME}(?: +{_NAME})?"
    ),
}  # fmt: skip


def without_patterns(text: str, *, but: Collection[str] = ()) -> str:
    """The text with a mark in place of each match, of all patterns but these."""
    for name, pattern in PATTERNS.items():
        if name not in but:
            text = pattern.sub(MARK, text)
    return text
