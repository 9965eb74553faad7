"""Which hops each event of the other services is, as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from radrelay_shared import events
from radrelay_shared.envelope import Envelope
from radrelay_shared.events import Event
from radrelay_storage.custody.chain import Facts, Hop, Kind

Chosen = tuple[str, ...]  # fields of the event that the ledger keeps
ONCE_PER_BATCH: frozenset[Kind] = frozenset({"received", "sealed", "de-identified", "stored"})


def moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def hop(kind: Kind, mark: str, at: datetime, who: str, **facts: Any) -> Hop:
    """With the facts that are known; lists become text."""
    known: Facts = {
        name: value if isinstance(value, str | int) else ", ".join(map(str, value))
        for name, value in facts.items()
        if value not in (None, "", ())
    }
    return Hop(kind, mark, moment(at), who, known)


def picked(
    kind: Kind, fields: Chosen, *, at: str | None = None, who: str | None = None
) -> Callable[[Envelope[Any]], Hop]:
    """The hop that says these fields; when and who are fields, or else the envelope's time and source."""

    def made(envelope: Envelope[Any]) -> Hop:
        event = envelope.data
        when = getattr(event, at) if at else envelope.time
        whose = getattr(event, who) if who else envelope.source.rpartition("/")[2]
        once = event.batch if kind in ONCE_PER_BATCH else envelope.id
        return hop(kind, f"{kind} {once}", when, whose, **{field: getattr(event, field) for field in fields})

    return made


RECEIVED = picked("received", ("batch", "instances", "size", "basis"), at="received_at")
SEALED = picked("sealed", ("batch", "manifest", "manifest_sha256"), at="completed_at")
REPORTED = picked("reported", ("version", "content", "sha256"), who="radiologist")

HOPS: Mapping[type[Event], Sequence[Callable[[Envelope[Any]], Hop]]] = {
    events.StudyReceived: (RECEIVED, SEALED),
    events.StudyUpdated: (RECEIVED, SEALED),
    events.StudyQuarantined: (picked("quarantined", ("batch", "instances", "reasons")),),
    events.ReportPreliminary: (REPORTED,),
    events.ReportFinalized: (REPORTED,),
    events.ReportAddended: (REPORTED,),
    events.StudyErased: (picked("deleted", ("what", "objects")),),
    events.ReportDelivered: (picked("delivered", ("version", "endpoint", "attempts")),),
}

RESTORED = picked("restored", ("batch", "manifest_sha256"))

# Two hops of one event: the batch is copied, and from now on can be read.
DEIDENTIFIED = picked("de-identified", ("batch", "instances", "manifest", "manifest_sha256"))
STORED = picked("stored", ("batch",))


def hops_of(envelope: Envelope[Event]) -> list[Hop]:
    return [make(envelope) for make in HOPS[type(envelope.data)]]
