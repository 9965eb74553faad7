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
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from radrelay_shared.adapters import checks
from radrelay_shared.adapters.sqlite_where import all_of, at, here, scalar_at
from radrelay_shared.errors import Conflict, Full, Invalid, RadRelayError, Unreachable
from radrelay_shared.ports import Document, Index, Message, Outgoing, State, Where

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

BUSY_SECONDS = 5.0  # for another process's transaction to end
ANSWER_SECONDS = 60.0  # for a disk that hangs
GROUP = 128  # writes in one transaction, so that none waits long for its neighbours

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    collection TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL, state TEXT NOT NULL, seen TEXT NOT NULL,
    UNIQUE (collection, id));
CREATE TABLE IF NOT EXISTS outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, collection TEXT NOT NULL, document_id TEXT NOT NULL,
    message_id TEXT NOT NULL, type TEXT NOT NULL, urgent INTEGER NOT NULL, body BLOB NOT NULL, headers TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_by_document ON outbox (collection, document_id);
CREATE TABLE IF NOT EXISTS health (id INTEGER PRIMARY KEY, checked REAL NOT NULL);
"""
DOCUMENTS = "SELECT id, revision, state, seen FROM documents"
INSERT = "INSERT INTO documents (revision, state, seen, collection, id) VALUES (?, ?, ?, ?, ?)"
UPDATE = "UPDATE documents SET revision = ?, state = ?, seen = ? WHERE collection = ? AND id = ?"
APPEND = (
    "INSERT INTO outbox (collection, document_id, message_id, type, urgent, body, headers) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
DELETE = """
DELETE FROM documents WHERE collection = ?1 AND id = ?2 AND revision = ?3
AND NOT EXISTS (SELECT 1 FROM outbox WHERE collection = ?1 AND document_id = ?2)
"""
WAITING = """
WITH oldest AS (SELECT collection, document_id, MIN(seq) AS first FROM outbox GROUP BY 1, 2 ORDER BY first LIMIT ?)
SELECT collection, document_id, message_id, type, urgent, body, headers
FROM oldest JOIN outbox USING (collection, document_id) ORDER BY first, seq
"""
SETTLE = (
    "DELETE FROM outbox WHERE collection = ? AND document_id = ? AND message_id IN (SELECT value FROM json_each(?))"
)
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
        self._path = path
        self._queue: deque[tuple[Work[Any], Future[Any]]] = deque()
        self._writing, self._reading = Side(path, "write"), Side(path, "read")

    async def ensure(self, indexes: Sequence[Index]) -> None:
        statements = [create(index) for index in indexes]
        await self._write(lambda db: [db.execute(statement) for statement in statements])

    async def get(self, collection: str, document_id: str) -> Document | None:
        query = f"{DOCUMENTS} WHERE collection = ? AND id = ?"
        names = (checks.collection(collection), checks.key(document_id))
        row = await self._read(lambda db: db.execute(query, names).fetchone())
        return document(row) if row else None

    async def save(  # noqa: PLR0913  the port's
        self,
        collection: str,
        document_id: str,
        state: State,
        *,
        revision: int,
        outgoing: Sequence[Message] = (),
        seen: str | None = None,
    ) -> Document:
        names = (checks.collection(collection), checks.key(document_id))
        kept = checks.state(state)
        rows = [(*names, m.id, m.type, m.urgent, m.body, json.dumps(dict(m.headers))) for m in outgoing]

        def work(db: sqlite3.Connection) -> Document:
            known = (*seen_so_far(db, names, revision), *([seen] if seen else []))[-checks.SEEN_KEPT :]
            values = (revision + 1, encoded(kept), encoded(known), *names)
            db.execute(UPDATE if revision else INSERT, values)
            db.executemany(APPEND, rows)
            return Document(document_id, revision + 1, kept, known)

        return await self._write(work)

    async def delete(self, collection: str, document_id: str, *, revision: int) -> None:
        names = (checks.collection(collection), checks.key(document_id))
        if not await self._write(lambda db: db.execute(DELETE, (*names, revision)).rowcount):
            raise Conflict(f"{collection} {document_id} is no longer at revision {revision}, or has messages waiting")

    async def find(  # noqa: PLR0913  the port's
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
        condition, values = all_of(collection, where)
        way = "DESC" if descending else "ASC"
        order = ", ".join(f"{column} {way}" for column in ([at(sort)] if sort else []) + ["id"])
        query = f"{DOCUMENTS} WHERE {condition} ORDER BY {order} LIMIT ? OFFSET ?"
        return await self._read(lambda db: [document(row) for row in db.execute(query, [*values, limit, offset])])

    async def count(self, collection: str, where: Sequence[Where] = ()) -> int:
        condition, values = all_of(collection, where)
        query = f"SELECT COUNT(*) FROM documents WHERE {condition}"  # noqa: S608  holds names that `checks` matched
        return await self._read(lambda db: int(db.execute(query, values).fetchone()[0]))

    async def outgoing(self, *, limit: int = 100) -> list[Outgoing]:
        waiting: dict[tuple[str, str], list[Message]] = {}
        for collection, key, *row in await self._read(lambda db: db.execute(WAITING, (limit,)).fetchall()):
            waiting.setdefault((collection, key), []).append(message(*row))
        return [Outgoing(*names, tuple(messages)) for names, messages in waiting.items()]

    async def settle(self, collection: str, document_id: str, message_ids: Sequence[str]) -> None:
        values = (checks.collection(collection), document_id, encoded(list(message_ids)))
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
            except sqlite3.Error as error:
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
        except sqlite3.Error as error:
            self._writing.disconnect()  # rolls back; the next group starts afresh
            outcomes = [meaning(error)] * len(group)
        for (_, future), outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _transaction(self, group: Sequence[Work[Any]]) -> list[Any]:
        db = self._writing.connection()
        db.execute("BEGIN IMMEDIATE")
        outcomes = [attempt(db, work) for work in group]
        db.execute("COMMIT")
        return outcomes
