"""QIDO-RS queries (PS3.18 §8.3.4, §10.6; matching after PS3.4 §C.2.2.2) as conditions of the `Documents` port."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR

from radrelay_shared.ports import Eq, Has, In, Range, Where, Wildcard
from radrelay_storage.attributes import MATCHED, Level, down_to, keyword, tag
from radrelay_storage.problems import BadQuery

DEFAULT_LIMIT = 100
MOST = 1000  # answers to one request
DATE = re.compile(r"\d{8}")
TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")
UID = re.compile(r"[0-9.]{1,64}")
LATEST_TIME = "235959.999999"
LONGEST_TEXT = 64  # PS3.5 §6.2: no text that can be matched here is longer, but for lists of UIDs
OF_INSTANCES = {f"keys.{name}" for name in MATCHED[Level.INSTANCE]}


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for, and which attributes and how many answers are wanted."""

    where: tuple[Where, ...] = ()  # on documents
    instances: tuple[Eq | In, ...] = ()  # on an instance's own attributes
    include: frozenset[str] = frozenset()  # keywords
    everything: bool = False  # includefield=all
    fuzzy: bool = False
    limit: int = DEFAULT_LIMIT
    offset: int = 0


def parse(parameters: Iterable[tuple[str, str]], level: Level) -> Query:
    """The query of these URL parameters; raises `BadQuery` for whatever is unknown or malformed."""
    where: list[Where] = []
    include: set[str] = set()
    options = {"limit": str(DEFAULT_LIMIT), "offset": "0", "fuzzymatching": "false"}
    for name, value in parameters:
        if name in options:
            options[name] = value
        elif name == "includefield":
            include.update(fields(value))
        elif condition := match_on(name, value, level):
            where.append(condition)
    return Query(
        where=tuple(each for each in where if each.path not in OF_INSTANCES),
        instances=tuple(each for each in where if isinstance(each, Eq | In) and each.path in OF_INSTANCES),
        include=frozenset(include - {"all"}),
        everything="all" in include,
        fuzzy=options["fuzzymatching"] == "true",
        limit=min(natural("limit", options["limit"]), MOST),
        offset=natural("offset", options["offset"]),
    )


def natural(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value):
        raise BadQuery(f"{name} must be a whole number, 0 or more")
    return int(value)


def fields(value: str) -> list[str]:
    names = value.split(",")
    known = ["all" if name == "all" else keyword(name.rpartition(".")[2]) for name in names]
    if None in known:
        raise BadQuery("includefield names an attribute that DICOM does not have; use a keyword, a tag, or all")
    return [name for name in known if name]


def match_on(name: str, value: str, level: Level) -> Where | None:
    """One attribute's condition; None for an empty value, which matches everything (PS3.4 §C.2.2.2.3)."""
    known = keyword(name)
    if known == "ModalitiesInStudy" and level is Level.STUDY:
        return modality(value) if value else None
    if known is None or known not in {each for one in down_to(level) for each in MATCHED[one]}:
        raise BadQuery(f"a search for {level} here cannot match on this parameter: {printable(name)}")
    if not value:
        return None
    matching = MATCHING.get(dictionary_VR(tag(known)), any_text)
    return matching(f"keys.{known}", value)


def printable(name: str) -> str:
    """A foreign parameter's name, if it can be one: a name never holds a value, and never markup."""
    return name if re.fullmatch(r"[A-Za-z0-9_.]{1,64}", name) else "(not a name)"


def modality(value: str) -> Where:
    if re.search(r"[,\\]", value):
        raise BadQuery("ModalitiesInStudy takes one modality at a time here")
    if re.search(r"[*?]", value):
        raise BadQuery("ModalitiesInStudy takes no wildcard here")
    return Has("modalities", value)


def any_text(path: str, value: str) -> Where:
    """Wildcard matching if there is a wildcard, else single value matching; case decides."""
    if len(value) > LONGEST_TEXT:
        raise BadQuery(f"a value to match has at most {LONGEST_TEXT} characters")
    return Wildcard(path, value) if "*" in value or "?" in value else Eq(path, value)


def number(path: str, value: str) -> Where:
    if not re.fullmatch(r"[+-]?\d{1,11}", value):
        raise BadQuery("a whole number is expected")
    return Eq(path, str(int(value)))


def uid_list(path: str, value: str) -> Where:
    """List of UID matching: separated by comma or backslash."""
    uids = re.split(r"[,\\]", value)
    if not all(map(UID.fullmatch, uids)):
        raise BadQuery("a UID has digits and dots only, at most 64; a list is separated by commas")
    return In(path, tuple(uids)) if len(uids) > 1 else Eq(path, value)


def date(path: str, value: str) -> Where:
    """A date, or a range with one end open at most: 20250101-20250131, -20250131, 20250101-."""
    return span(path, value, DATE, "a date is YYYYMMDD, a range of dates YYYYMMDD-YYYYMMDD", lambda high: high)


def time(path: str, value: str) -> Where:
    """A time or a range; an end of less precision means its last moment, so 1030 ends at 10:30:59.999999."""
    problem = "a time is HHMMSS, a range of times HHMMSS-HHMMSS"
    return span(path, value, TIME, problem, lambda high: high + LATEST_TIME[len(high) :])


def span(path: str, value: str, form: re.Pattern[str], problem: str, last: Callable[[str], str]) -> Where:
    low, dash, high = value.partition("-")
    ends = [end for end in (low, high) if end]
    if not ends or not all(map(form.fullmatch, ends)):
        raise BadQuery(problem)
    if not dash:
        return Eq(path, low)
    return Range(path, low or None, last(high) if high else None)


MATCHING: dict[str, Callable[[str, str], Where]] = {"UI": uid_list, "DA": date, "TM": time, "IS": number}


def holds(condition: Eq | In, keys: Mapping[str, str]) -> bool:
    """Whether an instance's searchable text meets the condition; documents are matched by their adapter."""
    value = keys.get(condition.path.removeprefix("keys."))
    return value in condition.values if isinstance(condition, In) else value == condition.value
