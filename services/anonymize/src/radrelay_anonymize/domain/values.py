"""New values for elements: one small maker per action."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence

from radrelay_anonymize.domain.pseudonyms import is_well_known, mapped_uid
from radrelay_anonymize.domain.reading import texts
from radrelay_anonymize.domain.rules import is_enumerated, names_a_class
from radrelay_anonymize.domain.table import Action
from radrelay_anonymize.domain.words import Words, fold, squeeze


@dataclass(frozen=True)
class Context:
    """What is known of the instance's patient and study before it is opened.

    `date_shift` is in days; `words` come from the order, the clinic and the study's other instances.
    """

    secret: bytes  # the tenant's
    pseudonym: str
    date_shift: int
    words: Words


# The form of values that are kept as they are; what has another form is free text in disguise and is emptied.
FORMS = {
    "AS": re.compile(r"\d{3}[DWMY]"),
    "CS": re.compile(r"[\w .+/-]{0,64}", re.ASCII),
    "DS": re.compile(r"[0-9+.eE -]{0,24}"),
    "IS": re.compile(r"[0-9+ -]{0,14}"),
    "TM": re.compile(r"[0-9]{2}(:?[0-9]{2}(:?[0-9]{2}(\.[0-9]{1,6})?)?)? *"),
}
LONGEST = {"SH": 16, "LO": 64, "ST": 1024, "LT": 10240}  # characters (PS3.5 §6.2)
DUMMIES = {
    "AE": "REMOVED", "AS": "000Y", "CS": "REMOVED", "DA": "19000101", "DS": "0", "DT": "19000101000000",
    "IS": "0", "LO": "REMOVED", "LT": "REMOVED", "PN": "REMOVED", "SH": "REMOVED", "ST": "REMOVED", "TM": "000000",
    "UC": "REMOVED", "UT": "REMOVED",
}  # fmt: skip
OLDEST_AGE = 89  # years; from 90 on, an age is identity
DAYS_OF_AGE_UNIT = {"D": 1, "W": 7, "M": 30.4375, "Y": 365.25}
SHORTEST_IN_CODES = 5  # "PA" and "HEAD" are views and regions before they are names

_DOTTED = re.compile(r"(\d{4})\.(\d{2})\.(\d{2})")  # DA before 1993
_DATETIME = re.compile(r"(\d{4}(?:\d{2}){0,2})((?:\d{2}){0,3}(?:\.\d{1,6})?)(?:[+-]\d{4})?")


def made(action: Action, element: DataElement, context: Context) -> DataElement | None:
    """The element as it goes out; None if it does not. Sequences are the walker's own affair."""
    return MAKERS[action](element, context)


def shifted(value: str, days: int) -> str:
    """A DA or DT moved by whole days, with its precision and time; without zone, for that says where. Else empty."""
    match = _DATETIME.fullmatch(_DOTTED.sub(r"\1\2\3", value.strip()))
    if match is None:
        return ""
    day = match[1]
    try:
        moved = date(int(day[:4]), int(day[4:6] or 1), int(day[6:8] or 1)) + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{moved.year:04}{moved.month:02}{moved.day:02}"[: len(day)] + match[2]


def capped_age(value: str) -> str:
    """An AS; over 89 years `090Y`; empty if it is no age."""
    text = value.strip()
    if not FORMS["AS"].fullmatch(text):
        return ""
    years = int(text[:3]) * DAYS_OF_AGE_UNIT[text[3]] / DAYS_OF_AGE_UNIT["Y"]
    return "090Y" if years >= OLDEST_AGE + 1 else text


def dummy(element: DataElement) -> DataElement | None:
    """A value that is consistent with the VR and says nothing (D); bytes have none."""
    return _with(element, DUMMIES[element.VR]) if element.VR in DUMMIES else None


def _empty(element: DataElement, _: Context) -> DataElement:
    return _with(element, Sequence() if element.VR == "SQ" else None)


def _mapped(element: DataElement, context: Context) -> DataElement:
    by_class = names_a_class(element.tag)
    uids = (uid.strip() for uid in texts(element))
    return _several(
        element,
        [u if is_well_known(u, names_a_class=by_class) else mapped_uid(context.secret, u) for u in uids],
    )


def _cleaned(element: DataElement, context: Context) -> DataElement:
    return _several(element, [context.words.clean(text)[: LONGEST.get(element.VR)] for text in texts(element)])


def _coded(element: DataElement, context: Context) -> DataElement:
    return _several(element, [context.words.redact(text)[: LONGEST.get(element.VR)] for text in texts(element)])


def _kept(element: DataElement, context: Context) -> DataElement:
    """As it is, if its VR has no text in it or every value has the VR's form and is no word of identity."""
    form = FORMS.get(element.VR)
    in_form = form is None or all(form.fullmatch(text) for text in texts(element))
    return copy.copy(element) if in_form and not _names_somebody(element, context.words) else _with(element, None)


def _names_somebody(element: DataElement, words: Words) -> bool:
    """Whether a code string that anybody may fill holds a word of identity."""
    for text in texts(element) if element.VR == "CS" and not is_enumerated(element.tag) else ():
        parts = {part for part in re.split(r"[\W_]+", fold(text)) if len(part) >= SHORTEST_IN_CODES}
        if parts & words.names or squeeze(text) in words.identifiers:
            return True
    return False


def _several(element: DataElement, values: list[str]) -> DataElement:
    return _with(element, values[0] if len(values) == 1 else values or None)


def _with(element: DataElement, value: object) -> DataElement:
    return DataElement(element.tag, element.VR, value)


MAKERS: dict[Action, Callable[[DataElement, Context], DataElement | None]] = {
    Action.REMOVE: lambda _element, _context: None,
    Action.EMPTY: _empty,
    Action.DUMMY: lambda element, _context: dummy(element),
    Action.UID: _mapped,
    Action.KEEP: _kept,
    Action.CLEAN: _cleaned,
    Action.CODE: _coded,
    Action.SHIFT: lambda element, context: _several(
        element, [shifted(text, context.date_shift) for text in texts(element)]
    ),
    Action.AGE: lambda element, _context: _several(element, [capped_age(text) for text in texts(element)]),
    Action.PSEUDONYM: lambda element, context: _with(element, context.pseudonym),
}
