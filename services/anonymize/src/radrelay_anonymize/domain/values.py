"""New values for elements: one small maker per action."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence

from radrelay_anonymize.domain.folding import fold, squeeze
from radrelay_anonymize.domain.profile import Option, Profile, default
from radrelay_anonymize.domain.pseudonyms import is_well_known, mapped_uid
from radrelay_anonymize.domain.rules import is_enumerated, is_meaning, names_a_class
from radrelay_anonymize.domain.table import Action
from radrelay_anonymize.domain.words import Words
from radrelay_shared.dicom.patterns import without_patterns
from radrelay_shared.dicom.reading import texts


@dataclass(frozen=True)
class Context:
    """What is known of the instance's patient and study before it is opened.

    `date_shift` is in days; `words` come from the order, the clinic and the study's other instances.
    """

    secret: bytes  # the tenant's
    pseudonym: str
    date_shift: int
    words: Words
    profile: Profile = field(default_factory=default)
    vouched: bool = False  # a person has looked at the instance: mere words are no evidence against it

    def knowing(self, words: Words) -> Context:
        """As this, with these words, too; retained UIDs are none."""
        known = self.words | words
        if Option.RETAIN_UIDS in self.profile.options:
            known = known.having(frozenset())
        return replace(self, words=known)


Texts = list[str]


@dataclass(frozen=True, slots=True)
class Given:
    """One element's values as text."""

    tag: int
    vr: str
    values: Texts


# The form of values that are kept as they are; what has another form is free text in disguise and is emptied.
FORMS = {
    "AS": re.compile(r"\d{3}[DWMY]"),
    "CS": re.compile(r"[\w .+/-]{0,64}", re.ASCII),
    "DS": re.compile(r"[0-9+.eE -]{0,24}"),
    "IS": re.compile(r"[0-9+ -]{0,14}"),
    "DA": re.compile(r"[0-9]{8}|[0-9]{4}\.[0-9]{2}\.[0-9]{2}"),
    "DT": re.compile(r"[0-9]{4,14}(\.[0-9]{1,6})?([+-][0-9]{4})? *"),
    "UI": re.compile(r"[0-9.]{1,64}"),
    "TM": re.compile(r"[0-9]{2}(:?[0-9]{2}(:?[0-9]{2}(\.[0-9]{1,6})?)?)? *"),
}
LONGEST = {"SH": 16, "LO": 64, "ST": 1024, "LT": 10240}  # characters (PS3.5 §6.2)
DUMMIES = {
    "AE": "REMOVED", "AS": "000Y", "CS": "REMOVED", "DA": "19000101", "DS": "0", "DT": "19000101000000",
    "IS": "0", "LO": "REMOVED", "LT": "REMOVED", "PN": "REMOVED", "SH": "REMOVED", "ST": "REMOVED", "TM": "000000",
    "UC": "REMOVED", "UT": "REMOVED",
}  # fmt: skip
SPELLED = frozenset({*DUMMIES, "UI", "UR"})  # VRs whose values are text
OLDEST_AGE = 89  # years; from 90 on, an age is identity
DAYS_OF_AGE_UNIT = {"D": 1, "W": 7, "M": 30.4375, "Y": 365.25}
IN_MEANINGS = frozenset({"long number"})  # of compounds and formulas (RO5323441)
SHORTEST_IN_CODES = 5  # "PA" and "HEAD" are views and regions before they are names

_DOTTED = re.compile(r"(\d{4})\.(\d{2})\.(\d{2})")  # DA before 1993
_DATETIME = re.compile(r"(\d{4}(?:\d{2}){0,2})((?:\d{2}){0,3}(?:\.\d{1,6})?)(?:[+-]\d{4})?")


def made(action: Action, element: DataElement, context: Context) -> DataElement | None:
    """The element as it goes out; None if it does not. Sequences are the walker's own affair."""
    before = texts(element) if element.VR in SPELLED else []
    after = remade(action, int(element.tag), element.VR, before, context)
    if after is None:
        return None
    return copy.copy(element) if after is before else _with(element, after)


def remade(action: Action, tag: int, vr: str, values: Texts, context: Context) -> Texts | None:
    """The values as they go out: None if the element does not, the very list that was given if nothing changes.

    `values` are without empty ones, and none for a VR that is not `SPELLED` as text.
    """
    return MAKERS[action](Given(tag, vr, values), context)


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
    values = _dummy(element.VR)
    return None if values is None else _with(element, values)


def _dummy(vr: str) -> Texts | None:
    return [DUMMIES[vr]] if vr in DUMMIES else None


def _mapped(given: Given, context: Context) -> Texts:
    by_class = names_a_class(given.tag)
    uids = (uid.strip() for uid in given.values)
    return [u if is_well_known(u, names_a_class=by_class) else mapped_uid(context.secret, u) for u in uids]


def _cleaned(given: Given, context: Context) -> Texts:
    return [context.words.clean(text)[: LONGEST.get(given.vr)] for text in given.values]


def _coded(given: Given, context: Context) -> Texts:
    redacted = map(context.words.redact, given.values)
    known = [without_patterns(text, but=IN_MEANINGS) for text in redacted] if is_meaning(given.tag) else redacted
    return [text[: LONGEST.get(given.vr)] for text in known]


def _kept(given: Given, context: Context) -> Texts:
    """As it is, if its VR has no text in it or every value has the VR's form and is no word of identity."""
    form = FORMS.get(given.vr)
    in_form = form is None or all(form.fullmatch(text) for text in given.values)
    return given.values if in_form and not _names_somebody(given, context.words) else []


def _names_somebody(given: Given, words: Words) -> bool:
    """Whether a code string that anybody may fill holds a word of identity."""
    if given.vr != "CS" or is_enumerated(given.tag):
        return False
    return any(parts & words.names or whole in words.identifiers for parts, whole in map(_said, given.values))


@functools.lru_cache(maxsize=4096)  # codes come again with every instance
def _said(code: str) -> tuple[frozenset[str], str]:
    """The words of a code that are long enough to be somebody's, and all of it without separators."""
    parts = re.split(r"[\W_]+", fold(code))
    return frozenset(part for part in parts if len(part) >= SHORTEST_IN_CODES), squeeze(code)


def _with(element: DataElement, values: Texts) -> DataElement:
    if element.VR == "SQ":
        return DataElement(element.tag, "SQ", Sequence())
    return DataElement(element.tag, element.VR, values[0] if len(values) == 1 else values or None)


MAKERS: dict[Action, Callable[[Given, Context], Texts | None]] = {
    Action.REMOVE: lambda _given, _context: None,
    Action.EMPTY: lambda _given, _context: [],
    Action.DUMMY: lambda given, _context: _dummy(given.vr),
    Action.UID: _mapped,
    Action.KEEP: _kept,
    Action.CLEAN: _cleaned,
    Action.CODE: _coded,
    Action.SHIFT: lambda given, context: [shifted(text, context.date_shift) for text in given.values],
    Action.AGE: lambda given, _context: [capped_age(text) for text in given.values],
    Action.PSEUDONYM: lambda _given, context: [context.pseudonym],
}
