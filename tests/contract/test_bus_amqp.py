"""What only a real broker can do to a bus: die, forget a consumer, close a channel, give up on a message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import aio_pika
import pytest

from contract.bus_desk import TIERS, Desk, event_type, message, until_dead
from contract.health import is_healthy
from radrelay_shared.adapters.amqp import AmqpBus
from radrelay_shared.errors import Retryable, Unreachable
from radrelay_shared.ports import Delivery, Message
from radrelay_shared.testing import PATIENCE_SECONDS, until
from servers import free_ports
from servers.rabbitmq import RabbitMQ

pytestmark = pytest.mark.external


@pytest.fixture
async def bus(rabbitmq: RabbitMQ) -> AsyncIterator[AmqpBus]:
    bus = await AmqpBus.connect(rabbitmq.url, retry_tiers=TIERS)
    yield bus
    await bus.close()


@pytest.fixture
async def outsider(rabbitmq: RabbitMQ) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    """Another client of the same broker."""
    async with await aio_pika.connect(rabbitmq.url) as connection:
        yield await connection.channel()


async def publish_until_confirmed(bus: AmqpBus, sent: Message) -> None:
    while True:
        try:
            return await bus.publish(sent)
        except Retryable:
            await asyncio.sleep(0.1)


async def test_a_broker_killed_mid_flow_loses_nothing_that_was_confirmed(bus: AmqpBus, rabbitmq: RabbitMQ) -> None:
    """SIGKILL while 400 events are on their way; publisher and consumer come back by themselves."""
    desk, received = Desk(), event_type()
    await bus.subscribe(desk.name, [received], desk)
    await asyncio.to_thread(rabbitmq.settle)  # as the queues of a running service are
    sent = [message(received, urgent=number % 2 == 0) for number in range(400)]
    publishing = [asyncio.create_task(publish_until_confirmed(bus, each)) for each in sent[:200]]
    await until(lambda: len(desk.ids) > 20)

    await asyncio.to_thread(rabbitmq.kill)
    with pytest.raises(Unreachable):
        await bus.healthy()
    publishing += [asyncio.create_task(publish_until_confirmed(bus, each)) for each in sent[200:]]
    await asyncio.to_thread(rabbitmq.start)
    await asyncio.gather(*publishing)

    await until(lambda: set(desk.ids) == {each.id for each in sent})
    await until(partial(is_healthy, bus))


async def test_a_consumer_whose_queue_was_deleted_comes_back(
    bus: AmqpBus, outsider: aio_pika.abc.AbstractChannel
) -> None:
    """The broker cancels the consumer; the queue is declared and consumed again, and meanwhile nobody is healthy."""
    desk, received = Desk(), event_type()
    await bus.subscribe(desk.name, [received], desk)

    await outsider.queue_delete(f"radrelay.{desk.name}")
    await until(partial(is_healthy, bus))
    await publish_until_confirmed(bus, sent := message(received))

    await until(lambda: sent.id in desk.ids)


async def test_a_channel_that_the_broker_closed_comes_back_with_its_deliveries(bus: AmqpBus) -> None:
    """An ack the broker does not know closes the channel, as its acknowledgement timeout would."""
    desk, received = Desk(), event_type()
    await bus.subscribe(desk.name, [received], desk)
    queue, _ = bus._session.lanes[f"radrelay.{desk.name}"]
    channel = await queue.channel.get_underlay_channel()

    await channel.basic_ack(delivery_tag=999)
    await until(lambda: channel.is_closed)
    await publish_until_confirmed(bus, sent := message(received))

    await until(lambda: sent.id in desk.ids)
    await until(partial(is_healthy, bus))


async def test_a_message_that_took_its_consumer_down_21_times_is_a_dead_letter(
    bus: AmqpBus, rabbitmq: RabbitMQ, outsider: aio_pika.abc.AbstractChannel
) -> None:
    """The broker counts; the operator sees why, and can replay it once the service is repaired."""
    desk, received = Desk(), event_type()
    first = await AmqpBus.connect(rabbitmq.url, retry_tiers=TIERS)
    await first.subscribe(desk.name, [received], desk)
    await first.close()
    await bus.publish(sent := message(received, urgent=True))
    queue = await outsider.get_queue(f"radrelay.{desk.name}.stat")
    for _ in range(21):
        await (await got(queue)).reject(requeue=True)

    letters = await until_dead(bus, desk.name)
    assert [(letter.message, letter.reason, letter.attempts) for letter in letters] == [(sent, "delivery limit", 1)]

    await bus.subscribe(desk.name, [received], desk)
    assert await bus.replay(desk.name, sent.id) == 1
    await until(lambda: desk.deliveries == [Delivery(sent, attempt=1)])


async def got(queue: aio_pika.abc.AbstractQueue) -> aio_pika.abc.AbstractIncomingMessage:
    """The queue's message, once it is back there."""
    incoming: aio_pika.abc.AbstractIncomingMessage = await until(
        partial(queue.get, fail=False, timeout=PATIENCE_SECONDS)
    )
    return incoming


async def test_an_event_that_this_version_does_not_understand_is_given_up_after_the_last_tier(
    bus: AmqpBus, outsider: aio_pika.abc.AbstractChannel
) -> None:
    """A binding outlives the version of a service that made it."""
    desk, retired = Desk(), event_type()
    await bus.subscribe(desk.name, [event_type()], desk)
    queue = await outsider.get_queue(f"radrelay.{desk.name}")
    await queue.bind("radrelay.events", f"routine.{retired}")

    await bus.publish(message(retired))

    letters = await until_dead(bus, desk.name)
    assert [(letter.reason, letter.attempts) for letter in letters] == [(f"no consumer of {retired}", 3)]


async def test_a_broker_that_is_not_there_is_unreachable() -> None:
    [port] = free_ports(1)
    with pytest.raises(Unreachable):
        await AmqpBus.connect(f"amqp://nobody:nothing@127.0.0.1:{port}/")


async def test_a_wrong_password_is_told_from_a_missing_broker(rabbitmq: RabbitMQ) -> None:
    with pytest.raises(Unreachable, match="Authentication"):
        await AmqpBus.connect(f"amqp://nobody:nothing@127.0.0.1:{rabbitmq.port}/")
