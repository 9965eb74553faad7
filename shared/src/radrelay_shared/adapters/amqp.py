from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import cast
from weakref import WeakValueDictionary

import aio_pika
import aiormq
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractIncomingMessage,
    AbstractQueue,
)
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelInvalidStateError, PublishError

from radrelay_shared.adapters import CLOSE_SECONDS, check_size
from radrelay_shared.adapters.amqp_topology import (
    ATTEMPT,
    DEAD_ARGUMENTS,
    DEFAULT_EXCHANGE,
    EVENTS,
    LANES,
    REASON,
    REASON_LENGTH,
    Table,
    attempt_of,
    dead_letter,
    dead_name,
    decode,
    encode,
    lane_of,
    queue_name,
    retry_arguments,
    retry_name,
    work_arguments,
)
from radrelay_shared.errors import Unreachable
from radrelay_shared.ports import (
    RETRY_TIERS,
    Consumer,
    Dead,
    DeadLetter,
    Delivery,
    Message,
    Retry,
    Verdict,
)

log = logging.getLogger("radrelay.bus")

ANSWER_SECONDS = 5.0  # for a declaration, an ack, a look; then the session is given up
CONFIRM_SECONDS = 10.0  # for an event to be safe
RECONNECT_SECONDS = 1.0
HEARTBEAT_SECONDS = 20  # a peer that vanished without a word is noticed after three of these
ALL_HELD = 0  # the delivery tag that means every unacked one (AMQP 0-9-1 §basic.nack)

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
                await channel.declare_queue(dead_name(service), durable=True, arguments=DEAD_ARGUMENTS)
                queue = await channel.declare_queue(name, durable=True, arguments=work_arguments(service))
                self.lanes[name] = queue, await queue.consume(receive)
            for message_type in subscription.consumers:
                await self.lanes[name][0].bind(EVENTS, f"{lane}.{message_type}")

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


class AmqpBus:
    """The bus on RabbitMQ: quorum queues, confirms before acks, own attempt header. Use `connect`.

    When the broker was away, or cancelled a consumer, everything is declared and consumed again; until then
    every call raises `Unreachable`.
    """

    _session: Session
    _keeper: asyncio.Task[None]

    def __init__(self, url: str, retry_tiers: Sequence[timedelta]) -> None:
        self._url, self._tiers = url, sorted(retry_tiers)
        self._subscriptions: dict[str, Subscription] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()  # of session and subscriptions
        # aiormq finds a returned publish by its message id: the same id twice at once could confirm a lost one.
        self._one_at_a_time: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @classmethod
    async def connect(cls, url: str, *, retry_tiers: Sequence[timedelta] = RETRY_TIERS) -> AmqpBus:
        """Connect to `amqp://` or `amqps://` and declare what all services share; `Unreachable` if that fails."""
        bus = cls(url, retry_tiers)
        bus._session = await bus._open()
        bus._keeper = asyncio.create_task(bus._keep_connected())
        return bus

    async def _open(self) -> Session:
        async with reaching("connect"):
            connection = await aio_pika.connect(self._url, heartbeat=HEARTBEAT_SECONDS)
        session = Session(connection)
        try:
            await session.declare(self._tiers)
            for service in self._subscriptions:
                await self._listen(session, service)
        except BaseException:
            await session.close()
            raise
        return session

    async def _listen(self, session: Session, service: str) -> None:
        for lane in LANES:
            receive = self._receiver(service, queue_name(service, lane))
            await session.listen(service, lane, self._subscriptions[service], receive)

    async def _keep_connected(self) -> None:
        """Replace the session whenever it breaks, for as long as the bus lives."""
        while True:
            await self._session.broken.wait()
            log.warning("RabbitMQ went away, or cancelled a consumer; connecting again")
            await self._session.close()
            while self._session.broken.is_set():
                await asyncio.sleep(RECONNECT_SECONDS)
                try:
                    async with self._changing:
                        self._session = await self._open()
                except Unreachable as error:
                    log.warning("%s; trying again", error.detail)

    @property
    def _live(self) -> Session:
        if self._session.broken.is_set():
            raise Unreachable("RabbitMQ is away; connecting again")
        return self._session

    async def publish(self, message: Message) -> None:
        check_size(message)
        await self._send(EVENTS, f"{lane_of(message)}.{message.type}", message)

    async def subscribe(self, service: str, types: Sequence[str], consumer: Consumer, *, prefetch: int = 8) -> None:
        """As the port says; a service's later subscriptions share the lanes and the prefetch of its first."""
        async with self._changing:
            subscription = self._subscriptions.setdefault(service, Subscription(prefetch))
            subscription.consumers.update(dict.fromkeys(types, consumer))
            await self._listen(self._live, service)

    async def healthy(self) -> None:
        """Every consumer lives as long as its session does; ask the broker for an answer where events go out."""
        async with reaching("answer"):
            await self._live.publishing.declare_exchange(EVENTS, "topic", durable=True)

    async def dead_letters(self, service: str, *, limit: int = 100) -> list[DeadLetter]:
        async with self._dead_queue(service) as queue:
            return [dead_letter(service, incoming) async for incoming in upto(limit, queue)]

    async def replay(self, service: str, message_id: str | None = None) -> int:
        """Each letter goes to the service's own queue, then out of the dead ones; one that fails again stays."""
        replayed: set[str | None] = set()
        async with self._dead_queue(service) as queue:
            async for incoming in upto(None, queue):
                if incoming.message_id in replayed or message_id not in (None, incoming.message_id):
                    continue
                message = decode(incoming)
                await self._send(DEFAULT_EXCHANGE, queue_name(service, lane_of(message)), message)
                await acknowledge(incoming)
                replayed.add(incoming.message_id)
        return len(replayed)

    async def drain(self) -> None:
        async with self._changing:
            self._subscriptions.clear()
            await self._session.stop()
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.drain()
        except TimeoutError:
            for delivery in self._under_way:
                delivery.cancel()
        self._keeper.cancel()
        await self._session.close()

    def _receiver(self, service: str, queue: str) -> Receive:
        """Each delivery runs in a task of ours: aiormq would cancel its own whenever the channel closes."""
        subscription = self._subscriptions[service]

        async def receive(incoming: AbstractIncomingMessage) -> None:
            task = asyncio.create_task(self._handle(service, subscription, queue, incoming))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

        return receive

    async def _handle(
        self, service: str, subscription: Subscription, queue: str, incoming: AbstractIncomingMessage
    ) -> None:
        """Settle one delivery: what becomes of it is confirmed by the broker before the original is acked."""
        delivery = Delivery(decode(incoming), attempt_of(incoming))
        match await self._verdict(subscription, delivery):
            case Retry(after):
                tier = next((tier for tier in self._tiers if tier >= after), self._tiers[-1])
                await self._hand_over(incoming, retry_name(tier), queue, {ATTEMPT: delivery.attempt + 1})
            case Dead(reason):
                kept: Table = {ATTEMPT: delivery.attempt, REASON: reason[:REASON_LENGTH]}
                await self._hand_over(incoming, DEFAULT_EXCHANGE, dead_name(service), kept)
        try:
            await acknowledge(incoming)
        except Unreachable:
            log.warning("the broker left before %s was acked; it comes again", delivery.message.id)

    async def _verdict(self, subscription: Subscription, delivery: Delivery) -> Verdict:
        consumer = subscription.consumers.get(delivery.message.type)
        if consumer is None:  # a binding of another version of this service
            return self._not_understood(delivery)
        try:
            return await consumer(delivery)
        except Exception as error:
            log.exception("a consumer of %s raised; it is tried again", delivery.message.type)
            return Retry(self._tiers[0], type(error).__name__)

    def _not_understood(self, delivery: Delivery) -> Verdict:
        """Another process of the service may understand it while versions change; after that it is dead."""
        reason = f"no consumer of {delivery.message.type}"
        if delivery.attempt > len(self._tiers):
            return Dead(reason)
        return Retry(self._tiers[delivery.attempt - 1], reason)

    async def _hand_over(
        self, incoming: AbstractIncomingMessage, exchange: str, routing_key: str, headers: Table
    ) -> None:
        """Place the copy; while the broker cannot take it, hold on to the original as long as it is ours."""
        while not closed(incoming):
            try:
                await self._send(exchange, routing_key, decode(incoming), headers)
            except Unreachable as error:
                log.warning("%s waits to be handed over: %s", incoming.message_id, error.detail)
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                return

    async def _send(self, exchange: str, routing_key: str, message: Message, headers: Table | None = None) -> None:
        """Publish persistently; return once the broker has confirmed it for every queue it went to."""
        outgoing = encode(message, headers or {})
        lock = self._one_at_a_time.setdefault(message.id, asyncio.Lock())
        async with reaching("confirm an event", CONFIRM_SECONDS), lock:
            channel = await self._live.publishing.get_underlay_channel()
            try:
                await channel.basic_publish(
                    outgoing.body,
                    exchange=exchange,
                    routing_key=routing_key,
                    properties=outgoing.properties,
                    mandatory=True,
                )
            except PublishError as error:
                raise Unreachable(f"nobody listens for {message.type} yet") from error

    @asynccontextmanager
    async def _dead_queue(self, service: str) -> AsyncIterator[AbstractQueue]:
        """The dead letters' queue on a channel of its own; what was got and not acked goes back at the end."""
        channel = self._live.connection.channel()
        try:
            async with reaching("open the dead letters"):
                await channel.initialize()
                name = dead_name(service)
                queue = await channel.declare_queue(name, durable=True, arguments=DEAD_ARGUMENTS)
            yield queue
        finally:
            with suppress(Unreachable):
                async with reaching("put the dead letters back"):
                    held = await channel.get_underlay_channel()
                    await held.basic_nack(ALL_HELD, multiple=True, requeue=True)  # in order, unlike a close
                    await channel.close()


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


async def acknowledge(incoming: AbstractIncomingMessage) -> None:
    async with reaching("take an ack"):
        await incoming.ack()


async def upto(limit: int | None, queue: AbstractQueue) -> AsyncIterator[AbstractIncomingMessage]:
    """Messages in order, unacked, until the queue is empty."""
    for _ in count() if limit is None else range(limit):
        async with reaching("show a dead letter"):
            incoming = await queue.get(fail=False)
        if incoming is None:
            return
        yield incoming


def closed(incoming: AbstractIncomingMessage) -> bool:
    """Whether the delivery's channel is gone, so that it comes again to somebody."""
    try:
        return incoming.channel.is_closed
    except ChannelInvalidStateError:
        return True
