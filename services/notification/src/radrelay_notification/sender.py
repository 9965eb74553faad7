"""Sends what is due: asks the vault who the patient is, signs, posts, and remembers the outcome, never the body."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import aiohttp
from opentelemetry.trace import SpanKind

from radrelay_notification import domain, message, signing
from radrelay_notification.domain import GONE, Attempt, Delivery, Endpoint, State
from radrelay_notification.guard import Blocked, guarded_socket
from radrelay_notification.settings import NotificationSettings
from radrelay_shared.errors import Invalid, NotFound, RadRelayError, Unreachable
from radrelay_shared.ports import Eq, Range
from radrelay_shared.service import Context
from radrelay_shared.telemetry import PROPAGATOR, current_study

log = logging.getLogger("radrelay.notification")

SWEEP_SECONDS = 0.25
RETRY_OURS = timedelta(seconds=5)
ANSWER_LIMIT = 64 << 10


@dataclass
class NotificationContext(Context[NotificationSettings]):
    """The HTTP clients of the sender, and what wakes it."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: set[str] = field(default_factory=set)

    async def open(self) -> None:
        self.vault = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(self.settings.vault_seconds), trust_env=False, raise_for_status=False
        )

    async def close(self) -> None:
        await self.vault.close()


async def send_due(context: NotificationContext) -> None:
    """Send until cancelled, deliveries side by side, STAT first; then let those under way come to their end."""
    sending: set[asyncio.Task[None]] = set()
    try:
        while True:
            context.wake.clear()
            for delivery in await due(context):
                context.under_way.add(delivery.id)
                task = asyncio.create_task(send_one(delivery, context), name=f"send {delivery.id}")
                sending.add(task)
                task.add_done_callback(sending.discard)
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    await context.wake.wait()
            except TimeoutError:
                pass
    finally:
        if sending:
            await asyncio.wait(sending, timeout=context.settings.drain_seconds)


async def due(context: NotificationContext) -> list[Delivery]:
    """What may be sent now and is not under way, as many as there is room for."""
    room = context.settings.webhooks_at_once - len(context.under_way)
    where = (Eq("state", State.PENDING), Range("next_at", high=domain.moment(context.clock())))
    try:
        found = await context.store.find(Delivery, where, sort="next_at", limit=context.settings.webhooks_at_once * 4)
    except RadRelayError as error:
        log.warning("deliveries cannot be read and are tried again: %s", error.detail)
        return []
    waiting = sorted(
        (each for each in found if each.id not in context.under_way), key=lambda each: each.priority != "stat"
    )
    return waiting[: max(room, 0)]


async def send_one(delivery: Delivery, context: NotificationContext) -> None:
    """One attempt, whatever happens; a failure of ours postpones it without counting."""
    current_study.set(delivery.study)
    try:
        await attempt(delivery, context)
    except Exception as error:
        log.warning("webhook %s waits: something of ours failed", delivery.id, exc_info=error)
        await postpone(delivery, context)
    finally:
        context.under_way.discard(delivery.id)
        context.wake.set()


async def postpone(delivery: Delivery, context: NotificationContext) -> None:
    until = context.clock() + RETRY_OURS * context.settings.retry_scale
    try:
        await context.store.change(Delivery, delivery.id, partial(domain.postponed, until=until))
    except RadRelayError as error:
        log.warning("webhook %s comes again by itself: %s", delivery.id, error.detail)


async def attempt(delivery: Delivery, context: NotificationContext) -> None:
    """Take, compose, post, remember, all in the trace of the event that asked for it."""
    now = context.clock()
    until = now + context.settings.attempt_lasts
    taken = await context.store.change(Delivery, delivery.id, partial(domain.taken, now=now, until=until))
    if taken is None or taken.next_at != domain.moment(until):
        return
    parent = PROPAGATOR.extract({"traceparent": taken.trace}) if taken.trace else None
    with context.telemetry.span(f"deliver {taken.type}", parent=parent):
        endpoint = await context.store.read(Endpoint, taken.endpoint)
        if endpoint is None or endpoint.disabled:
            outcome, after = Attempt(at=now, status=GONE, problem="the endpoint was removed or disabled"), None
        else:
            outcome, after = await post(taken, endpoint, await compose(taken, context), context)
            if outcome.status == GONE:  # first, for once the attempt is noted nobody comes back to it
                gone = partial(domain.disabled, reason="it answered 410 Gone")
                await context.store.change(Endpoint, endpoint.id, gone)
        decide = partial(domain.attempted, attempt=outcome, retry_after=after, scale=context.settings.retry_scale)
        await context.store.change(Delivery, taken.id, decide)


async def compose(delivery: Delivery, context: NotificationContext) -> bytes:
    """The body, made anew for each attempt and kept nowhere."""
    if delivery.content is None:
        try:
            identity = await reidentify(delivery.study, context)
        except NotFound:
            identity = None
        return message.body(delivery, message.notice(delivery, identity))
    content = await context.blobs.read(delivery.content)
    if hashlib.sha256(content).hexdigest() != delivery.sha256:
        raise Invalid(f"the report of {delivery.study} does not match its hash; it is not sent")
    return message.body(delivery, message.identified(json.loads(content), await reidentify(delivery.study, context)))


async def reidentify(study: str, context: NotificationContext) -> dict[str, Any]:
    """Ask the vault, the only place that knows; it writes down that we asked."""
    settings = context.settings
    headers = {"Authorization": f"Bearer {settings.vault_api_key.get_secret_value()}"}
    PROPAGATOR.inject(headers)
    request = {"study": study, "purpose": "delivery"}
    try:
        async with context.vault.post(
            f"{settings.vault_url}/vault/reidentify", json=request, headers=headers
        ) as answer:
            if answer.status == NotFound.status:
                raise NotFound(f"the vault does not know {study}")
            if answer.status != 200:  # noqa: PLR2004  the only success here
                raise Unreachable(f"the vault answered {answer.status} for {study}")
            identity: dict[str, Any] = await answer.json()
            return identity
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unreachable("the vault cannot be reached") from error


async def post(
    delivery: Delivery, endpoint: Endpoint, body: bytes, context: NotificationContext
) -> tuple[Attempt, timedelta | None]:
    """One signed POST; redirects are not followed, cookies not kept, the answer's body not read beyond a bound."""
    at = context.clock()
    headers = signing.headers(endpoint.secret, delivery.id, int(at.timestamp()), body)
    headers["Content-Type"] = "application/json"
    started = time.monotonic()
    status, problem, after = None, None, None
    with context.telemetry.span("POST webhook", SpanKind.CLIENT) as span:
        PROPAGATOR.inject(headers)
        try:
            async with (
                hospital(endpoint, context) as session,
                session.post(endpoint.url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                status, after = answer.status, retry_after(answer.headers.get("Retry-After"))
                await answer.content.read(ANSWER_LIMIT)
        except TimeoutError:
            problem = f"no answer within {context.settings.webhook_seconds:.0f} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            problem = why_unreachable(error)
        if status is not None:
            span.set_attribute("http.response.status_code", status)
    return Attempt(at=at, status=status, problem=problem, seconds=round(time.monotonic() - started, 3)), after


def why_unreachable(error: Exception) -> str:
    """For people; without the address's text, which a redirect or proxy may have chosen."""
    if isinstance(getattr(error, "os_error", None), Blocked):
        return "the address is private or special and not in webhook_allow_networks"
    return f"not reachable ({type(error).__name__})"


@asynccontextmanager
async def hospital(endpoint: Endpoint, context: NotificationContext) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that can only reach addresses which the guard lets through."""
    settings = context.settings
    encrypted = endpoint.url.startswith("https:")
    connector = aiohttp.TCPConnector(
        socket_factory=guarded_socket(settings.webhook_allow_networks, encrypted=encrypted), force_close=True
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(settings.webhook_seconds),
        trust_env=False,
    ) as session:
        yield session


def retry_after(value: str | None) -> timedelta | None:
    """Seconds only; a date is treated as not given."""
    return timedelta(seconds=min(int(value), 86_400)) if value and value.isdecimal() else None
