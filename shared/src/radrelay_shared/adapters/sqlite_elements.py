"""An index over the elements of an array or the parts of a text: a table beside the documents, which triggers keep."""

from __future__ import annotations

from collections.abc import Iterator

from radrelay_shared.adapters.parts import LONGEST, told
from radrelay_shared.adapters.sqlite_where import TEXT_OR_NUMBER, Clause, at, beginning, location, table
from radrelay_shared.ports import Index

ELEMENTS = "CREATE TABLE {} (value, sort, document TEXT, PRIMARY KEY (value, document)) WITHOUT ROWID"
SORTED = "CREATE INDEX {} ON {} (value, sort, document)"
FILL = "INSERT OR IGNORE INTO {elements} SELECT {columns} FROM {documents} AS documents, {each}"
TRIGGER = "CREATE TRIGGER {name} AFTER {act} ON {documents} BEGIN {work} END"
ADD = "INSERT OR IGNORE INTO {elements} SELECT {columns} FROM {each};"
TAKE = "DELETE FROM {elements} WHERE document = OLD.id AND value IN (SELECT element.value FROM {each});"
JOIN = " JOIN {} AS element ON element.document = documents.id"
HAS = "element.value = ?"
OF_ARRAY = "json_each(CASE json_type({state}, {path}) WHEN 'array' THEN {state} END, {path})"
OF_TEXT = """
json_each((
    WITH RECURSIVE whole(said) AS (
        SELECT CASE json_type({state}, {path}) WHEN 'text' THEN json_extract({state}, {path}) END),
    part(place) AS (SELECT 1 UNION ALL SELECT place + 1 FROM part, whole WHERE place < length(said))
    SELECT json_group_array(substr(said, place, {longest})) FROM part, whole))
"""


def elements(index: Index) -> str:
    return f'"{table(index.collection)[1:-1]} {"parts" if index.parts else "each"} {index.paths[0]}"'


def create(index: Index) -> Iterator[str]:
    """The statements that make the table of what is not indexed yet, and keep it as the documents are."""
    path, sort = location(index.paths[0]), at(index.paths[1]) if index.paths[1:] else "NULL"
    name, documents = elements(index), table(index.collection)

    def of(row: str) -> dict[str, str]:
        state = f"{row}.state"
        listed = (OF_TEXT if index.parts else OF_ARRAY).format(state=state, path=path, longest=LONGEST)
        columns = f"element.value, {sort.replace('(state', f'({state}')}, {row}.id"
        each = f"{listed} AS element WHERE element.type IN {TEXT_OR_NUMBER}"
        return {"elements": name, "documents": documents, "columns": columns, "each": each}

    yield ELEMENTS.format(name)
    if index.each:
        yield SORTED.format(f'{name[:-1]} sorted"', name)
    yield FILL.format(**of("documents"))
    works = {"INSERT": [ADD], "UPDATE": [TAKE, ADD], "DELETE": [TAKE]}
    for act, parts in works.items():
        work = " ".join(part.format(**of("OLD" if part is TAKE else "NEW")) for part in parts)
        yield TRIGGER.format(name=f'{name[:-1]} {act.lower()}"', act=act, documents=documents, work=work)


def look(index: Index, pattern: str) -> Clause:
    """The ids of whatever may match, out of the parts alone."""
    condition, values = beginning("value", told(pattern))
    return f"SELECT document FROM {elements(index)} WHERE {condition}", values  # noqa: S608  names
