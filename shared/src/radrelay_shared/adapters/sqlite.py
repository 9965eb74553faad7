"""Documents in one SQLite file: the embedded default, durable before acknowledged (WAL, synchronous=FULL).

Writes that wait for each other share a transaction, a savepoint each, and so one fsync (group commit). Several
processes may open the file, so each transaction takes the write lock at its start.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from radrelay_shared.adapters import checks, sqlite_elements
from radrelay_shared.adapters.sqlite_file import Worker
from radrelay_shared.adapters.sqlite_where import Clause, all_of, at, create, literal, look, table
from radrelay_shared.errors import Conflict, Full, Invalid, RadRelayError, Unreachable
from radrelay_shared.ports import Document, Has, Index, Message, Outgoing, State, Where, Wildcard

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

ANSWER_SECONDS = 60.0  # for a disk that hangs
FIRST_LOOK = 512  # writes after which SQLite looks how its indexes are filled; then after twice as many, and so on
GROUP = 128  # writes in one transaction, so that none waits long for its neighbours

TABLE = """
CREATE TABLE IF NOT EXISTS {}
(id TEXT NOT NULL PRIMARY KEY, revision INTEGER NOT NULL, state TEXT NOT NULL, seen TEXT NOT NULL)
"""
GET = "SELECT id, revision, state, seen FROM {} WHERE id = ?"
FIND = "SELECT id, revision, state, seen FROM {} WHERE {} ORDER BY {} LIMIT ? OFFSET ?"
KNOWN = "SELECT 1 FROM sqlite_master WHERE name = ?"
AMONG, FEW = " AND id IN (SELECT value FROM json_each(?))", 1000
COUNT = "SELECT COUNT(*) FROM {} WHERE {}"
SEEN = "SELECT seen FROM {} WHERE id = ? AND revision = ?"
INSERT = "INSERT INTO {} (revision, state, seen, id) VALUES (?, ?, ?, ?)"
UPDATE = "UPDATE {} SET revision = ?, state = ?, seen = ? WHERE id = ?"
DELETE = """
DELETE FROM {} WHERE id = ?2 AND revision = ?3
AND NOT EXISTS (SELECT 1 FROM outbox WHERE collection = ?1 AND document_id = ?2)
"""
APPEND = (
    "INSERT INTO outbox (collection, document_id, message_id, type, urgent, body, headers) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
WAITING = """
WITH oldest AS (SELECT collection, document_id, MIN(seq) AS first FROM outbox GROUP BY 1, 2 ORDER BY first LIMIT ?)
SELECT collection, document_id, message_id, type, urgent, body, headers
FROM oldest JOIN outbox USING (collection, document_id) ORDER BY first, seq
"""
SETTLE = (
    "DELETE FROM outbox WHERE collection = ? AND document_id = ? AND message_id IN (SELECT value FROM json_each(?))"
)
ANALYZE = "PRAGMA analysis_limit = 1000; ANALYZE"  # a sample of each index: some milliseconds, whatever the size
HEALTH = "INSERT INTO health VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET checked = excluded.checked"

MEANING: dict[int, type[RadRelayError]] = {
    sqlite3.SQLITE_FULL: Full,
    sqlite3.SQLITE_IOERR_SHMSIZE: Full,
    sqlite3.SQLITE_CONSTRAINT: Conflict,
    sqlite3.SQLITE_TOOBIG: Invalid,
}  # anything else: the store cannot be reached as it should be


class SqliteDocuments:
    """`Documents` in the file at `path`, which is made (in a private folder) when it is first used."""

    def __init__(self, path: Path) -> None:
        self._queue: deque[tuple[Work[Any], Future[Any]]] = deque()
        self._writing, self._reading = Worker(path), Worker(path)
        self._writes, self._next_look = 0, FIRST_LOOK
        self._indexed: set[tuple[str, str]] = set()  # collections and the paths that their indexes begin with
        self._arrays: dict[tuple[str, str], Index] = {}  # the same of arrays
        self._parts: dict[tuple[str, str], Index] = {}  # the same of the parts of texts

    async def ensure(self, indexes: Sequence[Index]) -> None:
        def work(db: sqlite3.Connection) -> None:
            for index in indexes:
                made(db, index.collection)
                for statement in missing(db, index) if index.each or index.parts else [create(index)]:
                    db.execute(statement)

        await self._write(work)
        self._indexed |= {(each.collection, each.paths[0]) for each in indexes if not each.each and not each.parts}
        self._arrays |= {(each.collection, each.paths[0]): each for each in indexes if each.each}
        self._parts |= {(each.collection, each.paths[0]): each for each in indexes if each.parts}

    async def get(self, collection: str, document_id: str) -> Document | None:
        key = checks.key(document_id)
        row = await self._read(lambda db: db.execute(GET.format(made(db, collection)), (key,)).fetchone())
        return document(row) if row else None

    async def save(
        self,
        collection: str,
        document_id: str,
        state: State,
        *,
        revision: int,
        outgoing: Sequence[Message] = (),
        seen: str | None = None,
    ) -> Document:
        key, kept = checks.key(document_id), checks.state(state)
        rows = [(collection, key, m.id, m.type, m.urgent, m.body, json.dumps(dict(m.headers))) for m in outgoing]

        def work(db: sqlite3.Connection) -> Document:
            documents = made(db, collection)
            known = (*seen_so_far(db, documents, key, revision), *([seen] if seen else []))[-checks.SEEN_KEPT :]
            write = UPDATE if revision else INSERT
            db.execute(write.format(documents), (revision + 1, encoded(kept), encoded(known), key))
            db.executemany(APPEND, rows)
            return Document(key, revision + 1, kept, known)

        return await self._write(work)

    async def delete(self, collection: str, document_id: str, *, revision: int) -> None:
        values = (collection, checks.key(document_id), revision)
        if not await self._write(lambda db: db.execute(DELETE.format(made(db, collection)), values).rowcount):
            raise Conflict(f"{collection} {document_id} is no longer at revision {revision}, or has messages waiting")

    async def find(
        self,
        collection: str,
        where: Sequence[Where] = (),
        *,
        sort: str | None = None,
        descending: bool = False,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Document]:
        checks.page(limit, offset)
        source, condition, values, columns = self._asked(collection, where, sort)
        order = ", ".join(f"{column} {'DESC' if descending else 'ASC'}" for column in columns)
        wild = [each for each in where if isinstance(each, Wildcard) and not literal(each.pattern)]

        def work(db: sqlite3.Connection) -> list[Document]:
            made(db, collection)
            few = [ids for each in wild if (ids := few_ids(db, self._looks(collection, each)))]
            query = FIND.format(source, condition + len(few) * AMONG, order)
            return [document(row) for row in db.execute(query, [*values, *few, limit, offset])]

        return await self._read(work)

    def _asked(
        self, collection: str, where: Sequence[Where], sort: str | None
    ) -> tuple[str, str, list[Any], list[str]]:
        """What is read, on which condition with which values, in the order of which columns."""
        has = next((each for each in where if isinstance(each, Has) and (collection, each.path) in self._arrays), None)
        source, columns = f"{table(collection)} AS documents", [*([at(sort)] if sort else []), "id"]
        if has is None:
            return source, *all_of(where), columns
        checks.conditions([has])
        index = self._arrays[collection, has.path]
        source += sqlite_elements.JOIN.format(sqlite_elements.elements(index))
        condition, values = all_of([each for each in where if each is not has])
        if sort in index.paths[1:2]:
            columns = ["element.sort", "element.document"]
        return source, f"{sqlite_elements.HAS} AND {condition}", [has.value, *values], columns

    def _looks(self, collection: str, wildcard: Wildcard) -> Iterator[Clause]:
        """What to ask for all that may match, without reading a document: the parts of texts, then whole texts."""
        path = collection, wildcard.path
        if path in self._parts:
            yield sqlite_elements.look(self._parts[path], wildcard.pattern)
        if path in self._indexed:
            yield look(table(collection), wildcard)

    async def count(self, collection: str, where: Sequence[Where] = ()) -> int:
        condition, values = all_of(where)
        return await self._read(
            lambda db: int(db.execute(COUNT.format(made(db, collection), condition), values).fetchone()[0])
        )

    async def outgoing(self, *, limit: int = 100) -> list[Outgoing]:
        waiting: dict[tuple[str, str], list[Message]] = {}
        for collection, key, *row in await self._read(lambda db: db.execute(WAITING, (limit,)).fetchall()):
            waiting.setdefault((collection, key), []).append(message(*row))
        return [Outgoing(*names, tuple(messages)) for names, messages in waiting.items()]

    async def settle(self, collection: str, document_id: str, message_ids: Sequence[str]) -> None:
        values = (collection, document_id, encoded(list(message_ids)))
        await self._write(lambda db: db.execute(SETTLE, values))

    async def healthy(self) -> None:
        await self._write(lambda db: db.execute(HEALTH, (time.time(),)))

    async def close(self) -> None:
        """Finish what was asked for, then let go of the file."""
        await asyncio.to_thread(self._writing.close)
        await asyncio.to_thread(self._reading.close)

    async def _read(self, work: Work[T]) -> T:
        def answer() -> T:
            try:
                return work(self._reading.connection())
            except (sqlite3.Error, OSError) as error:
                raise meaning(error) from error

        return await patiently(self._reading.submit(answer))

    async def _write(self, work: Work[T]) -> T:
        future: Future[T] = Future()
        self._queue.append((work, future))
        self._writing.submit(self._commit_queued)
        return await patiently(future)

    def _commit_queued(self) -> None:
        """Everything queued by now in one transaction; an earlier turn may have left nothing to do."""
        taken = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP))]
        group = [(work, future) for work, future in taken if future.set_running_or_notify_cancel()]
        if not group:
            return
        try:
            outcomes = self._transaction([work for work, _ in group])
        except (sqlite3.Error, OSError) as error:
            self._writing.disconnect()  # rolls back; the next group starts afresh
            outcomes = [meaning(error) for _ in group]
        self._look_at_indexes(len(group))
        for (_, future), outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _look_at_indexes(self, written: int) -> None:
        """Without statistics SQLite takes any index for as good as another: a day of a site reads all of it.

        A connection sees those that it made itself, so the one that reads makes them.
        """
        self._writes += written
        if self._writes >= self._next_look:
            self._next_look = 2 * self._writes
            self._reading.submit(self._analyze)

    def _analyze(self) -> None:
        with suppress(sqlite3.Error, OSError):  # it is no loss but of time; the next read tells what is wrong
            self._reading.connection().executescript(ANALYZE)

    def _transaction(self, group: Sequence[Work[Any]]) -> list[Any]:
        db = self._writing.connection()
        db.execute("BEGIN IMMEDIATE")
        outcomes = [attempt(db, work) for work in group]
        db.execute("COMMIT")
        return outcomes


def attempt(db: sqlite3.Connection, work: Work[Any]) -> Any:
    """The work's result or its error; after an error none of its writes remain. Raise what ended the transaction."""
    db.execute("SAVEPOINT one")
    try:
        outcome = work(db)
    except Exception as error:
        if not db.in_transaction:
            raise
        db.execute("ROLLBACK TO one")
        outcome = meaning(error) if isinstance(error, sqlite3.Error) else error
    db.execute("RELEASE one")
    return outcome


def meaning(error: sqlite3.Error | OSError) -> RadRelayError:
    code = getattr(error, "sqlite_errorcode", None)
    kind = Unreachable if code is None else MEANING.get(code, MEANING.get(code & 0xFF, Unreachable))
    return kind(f"the SQLite file answered: {error}")


async def patiently(future: Future[T]) -> T:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await asyncio.wrap_future(future)
    except TimeoutError:
        raise Unreachable(f"the SQLite file did not answer within {ANSWER_SECONDS:.0f} s") from None


def made(db: sqlite3.Connection, collection: str) -> str:
    """The collection's table, which is made when it is first used."""
    name = table(collection)
    db.execute(TABLE.format(name))
    return name


def missing(db: sqlite3.Connection, index: Index) -> list[str]:
    """The statements that an index of elements or parts still needs."""
    name = sqlite_elements.elements(index).strip('"')
    return [] if db.execute(KNOWN, (name,)).fetchone() else list(sqlite_elements.create(index))


def seen_so_far(db: sqlite3.Connection, documents: str, key: str, revision: int) -> tuple[str, ...]:
    """The events that this revision has handled; raise `Conflict` if it is no longer the current one."""
    if revision == 0:
        return ()
    row = db.execute(SEEN.format(documents), (key, revision)).fetchone()
    if row is None:
        raise Conflict(f"{key} is no longer at revision {revision}")
    return tuple(json.loads(row[0]))


def few_ids(db: sqlite3.Connection, looks: Iterable[Clause]) -> str | None:
    """The ids of all documents that may match, as JSON; None if they are many, for then a page is soon full."""
    for query, values in looks:
        found = [key for (key,) in db.execute(f"{query} LIMIT {FEW + 1}", values)]
        if len(found) <= FEW:
            return json.dumps(found)
    return None


def document(row: tuple[str, int, str, str]) -> Document:
    key, revision, state, seen = row
    return Document(key, revision, json.loads(state), tuple(json.loads(seen)))


def message(key: str, type_: str, urgent: int, body: bytes, headers: str) -> Message:
    return Message(key, type_, bool(urgent), body, json.loads(headers))


def encoded(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
