"""SQLite chooses the index that a search needs, once it knows how they are filled."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from radrelay_shared.adapters.sqlite import FIRST_LOOK, SqliteDocuments
from radrelay_shared.adapters.sqlite_where import all_of
from radrelay_shared.ports import In, Index, Range, Where

INDEXES = (Index("studies", ("site", "received")), Index("studies", ("date",)))


async def test_a_few_days_of_some_sites_are_found_by_date(tmp_path: Path) -> None:
    documents = SqliteDocuments(tmp_path / "documents.db")
    await documents.ensure(INDEXES)
    states = [
        {"site": f"clinic-{number % 4}", "received": number, "date": 20250000 + number} for number in range(FIRST_LOOK)
    ]
    await asyncio.gather(*(documents.save("studies", str(each["date"]), each, revision=0) for each in states))
    where: list[Where] = [Range("date", 20250010, 20250020), In("site", ("clinic-0", "clinic-1"))]
    found = await documents.find("studies", where, sort="received")
    assert [each.state["received"] for each in found] == [12, 13, 16, 17, 20]
    condition, values = all_of(where)
    with sqlite3.connect(tmp_path / "documents.db") as db:
        plan = db.execute(f'EXPLAIN QUERY PLAN SELECT * FROM "documents studies" WHERE {condition}', values).fetchall()  # noqa: S608  names
    db.close()
    await documents.close()
    assert any("studies date" in str(step) for step in plan), plan
