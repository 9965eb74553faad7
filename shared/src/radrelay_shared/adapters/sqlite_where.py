"""The port's conditions as SQL over the JSON in a table's `state`.

Collection names and paths were matched whole by `checks` before they stand in SQL, where they must: SQLite uses an
index over an expression only for the same expression. All values are parameters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from radrelay_shared.adapters import checks
from radrelay_shared.ports import Eq, Has, In, Index, Prefix, Range, Where, Wildcard

Clause = tuple[str, list[Any]]
TEXT, NUMBER, TEXT_OR_NUMBER = "('text')", "('integer', 'real')", "('text', 'integer', 'real')"


def table(collection: str) -> str:
    return f'"documents {checks.collection(collection)}"'


def at(path: str) -> str:
    """The field's value: NULL if it is missing or null, 0 or 1 if it is a boolean."""
    return f"json_extract(state, {location(path)})"


def location(path: str) -> str:
    return "'$" + "".join(f'."{name}"' for name in checks.path(path).split(".")) + "'"


def create(index: Index) -> str:
    """A unique index counts NULLs as different from each other, which is the port's promise about missing fields."""
    unique = "UNIQUE " if index.unique else ""
    name = f'"{unique}{index.collection} {" ".join(index.paths)}"'
    columns = ", ".join([*map(at, index.paths), *([] if index.unique else ["id"])])
    return f"CREATE {unique}INDEX IF NOT EXISTS {name} ON {table(index.collection)} ({columns})"


def all_of(where: Sequence[Where]) -> Clause:
    checks.conditions(where)
    clauses = [clause(condition) for condition in where]
    return " AND ".join(sql for sql, _ in clauses) or "TRUE", [value for _, values in clauses for value in values]


def clause(condition: Where) -> Clause:
    value, kind = at(condition.path), f"json_type(state, {location(condition.path)})"
    match condition:
        case Eq(value=None):
            found: Clause = f"{value} IS NULL", []
        case Eq(value=bool(wanted)):
            found = f"{value} = ? AND {kind} = ?", [wanted, "true" if wanted else "false"]
        case Eq(value=wanted):
            found = f"{value} = ? AND {kind} IN {kinds(wanted)}", [wanted]
        case In(values=wanted):
            listed = "SELECT value FROM json_each(?)"  # one parameter, however many values
            found = f"{value} IN ({listed}) AND {kind} IN {TEXT_OR_NUMBER}", [json.dumps(wanted)]
        case Range(low=low, high=high):
            bounds = [(f"{value} {sign} ?", end) for sign, end in ((">=", low), ("<=", high)) if end is not None]
            of = f"{kind} IN {kinds(low if high is None else high)}"
            found = " AND ".join([*(sql for sql, _ in bounds), of]), [end for _, end in bounds]
        case Prefix(value=start):
            found = starting(value, kind, start)
        case Wildcard(pattern=pattern):
            start = literal(pattern)
            sql, values = starting(value, kind, start) if start else (f"{kind} = 'text'", [])
            found = f"{value} GLOB ? AND {sql}", [glob(pattern), *values]
        case Has(value=wanted):
            element = f"element.value = ? AND element.type IN {kinds(wanted)}"
            elements = f"json_each(state, {location(condition.path)}) AS element"
            found = f"{kind} = 'array' AND EXISTS (SELECT 1 FROM {elements} WHERE {element})", [wanted]  # noqa: S608  names
    return found


def literal(pattern: str) -> str:
    """What every text that matches begins with."""
    return pattern.replace("?", "*").split("*")[0]


def glob(pattern: str) -> str:
    return pattern.replace("[", "[[]")


def look(documents: str, wildcard: Wildcard) -> Clause:
    """The ids of whatever may match, out of the path's index alone; for a pattern that begins with a wildcard."""
    value = at(wildcard.path)
    return f"SELECT id FROM {documents} WHERE {value} >= '' AND {value} GLOB ?", [glob(wildcard.pattern)]  # noqa: S608  names


def kinds(value: Any) -> str:
    return TEXT if isinstance(value, str) else NUMBER


def starting(value: str, kind: str, start: str) -> Clause:
    condition, values = beginning(value, start)
    return f"{condition} AND {kind} = 'text'", values


def beginning(value: str, start: str) -> Clause:
    """As a range, which an index serves: no byte of UTF-8 is as high as 0xFF, and a blob cast is compared as it is."""
    return f"{value} >= ? AND {value} < CAST(? AS TEXT)", [start, start.encode() + b"\xff"]
