"""The CloudEvents 1.0 envelope around an event, in structured JSON, and what it is called by."""

from __future__ import annotations

import os
import time
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict

from radrelay_shared.events import EVENTS, Event, Priority
from radrelay_shared.ports import Message

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"

E = TypeVar("E", bound=Event)
E_co = TypeVar("E_co", bound=Event, covariant=True)


class Envelope(BaseModel, Generic[E_co]):
    """A CloudEvents 1.0 envelope around one event."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str  # "/radrelay/triage"
    type: str
    subject: str
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    partitionkey: str
    sequence: str  # rises per source and aggregate
    site: str
    traceparent: str | None = None  # the span in which the event came to be (distributed tracing extension)
    data: E_co

    @property
    def message(self) -> Message:
        """The encoded event as the bus carries it."""
        headers = {"traceparent": self.traceparent} if self.traceparent else {}
        body = self.model_dump_json(exclude_none=True).encode()
        urgent = self.data.awaited or self.data.priority is Priority.STAT
        return Message(self.id, self.type, urgent, body, headers)


def wrap(event: E, *, service: str, at: datetime, sequence: int, traceparent: str | None = None) -> Envelope[E]:
    """The event in its envelope, with a new id."""
    subject = event.study or getattr(event, "order", None) or ""
    return Envelope[Any](
        id=uuid7(),
        source=f"/radrelay/{service}",
        type=event.type,
        subject=subject,
        time=at,
        partitionkey=subject,
        sequence=f"{sequence:010d}",
        site=event.site,
        traceparent=traceparent,
        data=event,
    )


def unwrap(message: Message) -> Envelope[Event]:
    """The envelope in a message; raises `pydantic.ValidationError` or `KeyError` on anything foreign."""
    kind: Any = EVENTS[message.type]
    envelope: Envelope[Event] = Envelope[kind].model_validate_json(message.body)
    if envelope.type != message.type:
        raise KeyError(envelope.type)
    return envelope


def uuid7() -> str:
    """A new UUIDv7 (RFC 9562 §5.7): sorts by the millisecond it was made."""
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | int.from_bytes(os.urandom(10)) & ~(0xF << 76)
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
