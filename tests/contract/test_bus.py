"""The `Bus` port's promises, held against every adapter: in process, Debian's RabbitMQ, and one named by a URL."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from contract.bus_desk import TIERS, Desk, event_type, message, until_dead
from radrelay_shared.adapters.amqp import AmqpBus
from radrelay_shared.adapters.memory import MemoryBus
from radrelay_shared.errors import Invalid, Retryable
from radrelay_shared.ports import Ack, Bus, Dead, DeadLetter, Delivery, Message, Retry, Verdict
from radrelay_shared.testing import PATIENCE_SECONDS, until

EXTERNAL = "RADRELAY_TEST_AMQP_URL"
ADAPTERS = ["memory", pytest.param("rabbitmq", marks=pytest.mark.external)]
if os.environ.get(EXTERNAL):
    ADAPTERS.append(pytest.param(EXTERNAL, marks=pytest.mark.external))


class World:
    """Processes on one bus: those that live at the same time share a broker, and in memory one replaces another."""

    def __init__(self, open_bus: Callable[[], Awaitable[Bus]]) -> None:
        self._open_bus = open_bus
        self._alive: list[Bus] = []

    async def join(self) -> Bus:
        self._alive.append(await self._open_bus())
        return self._alive[-1]

    async def vanish(self, bus: Bus) -> None:
        """What SIGKILL leaves behind: no goodbye, and nothing settled."""
        self._alive.remove(bus)
        if isinstance(bus, AmqpBus):
            cancel({bus._keeper, *bus._under_way})
            await bus._session.connection.close()
        if isinstance(bus, MemoryBus):
            cancel(bus._calls)

    async def end(self) -> None:
        for bus in self._alive:
            await bus.close()


@pytest.fixture(params=ADAPTERS)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async def open_bus() -> Bus:
        match request.param:
            case "memory":
                return MemoryBus(tmp_path, retry_tiers=TIERS)
            case "rabbitmq":
                return await AmqpBus.connect(request.getfixturevalue("rabbitmq").url, retry_tiers=TIERS)
            case variable:
                return await AmqpBus.connect(os.environ[variable], retry_tiers=TIERS)

    world = World(open_bus)
    yield world
    await world.end()


@pytest.fixture
async def bus(world: World) -> Bus:
    return await world.join()


def refuse(reason: str) -> Callable[[Delivery], Awaitable[Verdict]]:
    async def decide(_: Delivery) -> Verdict:
        return Dead(reason)

    return decide


async def test_a_message_arrives_as_it_was_sent(bus: Bus) -> None:
    """Id, type, lane, body bytes and the hop's traceparent are the same on the other side."""
    desk, received = Desk(), event_type()
    await bus.subscribe(desk.name, [received], desk)
    headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    sent = Message(
        "0190f4a2-0000-7000-8000-000000000001", received, urgent=True, body=b'{"a":"\xc3\xa9"}', headers=headers
    )

    await bus.publish(sent)
    await until(lambda: len(desk.deliveries) == 1)

    assert desk.deliveries == [Delivery(sent, attempt=1)]


async def test_every_service_that_listens_gets_its_own_copy(bus: Bus) -> None:
    triage, custody, other, stored = Desk(), Desk(), Desk(), event_type()
    await bus.subscribe(triage.name, [stored], triage)
    await bus.subscribe(custody.name, [stored], custody)
    await bus.subscribe(other.name, [event_type()], other)

    await bus.publish(sent := message(stored))
    await until(lambda: triage.ids == [sent.id] and custody.ids == [sent.id])

    assert other.ids == []


async def test_a_service_may_ask_for_more_types_later(bus: Bus) -> None:
    """Each type goes to the consumer that asked for it."""
    studies, orders = Desk(), Desk()
    study, order = event_type(), event_type()
    await bus.subscribe(studies.name, [study], studies)
    await bus.subscribe(studies.name, [order], orders)

    await bus.publish(first := message(study))
    await bus.publish(second := message(order))

    await until(lambda: studies.ids == [first.id] and orders.ids == [second.id])


async def test_the_same_event_published_twice_arrives_at_least_once(bus: Bus) -> None:
    """Also when both are on their way at the same moment."""
    desk, received = Desk(), event_type()
    await bus.subscribe(desk.name, [received], desk)
    sent = message(received)

    await asyncio.gather(bus.publish(sent), bus.publish(sent))
    await until(lambda: len(desk.ids) >= 1)

    assert set(desk.ids) == {sent.id}


async def test_an_event_nobody_listens_for_stays_with_its_sender(bus: Bus) -> None:
    unheard = message(event_type())
    with pytest.raises(Retryable):
        await bus.publish(unheard)


async def test_an_expected_service_that_starts_late_misses_nothing(bus: Bus) -> None:
    early, late, kind = Desk(), Desk(), event_type()
    sent = message(kind)
    await bus.expect({early.name: [kind], late.name: [kind]})
    await bus.subscribe(early.name, [kind], early)
    publishing = asyncio.create_task(published_at_last(bus, sent))
    await asyncio.sleep(0.1)
    await bus.subscribe(late.name, [kind], late)
    await publishing
    await until(lambda: sent.id in early.ids and sent.id in late.ids)


async def published_at_last(bus: Bus, sent: Message) -> None:
    """As the outbox's relay does: again and again until it is confirmed."""
    while True:
        with suppress(Retryable):
            return await bus.publish(sent)
        await asyncio.sleep(0.02)


async def test_the_same_unheard_event_twice_at_once_is_refused_twice(bus: Bus) -> None:
    unheard = message(event_type())
    outcomes = await asyncio.gather(*(bus.publish(unheard) for _ in range(8)), return_exceptions=True)
    assert [isinstance(outcome, Retryable) for outcome in outcomes] == [True] * 8


async def test_an_event_of_more_than_64_kib_is_refused(bus: Bus) -> None:
    desk, received = Desk(), event_type()
    await bus.subscribe(desk.name, [received], desk)

    await bus.publish(message(received, body=b"x" * 65_536))
    with pytest.raises(Invalid):
        await bus.publish(message(received, body=b"x" * 65_537))

    await until(lambda: len(desk.ids) == 1)


async def test_stat_head_ct_overtakes_routine_chest_backlog(bus: Bus) -> None:
    """While every routine place is taken and more wait, a STAT event is delivered at once."""
    release = asyncio.Event()

    async def slow_on_routine(delivery: Delivery) -> Verdict:
        if not delivery.message.urgent:
            await release.wait()
        return Ack()

    desk, received = Desk(slow_on_routine), event_type()
    await bus.subscribe(desk.name, [received], desk, prefetch=2)
    chests = [asyncio.create_task(bus.publish(message(received))) for _ in range(5)]
    await until(lambda: len(desk.ids) == 2)

    await bus.publish(stroke := message(received, urgent=True))
    await until(lambda: stroke.id in desk.ids)
    assert len(desk.ids) == 3

    release.set()
    await asyncio.gather(*chests)
    await until(lambda: len(desk.ids) == 6)


async def test_a_retry_comes_again_after_its_wait_with_the_next_attempt(bus: Bus) -> None:
    times: list[float] = []

    async def twice_not_yet(delivery: Delivery) -> Verdict:
        times.append(monotonic())
        return Retry(TIERS[delivery.attempt - 1], "the archive is away") if delivery.attempt < 3 else Ack()

    desk, received = Desk(twice_not_yet), event_type()
    await bus.subscribe(desk.name, [received], desk)
    sent = message(received, urgent=True)

    await bus.publish(sent)
    await until(lambda: len(desk.deliveries) == 3)

    assert desk.deliveries == [Delivery(sent, 1), Delivery(sent, 2), Delivery(sent, 3)]
    assert times[1] - times[0] > 0.09  # a broker counts whole milliseconds
    assert times[2] - times[1] > 0.29


async def test_a_consumer_that_raises_gets_the_event_again(bus: Bus) -> None:
    async def crash_once(delivery: Delivery) -> Verdict:
        if delivery.attempt == 1:
            raise KeyError("pixel spacing")
        return Ack()

    desk, received = Desk(crash_once), event_type()
    await bus.subscribe(desk.name, [received], desk)

    await bus.publish(message(received))
    await until(lambda: [delivery.attempt for delivery in desk.deliveries] == [1, 2])


async def test_a_dead_letter_is_kept_with_its_reason_and_survives_its_process(world: World) -> None:
    async def retry_then_refuse(delivery: Delivery) -> Verdict:
        return Dead("Invalid: no_such_modality") if delivery.attempt == 2 else Retry(TIERS[0], "not yet")

    first, desk, received = await world.join(), Desk(retry_then_refuse), event_type()
    await first.subscribe(desk.name, [received], desk)
    sent = Message("0190f4a2-0000-7000-8000-000000000002", received, urgent=True, body=b"\xff{}", headers={"a": "b"})
    await first.publish(sent)
    kept = [DeadLetter(sent, desk.name, "Invalid: no_such_modality", attempts=2)]
    assert await until_dead(first, desk.name) == kept

    await first.close()
    second = await world.join()

    assert await second.dead_letters(desk.name) == kept
    assert await second.dead_letters(desk.name) == kept, "looking does not remove"


async def test_dead_letters_are_listed_oldest_first_up_to_the_limit(bus: Bus) -> None:
    desk, received = Desk(refuse("Invalid: test")), event_type()
    await bus.subscribe(desk.name, [received], desk, prefetch=1)
    ids = [f"0190f4a2-000{number}-7000-8000-000000000000" for number in range(4)]
    for each in ids:
        await bus.publish(Message(each, received, urgent=False, body=b"{}"))
    await until_dead(bus, desk.name, 4)

    assert [letter.message.id for letter in await bus.dead_letters(desk.name, limit=3)] == ids[:3]
    assert [letter.message.id for letter in await bus.dead_letters(desk.name)] == ids


async def test_a_replayed_dead_letter_goes_to_its_own_service_only_and_leaves_the_list(bus: Bus) -> None:
    repaired = asyncio.Event()

    async def refuse_until_repaired(_: Delivery) -> Verdict:
        return Ack() if repaired.is_set() else Dead("Invalid: template")

    reporting, custody, signed = Desk(refuse_until_repaired), Desk(), event_type()
    await bus.subscribe(reporting.name, [signed], reporting)
    await bus.subscribe(custody.name, [signed], custody)
    await bus.publish(fixed := message(signed))
    await bus.publish(other := message(signed))
    await until_dead(bus, reporting.name, 2)

    repaired.set()
    assert await bus.replay(reporting.name, fixed.id) == 1
    await until(lambda: len(reporting.deliveries) == 3)

    assert reporting.deliveries[2] == Delivery(fixed, attempt=1)
    assert [letter.message.id for letter in await until_dead(bus, reporting.name, 1)] == [other.id]
    await until(lambda: len(custody.ids) >= 2)
    assert sorted(custody.ids) == sorted([fixed.id, other.id])


async def test_replaying_all_delivers_each_once_even_those_that_fail_again(bus: Bus) -> None:
    desk, received = Desk(refuse("Invalid: still")), event_type()
    await bus.subscribe(desk.name, [received], desk)
    for _ in range(3):
        await bus.publish(message(received))
    await until_dead(bus, desk.name, 3)

    assert await bus.replay(desk.name) == 3
    await until(lambda: len(desk.deliveries) == 6)

    await until_dead(bus, desk.name, 3)
    assert len(desk.deliveries) == 6


async def test_replaying_what_is_not_there_does_nothing(bus: Bus) -> None:
    assert await bus.replay("test-nobody", "0190f4a2-0000-7000-8000-000000000003") == 0
    assert await bus.dead_letters("test-nobody") == []


async def test_drain_waits_for_the_delivery_under_way_and_takes_no_new_one(bus: Bus) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def slow(_: Delivery) -> Verdict:
        started.set()
        await release.wait()
        return Ack()

    desk, received = Desk(slow), event_type()
    await bus.subscribe(desk.name, [received], desk)
    under_way = asyncio.create_task(bus.publish(first := message(received)))
    await started.wait()

    draining = asyncio.create_task(bus.drain())
    await takes_nothing_new(bus)
    assert not draining.done()
    late = asyncio.create_task(bus.publish(message(received)))
    release.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await draining

    await under_way
    with suppress(Retryable):
        await late
    await asyncio.sleep(0.1)
    assert desk.ids == [first.id]


async def takes_nothing_new(bus: Bus) -> None:
    """Return once a drain that was asked for waits for nothing but what is under way."""
    await asyncio.sleep(0)  # it begins
    if isinstance(bus, AmqpBus):
        async with bus._changing:
            pass


async def test_a_delivery_whose_consumer_vanished_comes_again(world: World) -> None:
    """Either the broker still has it, or its publisher was never told that it was taken; then it may be there twice."""
    first, stuck, received = await world.join(), Desk(forever), event_type()
    await first.subscribe(stuck.name, [received], stuck)
    sent = message(received)
    publishing = asyncio.create_task(first.publish(sent))
    await until(lambda: stuck.ids == [sent.id])

    confirmed = publishing.done()
    publishing.cancel()
    await world.vanish(first)
    second, desk = await world.join(), Desk()
    await second.subscribe(stuck.name, [received], desk)
    if not confirmed:
        await second.publish(sent)

    await until(lambda: set(desk.ids) == {sent.id})


async def test_a_dead_letter_that_cannot_be_kept_leaves_the_event_with_its_sender(tmp_path: Path) -> None:
    """In memory the disk is ours; here a file stands where the folder should be."""
    (tmp_path / "letters").touch()
    bus, desk, received = MemoryBus(tmp_path / "letters"), Desk(refuse("Invalid: test")), event_type()
    await bus.subscribe(desk.name, [received], desk)

    with pytest.raises(Retryable):
        await bus.publish(message(received))


async def test_a_bus_that_works_is_healthy(bus: Bus) -> None:
    desk = Desk()
    await bus.subscribe(desk.name, [event_type()], desk)
    await bus.healthy()


def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in list(tasks):
        task.cancel()


async def forever(_: Delivery) -> Verdict:
    await asyncio.Event().wait()
    return Ack()
