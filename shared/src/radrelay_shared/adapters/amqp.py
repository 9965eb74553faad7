from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from weakref import WeakValueDictionary

from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import ChannelInvalidStateError, PublishError

from radrelay_shared.adapters import CLOSE_SECONDS, check_size
from radrelay_shared.adapters.amqp_session import Receive, Session, Subscription, reaching
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
    retry_name,
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

CONFIRM_SECONDS = 10.0  # for an event to be safe
RECONNECT_SECONDS = 1.0


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
        self._expected: dict[str, Sequence[str]] = {}
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
        session = await Session.connect(self._url)
        try:
            await session.declare(self._tiers)
            for service, types in self._expected.items():
                await session.keep_for(service, types)
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
            await self._session.close()
            await asyncio.sleep(RECONNECT_SECONDS)
            try:
                async with self._changing:
                    self._session = await self._open()
                log.warning("the session with RabbitMQ was renewed")
            except Unreachable as error:
                log.warning("%s; trying again", error.detail)
            except Exception:
                log.exception("the session with RabbitMQ cannot be renewed; trying again")

    @property
    def _live(self) -> Session:
        if self._session.broken.is_set():
            raise Unreachable("the connection to RabbitMQ is being renewed")
        return self._session

    async def publish(self, message: Message) -> None:
        check_size(message)
        await self._send(EVENTS, f"{lane_of(message)}.{message.type}", message)

    async def expect(self, readers: Mapping[str, Sequence[str]]) -> None:
        async with self._changing:
            self._expected |= readers
            for service, types in readers.items():
                await self._live.keep_for(service, types)

    async def subscribe(self, service: str, types: Sequence[str], consumer: Consumer, *, prefetch: int = 8) -> None:
        """As the port says; a service's later subscriptions share the lanes and the prefetch of its first."""
        async with self._changing:
            subscription = self._subscriptions.setdefault(service, Subscription(prefetch))
            subscription.consumers.update(dict.fromkeys(types, consumer))
            await self._listen(self._live, service)

    async def healthy(self) -> None:
        """A session lives only as long as its consumers; a broker that takes no events does not open a channel."""
        async with reaching("answer"), self._live.connection.channel():
            pass

    async def dead_letters(self, service: str, *, limit: int = 100) -> list[DeadLetter]:
        """Looks at all of them, since the broker puts back what was looked at in an order of its own."""
        async with self._dead_queue(service) as queue:
            letters = [dead_letter(service, incoming) async for incoming in everything(queue)]
        return sorted(letters, key=lambda letter: letter.message.id)[:limit]

    async def replay(self, service: str, message_id: str | None = None) -> int:
        """Each letter goes to the service's own queue, then out of the dead ones; one that fails again stays."""
        replayed: set[str | None] = set()
        async with self._dead_queue(service) as queue:
            async for incoming in everything(queue):
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
        await asyncio.gather(self._keeper, return_exceptions=True)
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
                    await channel.close()


async def acknowledge(incoming: AbstractIncomingMessage) -> None:
    async with reaching("take an ack"):
        await incoming.ack()


async def everything(queue: AbstractQueue) -> AsyncIterator[AbstractIncomingMessage]:
    """Messages, unacked, until the queue is empty."""
    while True:
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
