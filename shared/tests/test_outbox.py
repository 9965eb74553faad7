"""The relay on real SQLite and the memory bus: in order, again after a crash, and nobody waits for a neighbour."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from radrelay_shared import outbox
from radrelay_shared.adapters.memory import MemoryBus
from radrelay_shared.adapters.sqlite import SqliteDocuments
from radrelay_shared.envelope import unwrap, wrap
from radrelay_shared.events import Event, OrderReceived, StudyTriaged
from radrelay_shared.outbox import Relay
from radrelay_shared.ports import Ack, Delivery, Message, Verdict
from radrelay_shared.telemetry import Telemetry
from radrelay_shared.testing import until

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ORDERS, TRIAGED = OrderReceived.type, StudyTriaged.type


def order(number: int) -> Message:
    event = OrderReceived(site="clinic-a", order=f"or-{number}", jurisdiction="US-MT")
    return wrap(event, service="test", at=NOON, sequence=number).message


def unheard() -> Message:
    """An event that nobody in these tests listens for."""
    event: Event = StudyTriaged(
        site="clinic-a",
        study="st-1",
        jurisdiction="US-MT",
        received_at=NOON,
        completed_at=NOON,
        study_instance_uid="2.25.1",
        modalities=("CT",),
        subspecialty="neuro",
        due_at=NOON + timedelta(hours=1),
        reasons=(),
    )
    return wrap(event, service="test", at=NOON, sequence=1).message


@dataclass
class Reader:
    """A service that listens for orders."""

    heard: list[str] = field(default_factory=list)
    at_first: Callable[[], object] = lambda: None  # called in the middle of the first delivery

    async def consume(self, delivery: Delivery) -> Verdict:
        self.heard.append(unwrap(delivery.message).subject)
        if len(self.heard) == 1:
            self.at_first()
        return Ack()


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[SqliteDocuments]:
    made = SqliteDocuments(tmp_path / "test.db")
    yield made
    await made.close()


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
async def bus(reader: Reader) -> AsyncIterator[MemoryBus]:
    made = MemoryBus()
    await made.subscribe("reader", [ORDERS], reader.consume)
    yield made
    await made.close()


@asynccontextmanager
async def relaying(documents: SqliteDocuments, bus: MemoryBus) -> AsyncIterator[Relay]:
    relay = Relay(documents, bus, Telemetry("test"))
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def left(documents: SqliteDocuments, *wanted: str) -> None:
    """Return once these documents, and no others, have events waiting."""

    async def reached() -> bool:
        return [item.document_id for item in await documents.outgoing()] == [*wanted]

    await until(reached)


async def waiting(documents: SqliteDocuments) -> list[str]:
    return [unwrap(message).subject for item in await documents.outgoing() for message in item.messages]


async def test_a_documents_events_arrive_in_order_and_are_struck_off(
    documents: SqliteDocuments, bus: MemoryBus, reader: Reader
) -> None:
    first = await documents.save("orders", "a", {}, revision=0, outgoing=[order(1), order(2), order(3)])
    await documents.save("orders", "a", {}, revision=first.revision, outgoing=[order(4)])
    async with relaying(documents, bus) as relay:
        await relay.idle()
    assert reader.heard == ["or-1", "or-2", "or-3", "or-4"]
    assert await waiting(documents) == []


async def test_a_crash_after_the_reader_had_it_publishes_it_again(
    documents: SqliteDocuments, bus: MemoryBus, reader: Reader
) -> None:
    await documents.save("orders", "a", {}, revision=0, outgoing=[order(1), order(2)])
    relay = Relay(documents, bus, Telemetry("test"))
    crashing = asyncio.create_task(relay.run())
    reader.at_first = crashing.cancel  # published and handled, but not yet struck off
    await asyncio.gather(crashing, return_exceptions=True)
    await bus.drain()
    assert reader.heard == ["or-1"]
    assert await waiting(documents) == ["or-1", "or-2"]

    reopened = MemoryBus()
    await reopened.subscribe("reader", [ORDERS], reader.consume)
    async with relaying(documents, reopened) as relay:
        await relay.idle()
    assert reader.heard == ["or-1", "or-1", "or-2"]
    assert await waiting(documents) == []
    await reopened.close()


async def test_an_event_that_nobody_takes_holds_up_no_other_document(
    documents: SqliteDocuments, bus: MemoryBus, reader: Reader
) -> None:
    await documents.save("studies", "stuck", {}, revision=0, outgoing=[unheard(), order(9)])
    for number in range(1, 6):
        await documents.save("orders", f"o{number}", {}, revision=0, outgoing=[order(number)])
    async with relaying(documents, bus):
        await left(documents, "stuck")
    assert sorted(reader.heard) == [f"or-{number}" for number in range(1, 6)]
    assert await waiting(documents) == ["st-1", "or-9"]


async def test_an_event_over_64_kib_holds_up_no_other_document(
    documents: SqliteDocuments, bus: MemoryBus, reader: Reader
) -> None:
    huge = Message("m-1", ORDERS, urgent=False, body=b" " * 70_000)
    await documents.save("orders", "huge", {}, revision=0, outgoing=[huge])
    await documents.save("orders", "o1", {}, revision=0, outgoing=[order(1)])
    async with relaying(documents, bus):
        await left(documents, "huge")
    assert reader.heard == ["or-1"]


async def test_once_somebody_listens_the_stuck_event_goes_and_nothing_before_it_is_repeated(
    documents: SqliteDocuments, bus: MemoryBus, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    late = Reader()
    await documents.save("studies", "a", {}, revision=0, outgoing=[order(1), unheard(), order(2)])
    with caplog.at_level(logging.WARNING, "radrelay.outbox"):
        async with relaying(documents, bus) as relay:
            await until(lambda: "waits in the outbox" in caplog.text)
            await bus.subscribe("late", [TRIAGED], late.consume)
            await relay.idle()
    assert late.heard == ["st-1"]
    assert reader.heard == ["or-1", "or-2"]


async def test_a_reader_hears_by_the_nudge_and_need_not_wait_for_the_next_poll(
    documents: SqliteDocuments, bus: MemoryBus, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "POLL_SECONDS", 3600)
    async with relaying(documents, bus) as relay:
        await relay.idle()
        for number in range(1, 4):
            await documents.save("orders", f"o{number}", {}, revision=0, outgoing=[order(number)])
            relay.nudge()
            await until(lambda: len(reader.heard) == number)  # noqa: B023  awaited at once


async def test_without_a_nudge_it_is_found_by_polling(
    documents: SqliteDocuments, bus: MemoryBus, reader: Reader
) -> None:
    """As after a crash of the writer, or when another process wrote."""
    async with relaying(documents, bus) as relay:
        await relay.idle()
        await documents.save("orders", "a", {}, revision=0, outgoing=[order(1)])
        await until(lambda: reader.heard == ["or-1"])


async def test_a_cancelled_relay_leaves_nothing_running(documents: SqliteDocuments, bus: MemoryBus) -> None:
    await documents.save("studies", "stuck", {}, revision=0, outgoing=[unheard()])
    before = asyncio.all_tasks()
    async with relaying(documents, bus) as relay:
        await until(lambda: bool(relay.under_way))
    await until(lambda: asyncio.all_tasks() == before)
    assert await waiting(documents) == ["st-1"]


async def test_an_unreadable_outbox_is_read_again_later(bus: MemoryBus, reader: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "not-yet"
    folder.write_text("a file where the folder should be")
    documents = SqliteDocuments(folder / "test.db")
    async with relaying(documents, bus) as relay:
        await asyncio.sleep(0.1)
        folder.unlink()
        await documents.save("orders", "a", {}, revision=0, outgoing=[order(1)])
        relay.nudge()
        await until(lambda: reader.heard == ["or-1"])
    await documents.close()
