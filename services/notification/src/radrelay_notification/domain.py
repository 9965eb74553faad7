"""Which webhook goes where, when it is tried again, and when it is given up. Pure."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import AwareDatetime, Field, field_validator

from radrelay_shared.aggregate import Aggregate, Decision, Input, Part
from radrelay_shared.events import Event, Priority, Report, ReportDelivered, ReportUndelivered
from radrelay_shared.ports import Index

# Standard Webhooks 1.0, "Deliverability and reliability": waits after the first, second, … failed attempt.
SCHEDULE = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
GONE = 410
SLOW_DOWN = frozenset({429, 502, 504})
AT_LEAST_WHEN_SLOW = timedelta(seconds=60)


class State(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class NewEndpoint(Input):
    """What a hospital registers: where its webhooks go."""

    site: str = Field(min_length=1, max_length=64)
    url: str = Field(max_length=2000)
    description: str = Field("", max_length=200)

    @field_validator("url")
    @classmethod
    def _is_web_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.fragment:
            raise ValueError("an endpoint is an http(s) address without user name and fragment")
        return url


class Endpoint(Aggregate):
    collection: ClassVar[str] = "endpoints"
    indexes: ClassVar[tuple[Index, ...]] = (Index("endpoints", ("site",)),)

    id: str
    site: str
    url: str
    description: str = ""
    secret: str  # whsec_…; unique per endpoint
    disabled: str | None = None  # why


def disabled(endpoint: Endpoint | None, reason: str) -> Decision[Endpoint] | None:
    """Nothing more is sent there; why, its owner can read."""
    return Decision(endpoint.model_copy(update={"disabled": reason})) if endpoint else None


class Attempt(Part):
    """One try: no body, no headers, for an answer may echo identity."""

    at: AwareDatetime
    status: int | None = None
    problem: str | None = None
    seconds: float = 0.0


class Delivery(Aggregate):
    """One message to one endpoint; its id is the `webhook-id` of every attempt."""

    collection: ClassVar[str] = "deliveries"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("deliveries", ("state", "next_at")),
        Index("deliveries", ("study",)),
    )

    id: str
    endpoint: str
    site: str
    study: str
    priority: Priority
    type: str  # "report.finalized"
    occurred_at: AwareDatetime
    report: str | None = None
    version: int = 0
    content: str | None = None
    sha256: str | None = None
    notes: tuple[str, ...] = ()  # reasons, for messages that are not reports
    state: State = State.PENDING
    attempts: tuple[Attempt, ...] = ()
    next_at: str  # ISO 8601 in UTC, comparable as text


def moment(at: datetime) -> str:
    """A time that sorts as text."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def webhook_type(event_type: str) -> str:
    """`radrelay.report.finalized.v1` → `report.finalized`."""
    return ".".join(event_type.split(".")[1:-1])


def webhook_id(subject: str, kind: str, version: int, endpoint: str) -> str:
    """The same message to the same endpoint has the same id, for ever; without dots, as the signature needs."""
    digest = hashlib.sha256(f"{subject}\0{kind}\0{version}\0{endpoint}".encode()).hexdigest()
    return f"msg_{digest[:32]}"


def new_delivery(event: Event, occurred_at: datetime, endpoint: Endpoint, *, version: int = 0) -> Delivery:
    """The delivery of this event to this endpoint, due at once."""
    kind = webhook_type(event.type)
    report = event if isinstance(event, Report) else None
    return Delivery(
        id=webhook_id(event.study, kind, version, endpoint.id),
        endpoint=endpoint.id,
        site=event.site,
        study=event.study,
        priority=event.priority,
        type=kind,
        occurred_at=occurred_at,
        report=report.report if report else None,
        version=version,
        content=report.content if report else None,
        sha256=report.sha256 if report else None,
        notes=tuple(getattr(event, "reasons", ())),
        next_at=moment(occurred_at),
    )


def queued(delivery: Delivery | None, new: Delivery) -> Decision[Delivery] | None:
    """A message is queued once, however often its event comes."""
    return Decision(new) if delivery is None else None


def taken(delivery: Delivery | None, now: datetime, until: datetime) -> Decision[Delivery] | None:
    """Own the next attempt until then; None if it is not due (someone else has it)."""
    if delivery is None or delivery.state is not State.PENDING or delivery.next_at > moment(now):
        return None
    return Decision(delivery.model_copy(update={"next_at": moment(until)}))


def postponed(delivery: Delivery | None, until: datetime) -> Decision[Delivery] | None:
    """Something of ours was missing (the vault, the bucket): no attempt was made."""
    if delivery is None or delivery.state is not State.PENDING:
        return None
    return Decision(delivery.model_copy(update={"next_at": moment(until)}))


def attempted(
    delivery: Delivery | None, attempt: Attempt, retry_after: timedelta | None, scale: float
) -> Decision[Delivery] | None:
    """What the attempt's answer means: delivered, tried again by the schedule, or given up."""
    if delivery is None or delivery.state is State.DELIVERED:
        return None
    attempts = (*delivery.attempts, attempt)
    changes: dict[str, object] = {"attempts": attempts}
    if succeeded(attempt):
        changes["state"] = State.DELIVERED
    elif attempt.status == GONE or len(attempts) > len(SCHEDULE):
        changes["state"] = State.FAILED
    else:
        changes["next_at"] = moment(attempt.at + wait(len(attempts), attempt, retry_after) * scale)
    after = delivery.model_copy(update=changes)
    return Decision(after, outcome_events(after))


def succeeded(attempt: Attempt) -> bool:
    """Only 2xx is success; a redirect is not followed and fails (Standard Webhooks 1.0)."""
    return attempt.status is not None and 200 <= attempt.status < 300  # noqa: PLR2004  the 2xx class


def wait(failures: int, attempt: Attempt, retry_after: timedelta | None) -> timedelta:
    """The schedule's wait; longer if the endpoint asks for it, at most twice as long."""
    base = SCHEDULE[failures - 1]
    if attempt.status in SLOW_DOWN:
        base = max(base, AT_LEAST_WHEN_SLOW)
    return min(max(base, retry_after or base), base * 2)


def outcome_events(delivery: Delivery) -> tuple[Event, ...]:
    """What the other services hear of a report that reached its end, one way or the other."""
    if delivery.report is None or delivery.state is State.PENDING:
        return ()
    facts = {
        "site": delivery.site,
        "study": delivery.study,
        "priority": delivery.priority,
        "report": delivery.report,
        "version": delivery.version,
        "endpoint": delivery.endpoint,
        "webhook_id": delivery.id,
        "attempts": len(delivery.attempts),
    }
    if delivery.state is State.DELIVERED:
        return (ReportDelivered.model_validate(facts),)
    return (ReportUndelivered.model_validate({**facts, "last_status": delivery.attempts[-1].status}),)


def resent(delivery: Delivery | None, now: datetime) -> Decision[Delivery] | None:
    """Try again from the start, with the same id, so that a receiver that had it can tell."""
    if delivery is None:
        return None
    return Decision(delivery.model_copy(update={"state": State.PENDING, "attempts": (), "next_at": moment(now)}))
