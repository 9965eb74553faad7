"""How SQLite and MongoDB fail, and what else is true of one of them alone."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from contract.documents.desk import ids, message
from contract.health import is_healthy
from radrelay_shared.adapters.mongo import MongoDocuments
from radrelay_shared.adapters.sqlite import SqliteDocuments
from radrelay_shared.adapters.sqlite_where import all_of
from radrelay_shared.errors import Full, Invalid, Unreachable
from radrelay_shared.ports import Eq, Has, In, Index, Prefix, Range, Where, Wildcard
from radrelay_shared.testing import until
from servers import free_ports
from servers.secantusdb import SecantusDB

# ── SQLite alone ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteDocuments]:
    documents = SqliteDocuments(tmp_path / "data" / "documents.db")
    yield documents
    await documents.close()


async def pragma(documents: SqliteDocuments, statement: str) -> Any:
    """Ask or set something on the writing connection itself."""
    worker = documents._writing

    def ask() -> Any:
        return (worker.connection().execute(f"PRAGMA {statement}").fetchone() or [None])[0]

    return await asyncio.wrap_future(worker.submit(ask))


async def test_sqlite_commits_are_synced_before_they_are_acknowledged(sqlite: SqliteDocuments) -> None:
    await sqlite.healthy()
    assert await pragma(sqlite, "journal_mode") == "wal"
    assert await pragma(sqlite, "synchronous") == 2


async def test_a_full_disk_refuses_the_write_and_the_next_one_works_when_there_is_room(sqlite: SqliteDocuments) -> None:
    await sqlite.save("studies", "1", {}, revision=0)
    await pragma(sqlite, "max_page_count = 20")
    with pytest.raises(Full):
        await sqlite.save("studies", "2", {"text": "x" * 200_000}, revision=0, outgoing=[message(2)])
    assert await ids(sqlite) == ["1"]
    assert await sqlite.outgoing() == []
    await sqlite.save("studies", "2", {"text": "x" * 200_000}, revision=0)
    assert await ids(sqlite) == ["1", "2"]


async def test_a_file_that_another_process_keeps_locked_is_unreachable_for_writes_only(
    sqlite: SqliteDocuments, tmp_path: Path
) -> None:
    await sqlite.save("studies", "1", {}, revision=0)
    await pragma(sqlite, "busy_timeout = 50")
    other = sqlite3.connect(tmp_path / "data" / "documents.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unreachable):
        await sqlite.healthy()
    assert await ids(sqlite) == ["1"]
    other.execute("ROLLBACK")
    other.close()
    await sqlite.healthy()


async def test_a_file_that_is_no_database_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "documents.db").write_text("no database, but rather long " * 100)
    for path in (tmp_path / "documents.db", tmp_path / "documents.db" / "below.db"):
        documents = SqliteDocuments(path)
        with pytest.raises(Unreachable):
            await documents.healthy()
        with pytest.raises(Unreachable):
            await documents.get("studies", "1")
        await documents.close()


async def test_a_closed_store_is_unreachable(sqlite: SqliteDocuments) -> None:
    await sqlite.close()
    with pytest.raises(Unreachable):
        await sqlite.get("studies", "1")


@pytest.mark.parametrize(
    "where",
    [Eq("site", "a"), Eq("site", None), In("site", ("a", "b")), Range("site", "a", "b"), Prefix("site", "a"),
     Wildcard("site", "a*b")],
    ids=repr,
)  # fmt: skip
async def test_a_declared_index_serves_every_condition_on_its_first_path(
    sqlite: SqliteDocuments, tmp_path: Path, where: Where
) -> None:
    await sqlite.ensure([Index("studies", ("site", "due"))])
    condition, values = all_of([where])
    with sqlite3.connect(tmp_path / "data" / "documents.db") as db:
        plan = db.execute(f'EXPLAIN QUERY PLAN SELECT * FROM "documents studies" WHERE {condition}', values)  # noqa: S608  as the adapter asks
        steps = [row[3] for row in plan]
    db.close()
    assert any("USING INDEX studies site due" in step for step in steps)


async def test_an_index_over_an_array_answers_a_page_in_its_order(sqlite: SqliteDocuments, tmp_path: Path) -> None:
    """Not by reading all that a reader may see and sorting it."""
    await sqlite.ensure([Index("studies", ("readers", "received"), each=True)])
    await sqlite.save("studies", "1", {"readers": ["ana"], "received": 1}, revision=0)
    source, condition, values, columns = sqlite._asked("studies", [Has("readers", "ana")], "received")
    query = f"EXPLAIN QUERY PLAN SELECT id FROM {source} WHERE {condition} ORDER BY {', '.join(columns)}"  # noqa: S608  as the adapter asks
    with sqlite3.connect(tmp_path / "data" / "documents.db") as db:
        plan = [row[3] for row in db.execute(query, values)]
    db.close()
    assert "COVERING INDEX documents studies each readers sorted" in plan[0]
    assert not any("ORDER BY" in step for step in plan)


async def test_a_part_of_a_name_is_looked_up_where_it_stands_among_all_parts(
    sqlite: SqliteDocuments, tmp_path: Path
) -> None:
    """Not by reading every name there is."""
    await sqlite.ensure([Index("studies", ("name",)), Index("studies", ("name",), parts=True)])
    query, values = next(sqlite._looks("studies", Wildcard("name", "*non*")))
    with sqlite3.connect(tmp_path / "data" / "documents.db") as db:
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    db.close()
    assert plan == ["SEARCH documents studies parts name USING PRIMARY KEY (value>? AND value<?)"]


# ── MongoDB alone ────────────────────────────────────────────────────────────────────────────────────


async def test_a_mongodb_that_does_not_answer_is_unreachable() -> None:
    documents = MongoDocuments(f"mongodb://127.0.0.1:{free_ports(1)[0]}/none", timeout=0.3)
    for attempt in (documents.healthy(), documents.get("studies", "1"), documents.save("studies", "1", {}, revision=0)):
        with pytest.raises(Unreachable):
            await attempt
    await documents.close()


@pytest.mark.parametrize("url", ["mongodb://127.0.0.1", "mongodb://127.0.0.1:port/x", "mongodb:///x?w=a&journal"])
async def test_a_url_that_names_no_database_is_invalid(url: str) -> None:
    with pytest.raises(Invalid):
        await MongoDocuments(url).healthy()


@pytest.mark.external
async def test_a_mongodb_that_was_killed_keeps_what_it_acknowledged_and_serves_again(secantusdb: SecantusDB) -> None:
    url = f"{secantusdb.url}/radrelay_test_{uuid4().hex}"
    documents, impatient = MongoDocuments(url), MongoDocuments(url, timeout=0.5)
    for number in range(20):
        await documents.save("studies", str(number), {}, revision=0, outgoing=[message(number)])
    secantusdb.kill()
    with pytest.raises(Unreachable):
        await impatient.healthy()
    secantusdb.start()
    await until(partial(is_healthy, documents))
    assert await documents.count("studies") == 20
    assert len(await documents.outgoing()) == 20
    await impatient.close()
    await documents.close()


@pytest.mark.external
async def test_a_mongodb_that_hangs_is_unreachable_in_time(secantusdb: SecantusDB) -> None:
    documents = MongoDocuments(f"{secantusdb.url}/radrelay_test_{uuid4().hex}", timeout=3)
    await until(partial(is_healthy, documents))
    assert secantusdb.process is not None
    secantusdb.process.send_signal(signal.SIGSTOP)
    await asyncio.to_thread(os.waitid, os.P_PID, secantusdb.process.pid, os.WSTOPPED)  # with all its threads
    try:
        async with asyncio.timeout(20):  # the driver's own limits are 30 s and none
            with pytest.raises(Unreachable):
                await documents.get("studies", "1")
    finally:
        secantusdb.process.send_signal(signal.SIGCONT)
    await documents.close()


@pytest.mark.external
async def test_a_state_over_16_mb_is_invalid_for_mongodb(secantusdb: SecantusDB) -> None:
    documents = MongoDocuments(f"{secantusdb.url}/radrelay_test_{uuid4().hex}")
    with pytest.raises(Invalid):
        await documents.save("studies", "1", {"text": "x" * 17_000_000}, revision=0)
    await documents.close()
