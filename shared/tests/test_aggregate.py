"""Changing state on real SQLite: one atomic write of state, handled event and outgoing events."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from radrelay_shared.adapters.sqlite import SqliteDocuments
from radrelay_shared.aggregate import Aggregate, Decision, Store
from radrelay_shared.envelope import Envelope, unwrap, wrap
from radrelay_shared.errors import Conflict
from radrelay_shared.events import Event, OrderReceived
from radrelay_shared.ports import Eq, Index, Message

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ORDER = OrderReceived(site="clinic-a", order="or-1", jurisdiction="US-MT")


class Tally(Aggregate):
    """How many orders a site placed."""

    collection: ClassVar[str] = "tallies"
    indexes: ClassVar[tuple[Index, ...]] = (Index("tallies", ("site",)),)
    site: str
    orders: int


def counted(tally: Tally | None) -> Decision[Tally]:
    """One more, and an event about it."""
    orders = 1 + (tally.orders if tally else 0)
    return Decision(Tally(site="clinic-a", orders=orders), [ORDER.model_copy(update={"order": f"or-{orders}"})])


def nothing(_: Tally | None) -> None:
    return None


def envelope() -> Envelope[Event]:
    return wrap(ORDER, service="test", at=NOON, sequence=1)


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[SqliteDocuments]:
    made = SqliteDocuments(tmp_path / "test.db")
    await made.ensure(Tally.indexes)
    yield made
    await made.close()


@pytest.fixture
def nudges() -> list[str]:
    return []


@pytest.fixture
def store(documents: SqliteDocuments, nudges: list[str]) -> Store:
    return Store(documents, "test", lambda: nudges.append("look"), lambda: NOON)


async def waiting(documents: SqliteDocuments) -> list[Message]:
    return [message for item in await documents.outgoing() for message in item.messages]


async def test_state_and_event_are_written_together(
    store: Store, documents: SqliteDocuments, nudges: list[str]
) -> None:
    assert await store.change(Tally, "clinic-a", counted) == Tally(site="clinic-a", orders=1)
    assert await store.read(Tally, "clinic-a") == Tally(site="clinic-a", orders=1)
    (message,) = await waiting(documents)
    told = unwrap(message)
    assert (told.source, told.time, told.sequence, told.data.site) == ("/radrelay/test", NOON, "0000000001", "clinic-a")
    assert nudges == ["look"]


async def test_a_second_delivery_of_the_same_event_changes_nothing(store: Store, documents: SqliteDocuments) -> None:
    order = envelope()
    first = await store.change(Tally, "clinic-a", counted, because=order)
    again = await store.change(Tally, "clinic-a", counted, because=order)
    assert first == again == Tally(site="clinic-a", orders=1)
    assert len(await waiting(documents)) == 1


async def test_another_event_with_the_same_content_counts(store: Store) -> None:
    for _ in range(2):
        await store.change(Tally, "clinic-a", counted, because=envelope())
    assert await store.read(Tally, "clinic-a") == Tally(site="clinic-a", orders=2)


async def test_a_decision_for_nothing_writes_nothing(
    store: Store, documents: SqliteDocuments, nudges: list[str]
) -> None:
    assert await store.change(Tally, "clinic-a", nothing, because=envelope()) is None
    assert await documents.get("tallies", "clinic-a") is None
    await store.change(Tally, "clinic-a", counted)
    assert await store.change(Tally, "clinic-a", nothing, because=envelope()) == Tally(site="clinic-a", orders=1)
    found = await documents.get("tallies", "clinic-a")
    assert found is not None
    assert (found.revision, found.seen) == (1, ())
    assert nudges == ["look"]


async def test_a_change_without_events_wakes_nobody(
    store: Store, documents: SqliteDocuments, nudges: list[str]
) -> None:
    await store.change(Tally, "clinic-a", lambda _: Decision(Tally(site="clinic-a", orders=5)))
    assert await waiting(documents) == []
    assert nudges == []


async def test_an_error_in_the_decision_leaves_everything_as_it_was(store: Store, documents: SqliteDocuments) -> None:
    def failing(_: Tally | None) -> Decision[Tally]:
        raise ValueError("no decision")

    with pytest.raises(ValueError, match="no decision"):
        await store.change(Tally, "clinic-a", failing, because=envelope())
    assert await documents.get("tallies", "clinic-a") is None


async def test_eight_at_once_each_count_exactly_once(store: Store, documents: SqliteDocuments) -> None:
    await asyncio.gather(*(store.change(Tally, "clinic-a", counted, because=envelope()) for _ in range(8)))
    assert await store.read(Tally, "clinic-a") == Tally(site="clinic-a", orders=8)
    orders = [unwrap(message).subject for message in await waiting(documents)]
    assert orders == [f"or-{number}" for number in range(1, 9)]


async def test_of_one_event_delivered_to_two_processes_at_once_one_counts(store: Store, tmp_path: Path) -> None:
    elsewhere = SqliteDocuments(tmp_path / "test.db")
    other = Store(elsewhere, "test", lambda: None)
    order = envelope()
    await asyncio.gather(
        store.change(Tally, "clinic-a", counted, because=order),
        other.change(Tally, "clinic-a", counted, because=order),
    )
    assert await store.read(Tally, "clinic-a") == Tally(site="clinic-a", orders=1)
    await elsewhere.close()


@pytest.mark.parametrize(("times", "outcome"), [(0, 2), (1, 2), (19, 2), (20, None)])
async def test_a_decision_is_made_again_while_others_are_faster_but_not_for_ever(
    store: Store, tmp_path: Path, times: int, outcome: int | None
) -> None:
    await store.change(Tally, "clinic-a", counted)
    tries = 0

    def overtaken(tally: Tally | None) -> Decision[Tally]:
        """While this decides, someone else writes the document; `times` times."""
        nonlocal tries
        tries += 1
        if tries <= times:
            with sqlite3.connect(tmp_path / "test.db") as rival:
                rival.execute('UPDATE "documents tallies" SET revision = revision + 1')
        return counted(tally)

    if outcome is None:
        with pytest.raises(Conflict, match="tallies/clinic-a is written by others all the time"):
            await store.change(Tally, "clinic-a", overtaken)
        assert await store.read(Tally, "clinic-a") == Tally(site="clinic-a", orders=1)
    else:
        assert await store.change(Tally, "clinic-a", overtaken) == Tally(site="clinic-a", orders=outcome)
        assert tries == times + 1


async def test_a_field_of_a_later_version_is_passed_over(store: Store, documents: SqliteDocuments) -> None:
    await documents.save("tallies", "clinic-a", {"site": "clinic-a", "orders": 3, "colour": "blue"}, revision=0)
    assert await store.read(Tally, "clinic-a") == Tally(site="clinic-a", orders=3)


async def test_documents_are_found_as_typed_state(store: Store) -> None:
    await store.change(Tally, "clinic-a", counted)
    await store.change(Tally, "clinic-b", lambda _: Decision(Tally(site="clinic-b", orders=9)))
    assert await store.find(Tally, [Eq("site", "clinic-b")]) == [Tally(site="clinic-b", orders=9)]
    assert [each.orders for each in await store.find(Tally, sort="orders", descending=True)] == [9, 1]
    assert await store.read(Tally, "clinic-c") is None
