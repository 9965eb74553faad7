"""The three ports: `Bus`, `Documents`, `Blobs`. Each has an embedded adapter and a production one.

A URL chooses the adapter (`connect`); one contract suite per port (`tests/contract`) holds all of them
to the promises written here. Adapters translate every foreign error into `errors`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from radrelay_shared.errors import Conflict

State = dict[str, Any]  # JSON: str, int, float, bool, None, list, dict

# ── Bus ──────────────────────────────────────────────────────────────────────────────────────────────


CAUSE = "cause"  # a message's header: the span, of another trace, in which a person or a clock caused it


@dataclass(frozen=True, slots=True)
class Message:
    """One event on its way: the encoded CloudEvent and what the bus needs to route it."""

    id: str  # the event's id, a UUIDv7
    type: str  # "radrelay.study.received.v1"
    urgent: bool  # the STAT lane
    body: bytes  # structured CloudEvents JSON, at most 64 KiB
    headers: Mapping[str, str] = field(default_factory=dict)  # the hop's traceparent, for instance


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message handed to one service; `attempt` counts from 1 over all retry tiers."""

    message: Message
    attempt: int


@dataclass(frozen=True, slots=True)
class Ack:
    """The effect is durable; forget the delivery."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Deliver again after at least `after`, with `attempt` one higher."""

    after: timedelta
    reason: str


@dataclass(frozen=True, slots=True)
class Dead:
    """Keep it for an operator, with the reason; it can be replayed."""

    reason: str


Verdict = Ack | Retry | Dead

# How long a delivery that failed waits before it is tried again, by failed attempt; then it is dead.
RETRY_TIERS = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
)

Consumer = Callable[[Delivery], Awaitable[Verdict]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What an operator sees of a delivery that was given up."""

    message: Message
    service: str
    reason: str
    attempts: int


class Bus(Protocol):
    """At-least-once events between services, with retry tiers, dead letters and a STAT lane."""

    async def publish(self, message: Message) -> None:
        """Return once the message is durably somebody else's duty; raise `Retryable` otherwise.

        Publishing the same message twice delivers it at least once; a message nobody listens for is
        a `Retryable` error, for its reader may still be starting.
        """

    async def expect(self, readers: Mapping[str, Sequence[str]]) -> None:
        """Keep messages for these services (service → types), even before they subscribe for the first time.

        From then on `publish` confirms a message only when it is safe for each of its readers.
        """

    async def subscribe(self, service: str, types: Sequence[str], consumer: Consumer, *, prefetch: int = 8) -> None:
        """Deliver every message of these types to `service`, up to `prefetch` at a time per lane.

        Lanes are consumed independently: routine backlog never delays a STAT message. A consumer that
        raises is treated as `Retry` of the first tier. One delivery goes to one process of a service.
        """

    async def healthy(self) -> None:
        """Return if messages can be published and every subscription is alive; raise `Unreachable` if not."""

    async def dead_letters(self, service: str, *, limit: int = 100) -> list[DeadLetter]:
        """The service's dead letters, oldest first, left where they are."""

    async def replay(self, service: str, message_id: str | None = None) -> int:
        """Deliver one dead letter (or all) again as attempt 1; return how many."""

    async def drain(self) -> None:
        """Take no new deliveries and wait for those under way."""

    async def close(self) -> None:
        """Drain, then disconnect. Unsettled deliveries come again to somebody."""


# ── Documents ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Document:
    """One aggregate as it was read: `revision` guards the write, `seen` the handled event ids."""

    id: str
    revision: int
    state: State
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Eq:
    """The field at this dotted path equals the value; a missing field equals None."""

    path: str
    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class In:
    path: str
    values: tuple[str | int | float, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """`low <= field <= high`, either end open if None; text compares by code point, as ISO times and DICOM dates do.

    Only fields of the bounds' own kind (text or number) match.
    """

    path: str
    low: str | int | float | None = None
    high: str | int | float | None = None


@dataclass(frozen=True, slots=True)
class Prefix:
    path: str
    value: str


@dataclass(frozen=True, slots=True)
class Wildcard:
    """DICOM wildcard matching (PS3.4 §C.2.2.2.4): `*` any run, `?` one character; case decides."""

    path: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Has:
    """The array at this path contains the value."""

    path: str
    value: str | int | float


Where = Eq | In | Range | Prefix | Wildcard | Has


@dataclass(frozen=True, slots=True)
class Index:
    """An index over dotted state paths; `unique` refuses a second document in which all of them are present.

    With `each` the first path is an array's, and `Has` is served, sorted by the second path if there is one. With
    `parts` the only path is a text's, and a `Wildcard` is served wherever in the text its letters stand.
    """

    collection: str
    paths: tuple[str, ...]
    unique: bool = False
    each: bool = False
    parts: bool = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Messages that were stored with a document and wait for the relay."""

    collection: str
    document_id: str
    messages: tuple[Message, ...]


class Documents(Protocol):
    """Aggregates: one document, one atomic write of state, handled event and outgoing events."""

    async def ensure(self, indexes: Sequence[Index]) -> None:
        """Make the declared indexes exist. Idempotent; safe from several processes at once."""

    async def get(self, collection: str, document_id: str) -> Document | None:
        """The document as last written, or None. Reads follow the caller's own writes."""

    async def save(
        self,
        collection: str,
        document_id: str,
        state: State,
        *,
        revision: int,
        outgoing: Sequence[Message] = (),
        seen: str | None = None,
    ) -> Document:
        """Write state, append `outgoing` and remember `seen`, all in one atomic durable step.

        `revision` is the one that was read, 0 for a document that must not exist yet. Raises `Conflict` if it is
        no longer current (or a unique index is hit), and then nothing was written. At least the last 256 seen ids stay.
        """

    async def delete(self, collection: str, document_id: str, *, revision: int) -> None:
        """Remove the document if this revision is current (`Conflict`) and its outbox is empty (`Conflict`)."""

    async def find(
        self,
        collection: str,
        where: Sequence[Where] = (),
        *,
        sort: str | None = None,
        descending: bool = False,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Document]:
        """Documents that meet every condition, by `sort` path then id (missing first); `limit` is at most 10,000."""

    async def count(self, collection: str, where: Sequence[Where] = ()) -> int:
        """How many documents meet every condition."""

    async def outgoing(self, *, limit: int = 100) -> list[Outgoing]:
        """Documents, of any collection, with messages waiting; those that wait longest first."""

    async def settle(self, collection: str, document_id: str, message_ids: Sequence[str]) -> None:
        """Forget published messages. Idempotent; leaves revision and state alone."""

    async def healthy(self) -> None:
        """Return if a document can be written; raise `Unreachable` or `Full` if not."""

    async def close(self) -> None: ...


# ── Blobs ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class BlobInfo:
    key: str
    size: int
    modified: datetime


class Blobs(Protocol):
    """Immutable objects by key. Keys match `[a-z0-9][a-z0-9._/-]{0,511}`, without `..`, `//` or a final `/`.

    A segment has at most 250 characters, and no key is another key's folder.
    """

    async def put(self, key: str, source: bytes | AsyncIterator[bytes], *, if_absent: bool = False) -> int:
        """Store the whole source, streaming, and return its size once durable; readers see all of it or nothing.

        With `if_absent`, an existing key raises `Conflict` and stays (one of several racers wins). A source
        that fails leaves nothing behind. Raises `Full` when there is no room.
        """

    def stream(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start`, `length` of them or all, in pieces of at most 1 MiB; `NotFound` without the key."""

    async def pour(
        self, key: str, take: Callable[[bytes], object], *, start: int = 0, length: int | None = None
    ) -> None:
        """As `stream`, for work that blocks: `take` gets each piece in a thread; what it raises ends the reading."""

    async def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """As `stream`, in one piece: for small objects and ranges. A range past the end gives what there is."""

    async def stat(self, key: str) -> BlobInfo | None:
        """Size and time, or None."""

    def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        """Every object under the prefix, by key."""

    async def delete(self, key: str) -> None:
        """Remove it; a missing key is fine; a key under retention raises `Refused`."""

    async def retain(self, key: str, until: datetime) -> None:
        """Refuse deletion and overwriting until then (S3 object lock, compliance mode); never shortens."""

    async def healthy(self) -> None:
        """Return if an object can be written; raise `Unreachable` or `Full` if not."""

    async def close(self) -> None: ...


async def put_once(blobs: Blobs, key: str, content: bytes) -> None:
    """Keep content under a key that follows from it, durable on return; if it is there already nothing happens."""
    with suppress(Conflict):
        await blobs.put(key, content, if_absent=True)
