"""QIDO-RS queries (PS3.18 §8.3.4, §10.6; matching after PS3.4 §C.2.2.2) as conditions of the `Documents` port."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate

from radrelay_shared.ports import Eq, In, Range, Where, Wildcard
from radrelay_storage.attributes import MATCHED, SEVERAL, Level, down_to, key_of, keyword, normal, vr
from radrelay_storage.problems import BadQuery

DEFAULT_LIMIT = 100
MOST = 1000  # answers to one request
MOST_VALUES = 1000  # of one attribute
MOST_MODALITIES = 16
DATE = re.compile(r"\d{8}")
TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")
UID = re.compile(r"[0-9.]{1,64}")
LATEST_TIME = "235959.999999"
LONGEST_TEXT = 64  # PS3.5 §6.2: no text that can be matched here is longer, but for lists
EMPTY = '""'  # with emptyvaluematching, what has no value
OF_INSTANCES = {f"keys.{key_of(name)}" for name in MATCHED[Level.INSTANCE]}
OPTIONS = {
    "limit": str(DEFAULT_LIMIT),
    "offset": "0",
    "fuzzymatching": "false",
    "emptyvaluematching": "false",
    "multiplevaluematching": "false",
}


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for, and which attributes and how many answers are wanted."""

    where: tuple[Where, ...] = ()  # on documents
    modalities: tuple[Where, ...] = ()  # on studies; any of them is enough
    instances: tuple[Where, ...] = ()  # on an instance's own attributes
    include: frozenset[str] = frozenset()  # keywords
    everything: bool = False  # includefield=all
    fuzzy: bool = False
    limit: int = DEFAULT_LIMIT
    offset: int = 0

    @property
    def wide(self) -> bool:
        """Whether more is asked for than every answer has."""
        return self.everything or bool(self.include)


def parse(parameters: Iterable[tuple[str, str]], level: Level) -> Query:
    """The query of these URL parameters; raises `BadQuery` for whatever is unknown or malformed."""
    options, include, values = dict(OPTIONS), set[str](), dict[str, str]()
    for name, value in parameters:
        if name in options:
            options[name] = value
        elif name == "includefield":
            include.update(fields(value))
        else:
            values[matched(name, level)] = value
    empty, several = truth("emptyvaluematching", options), truth("multiplevaluematching", options)
    wanted = {name: value for name, value in values.items() if value not in ("", "*")}
    modalities = any_modality(wanted.pop("ModalitiesInStudy", ""))
    where = (*moments(wanted), *(match_on(name, value, empty, several) for name, value in wanted.items()))
    return Query(
        where=tuple(each for each in where if each.path not in OF_INSTANCES),
        modalities=modalities,
        instances=tuple(each for each in where if each.path in OF_INSTANCES),
        include=frozenset(include - {"all"}),
        everything="all" in include,
        fuzzy=truth("fuzzymatching", options),
        limit=min(natural("limit", options), MOST),
        offset=natural("offset", options),
    )


def natural(name: str, options: Mapping[str, str]) -> int:
    if not re.fullmatch(r"\d{1,9}", options[name]):
        raise BadQuery(f"{name} must be a whole number, 0 or more")
    return int(options[name])


def truth(name: str, options: Mapping[str, str]) -> bool:
    if options[name] not in ("true", "false"):
        raise BadQuery(f"{name} is true or false")
    return options[name] == "true"


def fields(value: str) -> list[str]:
    """The attributes that includefield names; of one inside a sequence, the sequence."""
    names = value.split(",")
    known = ["all" if name == "all" else keyword(name) for name in names]
    if None in known:
        raise BadQuery("includefield names an attribute that DICOM does not have; use a keyword, a tag, or all")
    return [name.partition(".")[0] for name in known if name]


def matched(name: str, level: Level) -> str:
    """The attribute that a parameter names; `BadQuery` if a search at this level cannot match on it."""
    known = keyword(name)
    if known in {"ModalitiesInStudy", *(each for one in down_to(level) for each in MATCHED[one])}:
        return str(known)
    raise BadQuery(f"a search for {level} here cannot match on this parameter: {printable(name)}")


def printable(name: str) -> str:
    """A foreign parameter's name, if it can be one: a name never holds a value, and never markup."""
    return name if re.fullmatch(r"[A-Za-z0-9_.]{1,64}", name) else "(not a name)"


def any_modality(value: str) -> tuple[Where, ...]:
    """One condition for each modality; a study with any of them matches (PS3.4 §C.2.2.2.1)."""
    values = re.split(r"[,\\]", value)
    if len(values) > MOST_MODALITIES or not all(re.fullmatch(r"[A-Z0-9_ *?]{1,16}", each) for each in values if value):
        raise BadQuery(f"ModalitiesInStudy is CT, or a list as CT,MR of at most {MOST_MODALITIES}")
    return tuple(any_text("ModalitiesInStudy", each) for each in values if each)


def moments(wanted: dict[str, str]) -> list[Where]:
    """A range of dates and a range of times together are one range of moments (PS3.4 §C.2.2.2.5)."""
    date, time = wanted.get("StudyDate", ""), wanted.get("StudyTime", "")
    if "-" not in date or "-" not in time:
        return []
    dates, times = span("StudyDate", wanted.pop("StudyDate")), span("StudyTime", wanted.pop("StudyTime"))
    if not isinstance(dates, Range) or not isinstance(times, Range):
        raise BadQuery("a range has a hyphen between its ends")
    low = f"{dates.low}{times.low or ''}" if dates.low else None
    high = f"{dates.high}{times.high or LATEST_TIME}" if dates.high else None
    return [Range("keys.StudyDateTime", low, high)]


def match_on(name: str, value: str, empty: bool, several: bool) -> Where:  # noqa: FBT001  two options of the query
    """One attribute's condition."""
    path = f"keys.{key_of(name)}"
    if empty and value == EMPTY:
        return Eq(path, None)
    if vr(name) == "UI":
        return uids(path, value)
    if several and re.search(r"[,\\]", value) and name not in SEVERAL:
        return In(path, tuple(plain(name, each) for each in re.split(r"[,\\]", value)[:MOST_VALUES]))
    return MATCHING.get(vr(name), any_text)(name, value)


def plain(name: str, value: str) -> str:
    found = MATCHING.get(vr(name), any_text)(name, value)
    if not isinstance(found, Eq):
        raise BadQuery("a list of values has no ranges and no wildcards")
    return str(found.value)


def any_text(name: str, value: str) -> Where:
    """Wildcard matching if there is a wildcard, else single value matching; case decides, but not in names."""
    if len(value) > LONGEST_TEXT:
        raise BadQuery(f"a value to match has at most {LONGEST_TEXT} characters")
    path, wanted = f"keys.{key_of(name)}", normal(name, value)
    if name in SEVERAL:
        return Wildcard(path, f"*\\{wanted}\\*")
    return Wildcard(path, wanted) if "*" in wanted or "?" in wanted else Eq(path, wanted)


def number(name: str, value: str) -> Where:
    if not re.fullmatch(r"[+-]?\d{1,11}", value):
        raise BadQuery("a whole number is expected")
    return Eq(f"keys.{name}", str(int(value)))


def uids(path: str, value: str) -> Where:
    """List of UID matching: separated by comma or backslash."""
    listed = re.split(r"[,\\]", value)
    if len(listed) > MOST_VALUES or not all(map(UID.fullmatch, listed)):
        raise BadQuery(f"a UID has digits and dots only; a list of at most {MOST_VALUES} is separated by commas")
    return In(path, tuple(listed)) if len(listed) > 1 else Eq(path, value)


def span(name: str, value: str) -> Where:
    """A date or time, or a range with one end open at most: 20250101-20250131, -20250131, 0800-.

    An end of less precision means its last moment, so that 1030 ends at 10:30:59.999999.
    """
    form, problem = FORMS[vr(name)]
    low, dash, high = value.partition("-")
    ends = [end for end in (low, high) if end]
    if not ends or not all(map(form.fullmatch, ends)):
        raise BadQuery(problem)
    if not dash:
        return Eq(f"keys.{name}", normal(name, low))
    last = high + LATEST_TIME[len(high) :] if high and form is TIME else high
    return Range(f"keys.{name}", normal(name, low) if low else None, last or None)


FORMS = {
    "DA": (DATE, "a date is YYYYMMDD, a range of dates YYYYMMDD-YYYYMMDD"),
    "TM": (TIME, "a time is HHMMSS, a range of times HHMMSS-HHMMSS"),
}
MATCHING: dict[str, Callable[[str, str], Where]] = {"DA": span, "TM": span, "IS": number}


def holds(condition: Where, keys: Mapping[str, str]) -> bool:
    """Whether an instance's searchable text meets the condition; documents are matched by their adapter."""
    value = keys.get(condition.path.removeprefix("keys."))
    match condition:
        case In(values=values):
            return value in values
        case Eq(value=wanted):
            return value == wanted
        case Wildcard(pattern=pattern):
            return value is not None and re.fullmatch(translate(pattern.replace("[", "[[]")), value) is not None
    raise TypeError(f"{type(condition).__name__} is no condition on an instance")
