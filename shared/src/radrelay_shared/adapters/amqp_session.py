from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from radrelay_shared.adapters.amqp_topology import (
    DEAD_ARGUMENTS,
    EVENTS,
    LANES,
    dead_name,
    queue_name,
    retry_arguments,
    retry_name,
    work_arguments,
)
from radrelay_shared.errors import Unreachable
from radrelay_shared.ports import Consumer

ANSWER_SECONDS = 5.0  # for a declaration, an ack, a look; then the session is given up
HEARTBEAT_SECONDS = 20  # a peer that vanished without a word is noticed after three of these

Receive = Callable[[AbstractIncomingMessage], Awaitable[None]]


@dataclass
class Subscription:
    """What one service listens to, for as long as the bus lives."""

    prefetch: int
    consumers: dict[str, Consumer] = field(default_factory=dict)


class Session:
    """One connection and its channels. It ends as a whole with the first part that breaks, and a new one begins.

    aio-pika's own robust connection is not used: it restores consumers without a timeout, and a quorum queue
    without a leader does not answer.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self.connection = connection
        self.broken = asyncio.Event()
        self.lanes: dict[str, tuple[AbstractQueue, str]] = {}  # by queue name: what is consumed, consumer tag
        connection.close_callbacks.add(self._on_loss)

    @classmethod
    async def connect(cls, url: str) -> Session:
        async with reaching("connect"):
            return cls(await aio_pika.connect(url, heartbeat=HEARTBEAT_SECONDS))

    async def declare(self, tiers: Sequence[timedelta]) -> None:
        """What all services share: the events' exchange and the retry tiers."""
        async with reaching("declare the topology"):
            self.publishing = await self._channel(on_return_raises=True)
            await self.publishing.declare_exchange(EVENTS, "topic", durable=True)
            for tier in tiers:
                name, arguments = retry_name(tier), retry_arguments(tier)
                await self.publishing.declare_exchange(name, "fanout", durable=True)
                queue = await self.publishing.declare_queue(name, durable=True, arguments=arguments)
                await queue.bind(name)

    async def listen(self, service: str, lane: str, subscription: Subscription, receive: Receive) -> None:
        """Bind the lane's queue to the subscription's types and consume it, on a channel of its own."""
        name = queue_name(service, lane)
        async with reaching("take a subscription"):
            if name not in self.lanes:
                channel = await self._channel()
                await channel.set_qos(prefetch_count=subscription.prefetch)
                queue = await bound_queue(channel, service, lane, subscription.consumers)
                self.lanes[name] = queue, await queue.consume(receive)
            else:
                await bind(self.lanes[name][0], lane, subscription.consumers)

    async def keep_for(self, service: str, types: Iterable[str]) -> None:
        """Declare a service's queues, so that nothing is lost on it before it consumes."""
        async with reaching("declare a reader's queues"):
            for lane in LANES:
                await bound_queue(self.publishing, service, lane, types)

    async def stop(self) -> None:
        """Take nothing more; what is under way can still be settled."""
        with suppress(Unreachable):  # a broken session brings nothing either
            async with reaching("stop a consumer"):
                await asyncio.gather(*(queue.cancel(tag) for queue, tag in self.lanes.values()))

    async def close(self) -> None:
        with suppress(Unreachable):
            async with reaching("say goodbye"):
                await self.connection.close()

    async def _channel(self, **options: bool) -> AbstractChannel:
        channel = self.connection.channel(**options)
        await channel.initialize()
        channel.close_callbacks.add(self._on_loss)
        underlay = cast("aiormq.Channel", await channel.get_underlay_channel())
        underlay.on_consumer_cancel_callbacks.add(self._on_loss)
        return channel

    def _on_loss(self, *_: object) -> None:
        self.broken.set()


async def bound_queue(channel: AbstractChannel, service: str, lane: str, types: Iterable[str]) -> AbstractQueue:
    """The lane's queue and the service's dead letters, declared; the queue bound to the types."""
    await channel.declare_queue(dead_name(service), durable=True, arguments=DEAD_ARGUMENTS)
    queue = await channel.declare_queue(queue_name(service, lane), durable=True, arguments=work_arguments(service))
    await bind(queue, lane, types)
    return queue


async def bind(queue: AbstractQueue, lane: str, types: Iterable[str]) -> None:
    for message_type in types:
        await queue.bind(EVENTS, f"{lane}.{message_type}")


@asynccontextmanager
async def reaching(what: str, seconds: float = ANSWER_SECONDS) -> AsyncIterator[None]:
    """Turn every way in which the broker can fail to answer in time into `Unreachable`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except asyncio.CancelledError as error:
        # aiormq ends what waits on a closing channel with a CancelledError that nobody asked for.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unreachable(f"RabbitMQ went away and did not {what}") from error
    except CONNECTION_EXCEPTIONS as error:  # TimeoutError is one of them, as an OSError
        raise Unreachable(f"RabbitMQ did not {what}: {type(error).__name__}") from error
