"""What the bus tests share: messages, a service that notes its deliveries, and a way to wait for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import uuid4

from radrelay_shared.ports import Ack, Bus, DeadLetter, Delivery, Message, Verdict
from radrelay_shared.testing import until

TIERS = (timedelta(milliseconds=100), timedelta(milliseconds=300))


def event_type() -> str:
    """Types are the tests' own, so that they do not disturb each other on one broker."""
    return f"radrelay.test.{uuid4().hex[:8]}.v1"


def message(message_type: str, *, urgent: bool = False, body: bytes = b"{}") -> Message:
    return Message(str(uuid4()), message_type, urgent, body)


class Desk:
    """A service: notes every delivery and answers with `decide`, by default `Ack`."""

    def __init__(self, decide: Callable[[Delivery], Awaitable[Verdict]] | None = None) -> None:
        self.name = f"test-{uuid4().hex[:8]}"
        self.deliveries: list[Delivery] = []
        self._decide = decide

    async def __call__(self, delivery: Delivery) -> Verdict:
        self.deliveries.append(delivery)
        return await self._decide(delivery) if self._decide else Ack()

    @property
    def ids(self) -> list[str]:
        return [delivery.message.id for delivery in self.deliveries]


async def until_dead(bus: Bus, service: str, count: int = 1) -> list[DeadLetter]:
    async def letters() -> list[DeadLetter]:
        found = await bus.dead_letters(service)
        return found if len(found) == count else []

    kept: list[DeadLetter] = await until(letters)
    return kept
