"""What both document adapters refuse before they speak to a store, so that they refuse the same.

A state is JSON that SQLite and MongoDB both keep unchanged: no dots or `$` in keys, no NaN, integers of 64 bits.
Names and paths are the code's own and are matched whole, so that no user's text becomes a part of a query.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from radrelay_shared.errors import Invalid
from radrelay_shared.ports import In, Range, State, Where, Wildcard

SEEN_KEPT = 256
PAGE = 10_000
DEPTH = 80  # MongoDB allows 100 levels, some of them the adapter's own
LONGEST_ID = 512
LONGEST_PATTERN = 1024  # matching a pattern may take time exponential in its wildcards
COLLECTION = re.compile(r"[a-z][a-z0-9_-]{0,63}")  # SQLite's table names mind no case
PATH = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
SURROGATE = re.compile("[\ud800-\udfff]")


def collection(name: str) -> str:
    if not COLLECTION.fullmatch(name):
        raise Invalid(f"{name!r} is not a collection name: a small letter, then small letters, digits, _ and -")
    return name


def path(dotted: str) -> str:
    if not PATH.fullmatch(dotted):
        raise Invalid(f"{dotted!r} is not a path of letters, digits and _ with dots between")
    return dotted


def key(document_id: str) -> str:
    if not 0 < len(text(document_id)) <= LONGEST_ID or "\0" in document_id:
        raise Invalid(f"a document's id has 1 to {LONGEST_ID} characters, without NUL")
    return document_id


def page(limit: int, offset: int) -> None:
    if not 0 <= limit <= PAGE or not 0 <= offset < 2**31:
        raise Invalid(f"limit is 0 to {PAGE}, offset at least 0")


def state(value: State) -> State:
    """A deep copy of the state as both stores give it back; raise `Invalid` for what is not such JSON."""
    if not isinstance(value, dict):
        raise Invalid("a state is a JSON object")
    return {field(name): plain(item, DEPTH) for name, item in value.items()}


def plain(value: Any, depth: int) -> Any:
    if depth == 0:
        raise Invalid(f"a state is at most {DEPTH} levels deep")
    if isinstance(value, str):  # most leaves are
        return text(value)
    if isinstance(value, dict):
        return {field(name): plain(item, depth - 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth - 1) for item in value]
    return scalar(value)


def field(name: Any) -> str:
    if not isinstance(name, str) or "." in name or "\0" in name or name.startswith("$"):
        raise Invalid("a state's keys are text without dots and NUL, and do not start with $")
    return text(name)


def scalar(value: Any) -> Any:
    match value:
        case None | bool():
            return value
        case str():
            return text(value)
        case int() if -(2**63) <= value < 2**63:
            return value
        case float() if math.isfinite(value):
            return value
    raise Invalid(f"a {type(value).__name__} (or this number) is not JSON that every store keeps")


def text(value: str) -> str:
    if not value.isascii() and SURROGATE.search(value):
        raise Invalid("half a surrogate pair is not text")
    return value


def conditions(where: Iterable[Where]) -> None:
    """Raise `Invalid` for a condition that one of the stores could not answer."""
    for condition in where:
        path(condition.path)
        for value in operands(condition):
            if isinstance(scalar(value), str) and "\0" in value:
                raise Invalid("no condition holds a NUL")


def operands(condition: Where) -> tuple[Any, ...]:
    match condition:
        case In(values=values):
            return values
        case Range(low=low, high=high):
            if low is None and high is None:
                raise Invalid("a range has at least one end")
            if None not in {low, high} and isinstance(low, str) != isinstance(high, str):
                raise Invalid("a range's ends are both text or both numbers")
            return (low, high)
        case Wildcard(pattern=pattern):
            if len(pattern) > LONGEST_PATTERN:
                raise Invalid(f"a pattern has at most {LONGEST_PATTERN} characters")
            return (pattern,)
    return (condition.value,)
