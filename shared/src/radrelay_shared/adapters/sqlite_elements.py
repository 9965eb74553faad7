"""An index over the elements of an array, for `Has`: a table beside the documents, which triggers keep."""

from __future__ import annotations

from collections.abc import Iterator

from radrelay_shared.adapters.sqlite_where import TEXT_OR_NUMBER, at, location, table
from radrelay_shared.ports import Index

ELEMENTS = "CREATE TABLE {} (value, sort, document TEXT, PRIMARY KEY (value, document)) WITHOUT ROWID"
SORTED = "CREATE INDEX {} ON {} (value, sort, document)"
FILL = "INSERT OR IGNORE INTO {elements} SELECT {columns} FROM {documents} AS documents, {each}"
TRIGGER = "CREATE TRIGGER {name} AFTER {act} ON {documents} BEGIN {work} END"
ADD = "INSERT OR IGNORE INTO {elements} SELECT {columns} FROM {each};"
TAKE = "DELETE FROM {elements} WHERE document = OLD.id AND value IN (SELECT element.value FROM {each});"
JOIN = " JOIN {} AS element ON element.document = documents.id"
HAS = "element.value = ?"


def elements(collection: str, path: str) -> str:
    return f'"{table(collection)[1:-1]} each {path}"'


def create(index: Index) -> Iterator[str]:
    """The statements that make the table of an array that is not indexed yet, and keep it as the documents are."""
    path, sort = index.paths[0], at(index.paths[1]) if index.paths[1:] else "NULL"
    name, documents = elements(index.collection, path), table(index.collection)

    def of(row: str) -> dict[str, str]:
        state = f"{row}.state"
        listed = f"json_each(CASE json_type({state}, {location(path)}) WHEN 'array' THEN {state} END, {location(path)})"
        columns = f"element.value, {sort.replace('(state', f'({state}')}, {row}.id"
        each = f"{listed} AS element WHERE element.type IN {TEXT_OR_NUMBER}"
        return {"elements": name, "documents": documents, "columns": columns, "each": each}

    yield ELEMENTS.format(name)
    yield SORTED.format(f'{name[:-1]} sorted"', name)
    yield FILL.format(**of("documents"))
    works = {"INSERT": [ADD], "UPDATE": [TAKE, ADD], "DELETE": [TAKE]}
    for act, parts in works.items():
        work = " ".join(part.format(**of("OLD" if part is TAKE else "NEW")) for part in parts)
        yield TRIGGER.format(name=f'{name[:-1]} {act.lower()}"', act=act, documents=documents, work=work)
