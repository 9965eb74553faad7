"""The run loop of every service: consume, decide what a failure means, relay, serve HTTP, drain.

A service is data: a name, a HANDLERS table, routers, background tasks. `Runtime` makes it run, alone in a
process (`run`) or beside the others in the all-in-one.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Generic, TypeVar

import uvicorn
import uvloop
from anyio import create_task_group
from fastapi import APIRouter, FastAPI
from opentelemetry.sdk.trace import SpanProcessor
from pydantic import ValidationError
from starlette.middleware import Middleware

from radrelay_shared.aggregate import Aggregate, Clock, Store, utc_now
from radrelay_shared.connect import connect_blobs, connect_bus, connect_documents
from radrelay_shared.envelope import Envelope, unwrap
from radrelay_shared.errors import Permanent, RadRelayError, Unreachable
from radrelay_shared.events import READERS, Event
from radrelay_shared.http import build_app
from radrelay_shared.outbox import Relay
from radrelay_shared.ports import (
    RETRY_TIERS,
    Ack,
    Blobs,
    Bus,
    Dead,
    Delivery,
    Documents,
    Index,
    Retry,
    Verdict,
)
from radrelay_shared.settings import ServiceSettings
from radrelay_shared.telemetry import Telemetry, current_service, current_study, log_to_stderr

log = logging.getLogger("radrelay.service")

WATCHDOG_SECONDS = 5.0
START_AGAIN_SECONDS = 1.0
T = TypeVar("T")
FLUSH_SECONDS = 2.0  # at the end, for events that are stored; what is left goes out after the restart
Settings_co = TypeVar("Settings_co", bound=ServiceSettings, covariant=True)


@dataclass
class Context(Generic[Settings_co]):
    """What handlers, routes and tasks of a service work with; a service may subclass it to add its own parts."""

    settings: Settings_co
    store: Store
    telemetry: Telemetry
    bucket: Blobs | None = None
    originals_bucket: Blobs | None = None
    clock: Clock = utc_now

    @property
    def blobs(self) -> Blobs:
        """The de-identified bucket."""
        if self.bucket is None:
            raise Unreachable("this service was started without RADRELAY_BLOBS_URL")
        return self.bucket

    @property
    def originals(self) -> Blobs:
        """The identified bucket; only ingest and anonymize are given one."""
        if self.originals_bucket is None:
            raise Unreachable("this service was started without RADRELAY_ORIGINALS_URL")
        return self.originals_bucket

    async def open(self) -> None:
        """Make ready what a subclass adds; called once, before anything is consumed or served."""

    async def healthy(self) -> None:
        """Raise `Unreachable` or `Full` if what a subclass added does not work."""

    async def close(self) -> None:
        """Let go of what a subclass added; called after everything has drained."""


Handler = Callable[[Envelope[Any], Any], Awaitable[None]]
Task = Callable[[Any], Coroutine[Any, Any, None]]


def no_middleware(_: ServiceSettings) -> Sequence[Middleware]:
    return ()


@dataclass(frozen=True)
class Service:
    """One service as data; its `main.py` is little else."""

    name: str
    handlers: Mapping[type[Event], Handler]
    emits: tuple[type[Event], ...]
    paths: tuple[str, ...] = ()  # URL prefixes that the ingress sends here
    settings: type[ServiceSettings] = ServiceSettings
    context: type[Context[Any]] = Context
    aggregates: tuple[type[Aggregate], ...] = ()
    routers: tuple[APIRouter, ...] = ()
    tasks: tuple[Task, ...] = ()  # run until cancelled: listeners, sweepers
    streams: tuple[str, ...] = ()  # URL prefixes whose bodies are bounded by their own routes
    middleware: Callable[[Any], Sequence[Middleware]] = no_middleware  # of its HTTP app, made from its settings

    @property
    def indexes(self) -> tuple[Index, ...]:
        return tuple(index for aggregate in self.aggregates for index in aggregate.indexes)


@dataclass
class Runtime:
    """A service that runs: its ports, its relay, its HTTP app."""

    service: Service
    settings: ServiceSettings
    bus: Bus | None = None  # the all-in-one shares one
    processors: Sequence[SpanProcessor] = ()
    clock: Clock = utc_now
    failed: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Connect, declare, consume, serve; on return everything is ready."""
        name, settings = self.service.name, self.settings
        current_service.set(name)
        self.owns_bus = self.bus is None
        self.telemetry = Telemetry(name, settings.otlp_endpoint, processors=self.processors)
        self.documents: Documents = await connect_documents(settings.documents_url)
        await patiently(lambda: self.documents.ensure(self.service.indexes))
        if self.bus is None:
            bus = self.bus = await patiently(lambda: connect_bus(settings.bus_url, settings.retry_tiers))
            await patiently(lambda: expect_readers(bus))
        self.relay = Relay(self.documents, self.bus, self.telemetry)
        self.context = self.service.context(
            settings,
            Store(self.documents, name, self.relay.nudge, self.clock),
            self.telemetry,
            await self._bucket("blobs"),
            await self._bucket("originals"),
            self.clock,
        )
        await self.context.open()
        self.app: FastAPI = build_app(self)
        if self.service.handlers:
            types, bus = [event.type for event in self.service.handlers], self.bus
            await patiently(lambda: bus.subscribe(name, types, self.consume))
        work: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {"relay": self.relay.run}
        work |= {each.__name__: partial(each, self.context) for each in self.service.tasks}
        self.tasks = [asyncio.create_task(self._guarded(label, each), name=label) for label, each in work.items()]

    async def _bucket(self, which: str) -> Blobs | None:
        url = getattr(self.settings, f"{which}_url")
        if url is None:
            return None
        access_key = getattr(self.settings, f"{which}_access_key")
        return await connect_blobs(url, access_key, getattr(self.settings, f"{which}_secret_key"))

    async def _guarded(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A background task that ends by itself takes the service down with it: silence is worse."""
        current_service.set(self.service.name)
        try:
            await work()
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("%s stopped; the service restarts", name)
        self.failed.set()

    async def healthy(self) -> None:
        """Raise `Unreachable` or `Full` with the part that does not work."""
        checks = [self.documents.healthy(), self.context.healthy()]
        checks += [bucket.healthy() for bucket in (self.context.bucket, self.context.originals_bucket) if bucket]
        if self.bus is not None:
            checks.append(self.bus.healthy())
        async with asyncio.timeout(WATCHDOG_SECONDS):
            await asyncio.gather(*checks)

    async def stop(self) -> None:
        """Finish what is under way, leave the rest for whoever comes next, and let go of everything."""
        await self.drain()
        await self.close()

    async def drain(self) -> None:
        """Take nothing new from the bus and finish what was taken, if nobody else sees to that."""
        if self.bus is not None and self.owns_bus:
            await self._within("draining the bus", self.bus.drain(), self.settings.drain_seconds)

    async def close(self) -> None:
        """Publish what is stored, stop the tasks, and let go of everything."""
        if self.owns_bus:
            await self._within("relaying", self.relay.idle(), FLUSH_SECONDS)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.context.close()
        closing = [self.documents, self.context.bucket, self.context.originals_bucket]
        for port in (*closing, self.bus if self.owns_bus else None):
            if port is not None:
                await port.close()
        await asyncio.to_thread(self.telemetry.close)

    async def _within(self, what: str, work: Awaitable[None], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await work
        except (TimeoutError, RadRelayError):
            log.warning("%s took too long; what is left comes again after the restart", what)

    async def consume(self, delivery: Delivery) -> Verdict:
        """Handle one delivery and say what becomes of it; never raises but on cancellation."""
        current_service.set(self.service.name)
        message, queue = delivery.message, queue_of(self.service.name, urgent=delivery.message.urgent)
        with self.telemetry.process(message, queue) as failed:
            verdict = await self._handle(delivery)
            if not isinstance(verdict, Ack):
                failed(verdict.reason.partition(":")[0])
        return verdict

    async def _handle(self, delivery: Delivery) -> Verdict:
        try:
            envelope = unwrap(delivery.message)
            handler = self.service.handlers[type(envelope.data)]
        except (ValidationError, KeyError) as error:
            return Dead(f"Invalid: not an event that {self.service.name} understands ({type(error).__name__})")
        current_study.set(envelope.subject)
        try:
            async with asyncio.timeout(self.settings.handler_seconds):
                await handler(envelope, self.context)
        except Permanent as error:
            log.error("%s of %s is set aside: %s", envelope.type, envelope.subject, error.detail)  # noqa: TRY400  the text says it
            return Dead(f"{type(error).__name__}: {error.detail}")
        except Exception as error:  # noqa: BLE001  whatever a handler raises, the delivery must come back
            return self._again(delivery, error)
        return Ack()

    def _again(self, delivery: Delivery, error: Exception) -> Verdict:
        """The next retry tier, or the dead letters after the last."""
        detail = error.detail if isinstance(error, RadRelayError) else "an error inside RadRelay"
        reason = f"{type(error).__name__}: {detail}"
        if delivery.attempt > len(RETRY_TIERS):
            log.error("%s is given up after %d attempts", delivery.message.type, delivery.attempt, exc_info=error)
            return Dead(reason)
        wait = self.settings.retry_tiers[delivery.attempt - 1]
        log.warning("%s is tried again in %s", delivery.message.type, wait, exc_info=error)
        return Retry(wait, reason)


async def expect_readers(bus: Bus) -> None:
    """Keep every event for its readers, whichever of them has started so far."""
    await bus.expect({service: [event.type for event in types] for service, types in READERS.items()})


async def patiently(reach: Callable[[], Awaitable[T]]) -> T:
    """Wait for a server that is not there yet: after a power cut all start at once, and a crash loop takes longer."""
    while True:
        try:
            return await reach()
        except Unreachable as error:
            log.warning("the start waits: %s", error.detail)
        await asyncio.sleep(START_AGAIN_SECONDS)


def queue_of(service: str, *, urgent: bool) -> str:
    return f"radrelay.{service}.stat" if urgent else f"radrelay.{service}"


async def warm(app: FastAPI) -> None:
    """What libraries put off until it is needed is done now, so that whoever asks first does not wait for it."""
    async with create_task_group():  # anyio imports itself
        for route in app.routes:  # FastAPI analyses the routes of a router
            route.matches({"type": "http", "method": "GET", "path": "/"})


async def serve(runtime: Runtime) -> int:
    """Run one service until SIGTERM or SIGINT, then drain; the exit status is 1 if it stopped by itself."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    if not await started(runtime, stopping):
        return 0
    await warm(runtime.app)
    gc.collect()
    gc.freeze()  # what the start made stays; a look at all of it would hold requests up for 100 ms now and then
    server = http_server(runtime.app, runtime.settings)
    serving = asyncio.create_task(server.serve())
    waits = [asyncio.create_task(event.wait()) for event in (stopping, runtime.failed)]
    await asyncio.wait([serving, *waits], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await asyncio.gather(serving, runtime.drain())  # requests and deliveries under way still need the ports
    await runtime.close()
    for wait in waits:
        wait.cancel()
    return 0 if stopping.is_set() else 1


async def started(runtime: Runtime, stopping: asyncio.Event) -> bool:
    """Start; False if it was told to stop while it still waited for a server."""
    starting, told = asyncio.create_task(runtime.start()), asyncio.create_task(stopping.wait())
    await asyncio.wait([starting, told], return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if starting.done():
        await starting
        return True
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    return False


class HttpServer(uvicorn.Server):
    """Uvicorn without its own signal handlers: the run loop decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http_server(app: Any, settings: ServiceSettings) -> HttpServer:
    """An HTTP server that logs no URLs (a query may name a patient) and gives slow clients a bounded time."""
    config = uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=int(timedelta(seconds=settings.drain_seconds).total_seconds()),
    )
    return HttpServer(config)


def run(service: Service) -> None:
    """The `main` of a service that has a process of its own."""
    settings = service.settings()
    log_to_stderr(settings.log_level)
    raise SystemExit(uvloop.run(serve(Runtime(service, settings))))
