"""What RadRelay declares on RabbitMQ and how an event looks there; portable from RabbitMQ 3.10 to 4.3.

Sources: RabbitMQ's docs on quorum queues, dead lettering and TTL; CloudEvents 1.0, structured mode.
"""

from __future__ import annotations

from datetime import timedelta

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from pamqp.common import FieldValue

from radrelay_shared.envelope import CONTENT_TYPE
from radrelay_shared.ports import DeadLetter, Message

Table = dict[str, FieldValue]  # queue arguments, headers

EVENTS = "radrelay.events"  # topic exchange; routing key <lane>.<type>
DEFAULT_EXCHANGE = ""  # routes to the queue that the routing key names
LANES = ("routine", "stat")  # by Message.urgent

ATTEMPT, REASON, LANE = "x-radrelay-attempt", "x-radrelay-reason", "x-radrelay-lane"
NOT_OURS = "x-"  # such headers belong to the bus and the broker, never to a message
REASON_LENGTH = 2000  # characters; headers must fit one frame

DELIVERY_LIMIT = 20  # a message that took its consumer down this often is dead
NO_LIMIT = 1_000_000_000  # without it RabbitMQ 4 takes 20, and looking at a dead letter counts
QUORUM: Table = {"x-queue-type": "quorum"}
NEVER_LOSE: Table = {  # a message leaves its queue for another only once that one has confirmed it
    "x-dead-letter-exchange": DEFAULT_EXCHANGE,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",  # at-least-once needs it; there is no length limit
}
DEAD_ARGUMENTS: Table = {**QUORUM, "x-delivery-limit": NO_LIMIT}


def work_arguments(service: str) -> Table:
    """A message that exceeds the delivery limit goes to the service's dead letters."""
    to = {"x-dead-letter-routing-key": dead_name(service)}
    return {**QUORUM, **NEVER_LOSE, **to, "x-delivery-limit": DELIVERY_LIMIT}


def retry_arguments(tier: timedelta) -> Table:
    """After the tier a message goes to the queue that its routing key names: the one it came from."""
    return {**QUORUM, **NEVER_LOSE, "x-message-ttl": milliseconds(tier)}


def queue_name(service: str, lane: str) -> str:
    return f"radrelay.{service}" if lane == "routine" else f"radrelay.{service}.{lane}"


def dead_name(service: str) -> str:
    return f"radrelay.{service}.dead"


def retry_name(tier: timedelta) -> str:
    return f"radrelay.retry.{milliseconds(tier)}ms"


def milliseconds(tier: timedelta) -> int:
    return round(tier / timedelta(milliseconds=1))


def lane_of(message: Message) -> str:
    return LANES[message.urgent]


def encode(message: Message, headers: Table) -> aio_pika.Message:
    return aio_pika.Message(
        message.body,
        headers={**message.headers, LANE: lane_of(message), **headers},
        content_type=CONTENT_TYPE,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=message.id,
        type=message.type,
    )


def decode(incoming: AbstractIncomingMessage) -> Message:
    """The message as it was published; what is none of ours decodes, too, and its consumer refuses it."""
    headers = {k: str(v) for k, v in incoming.headers.items() if not k.startswith(NOT_OURS)}
    urgent = incoming.headers.get(LANE) == LANES[True]
    return Message(incoming.message_id or "", incoming.type or "", urgent, incoming.body, headers)


def attempt_of(incoming: AbstractIncomingMessage) -> int:
    found = incoming.headers.get(ATTEMPT)
    return found if isinstance(found, int) else 1


def dead_letter(service: str, incoming: AbstractIncomingMessage) -> DeadLetter:
    """Without a reason of ours it was the broker that gave up."""
    reason = incoming.headers.get(REASON) or "delivery limit"
    return DeadLetter(decode(incoming), service, str(reason), attempt_of(incoming))
