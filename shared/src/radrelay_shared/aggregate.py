"""The one way that services change state: load, decide, save state and events in one atomic write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import ClassVar, Generic, Protocol, TypeVar

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pydantic import BaseModel, ConfigDict, Field

from radrelay_shared.envelope import Envelope, wrap
from radrelay_shared.errors import Conflict
from radrelay_shared.events import Event
from radrelay_shared.ports import CAUSE, Document, Documents, Index, Where

CONFLICT_RETRIES = 20


class Aggregate(BaseModel):
    """State that is written as one document; the class says in which collection, and what is indexed."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    collection: ClassVar[str]
    indexes: ClassVar[tuple[Index, ...]] = ()

    trace: str | None = Field(None, exclude=True)  # of the last event that changed it; kept by `Store`, shown to nobody


class Part(BaseModel):
    """A piece of an aggregate's state; like it, tolerant of what a newer version wrote."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Input(BaseModel):
    """What a caller sends: nothing unknown is accepted, so that a misspelt field is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Aggregate)


@dataclass(frozen=True, slots=True)
class Decision(Generic[S]):
    """What the domain decided: the next state, and the events that follow from it."""

    state: S
    events: Sequence[Event] = field(default=())


class Clock(Protocol):
    def __call__(self) -> datetime: ...


def utc_now() -> datetime:
    return datetime.now(UTC)


class Store:
    """Typed aggregates over the `Documents` port; wakes the relay after each write that has events."""

    def __init__(self, documents: Documents, service: str, nudge: Callable[[], None], clock: Clock = utc_now) -> None:
        self.documents, self.service, self.nudge, self.clock = documents, service, nudge, clock

    async def change(
        self,
        kind: type[S],
        key: str,
        decide: Callable[[S | None], Decision[S] | None],
        *,
        because: Envelope[Event] | None = None,
    ) -> S | None:
        """Decide on the current state and save the outcome; decide again if someone else wrote first.

        `decide` is pure and may run several times; None means nothing changes. With `because`, a second
        delivery of the same event changes nothing. Returns the state after the call.
        """
        for _ in range(CONFLICT_RETRIES):
            found = await self.documents.get(kind.collection, key)
            current = None if found is None else kind.model_validate(found.state)
            if because is not None and found is not None and because.id in found.seen:
                self.nudge()
                return current
            decision = decide(current)
            if decision is None:
                return current
            try:
                return await self._save(key, decision, found, because)
            except Conflict:
                continue
        raise Conflict(f"{kind.collection}/{key} is written by others all the time; the change is tried again later")

    async def _save(
        self, key: str, decision: Decision[S], found: Document | None, because: Envelope[Event] | None
    ) -> S:
        """What follows from an event continues its trace; what a person or a clock caused, that of its document."""
        revision, here = found.revision if found else 0, current_traceparent()
        remembered = found.state.get("trace") if found else None
        known = (here or because.traceparent) if because else remembered
        state = decision.state.model_copy(update={"trace": known})
        trace = here if same_trace(here, known) else known or here
        cause = {CAUSE: here} if here and here != trace else {}
        outgoing = [
            wrap(event, service=self.service, at=self.clock(), sequence=revision + 1, traceparent=trace).message
            for event in decision.events
        ]
        outgoing = [replace(message, headers={**message.headers, **cause}) for message in outgoing]
        await self.documents.save(
            state.collection,
            key,
            state.model_dump(mode="json") | {"trace": known},
            revision=revision,
            outgoing=outgoing,
            seen=because.id if because else None,
        )
        if outgoing:
            self.nudge()
        return state

    async def handled(self, kind: type[S], key: str, envelope: Envelope[Event]) -> bool:
        """Whether the event already had its effect on the document, so that costly work need not be done again."""
        found = await self.documents.get(kind.collection, key)
        return found is not None and envelope.id in found.seen

    async def read(self, kind: type[S], key: str) -> S | None:
        found = await self.documents.get(kind.collection, key)
        return None if found is None else kind.model_validate(found.state)

    async def find(
        self,
        kind: type[S],
        where: Sequence[Where] = (),
        *,
        sort: str | None = None,
        descending: bool = False,
        limit: int = 100,
        offset: int = 0,
    ) -> list[S]:
        found = await self.documents.find(
            kind.collection, where, sort=sort, descending=descending, limit=limit, offset=offset
        )
        return [kind.model_validate(document.state) for document in found]

    async def count(self, kind: type[S], where: Sequence[Where] = ()) -> int:
        return await self.documents.count(kind.collection, where)


def same_trace(one: str | None, other: str | None) -> bool:
    """Whether two traceparents (W3C Trace Context §3.2) name one trace."""
    return bool(one and other) and str(one).split("-")[1] == str(other).split("-")[1]


def current_traceparent() -> str | None:
    """The running span as a W3C traceparent, so that an event remembers where it came to be."""
    carrier: dict[str, str] = {}
    if trace.get_current_span().get_span_context().is_valid:
        TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")
