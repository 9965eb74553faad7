"""A service on embedded adapters in a folder, for tests: the real run loop, nothing replaced."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import yaml

from radrelay_shared.adapters.memory import MemoryBus
from radrelay_shared.aggregate import Clock, utc_now
from radrelay_shared.envelope import Envelope, unwrap, wrap
from radrelay_shared.events import Event
from radrelay_shared.ports import Ack, Delivery, Verdict
from radrelay_shared.security import Role, new_api_key
from radrelay_shared.service import Runtime, Service, http_server

E = TypeVar("E", bound=Event)
PATIENCE_SECONDS = 300  # on a slow machine under load: what passes never waits so long


async def until(look: Callable[[], Any]) -> Any:
    """What `look` finds, once that is anything; it may be a coroutine function, too."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = look()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.01)


class Downstream:
    """The services that would listen: keeps every event that the service under test emits."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope[Event]] = []

    async def consume(self, delivery: Delivery) -> Verdict:
        self.envelopes.append(unwrap(delivery.message))
        return Ack()

    def of(self, kind: type[E]) -> list[E]:
        """The events of exactly this kind, in the order they came."""
        return [each.data for each in self.envelopes if type(each.data) is kind]

    async def told(self, kind: type[E], count: int = 1) -> list[E]:
        """The same, once there are so many."""
        await until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)


def embedded(service: Service, folder: Path) -> dict[str, Any]:
    """Settings that keep everything under the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "api-keys.yaml").touch()
    return {
        "bus_url": "memory://",
        "documents_url": f"sqlite:///{folder / (service.name + '.db')}",
        "blobs_url": f"file:///{folder / 'deidentified'}",
        "originals_url": f"file:///{folder / 'originals'}",
        "api_keys_file": folder / "api-keys.yaml",
        "drain_seconds": 5,
    }


@asynccontextmanager
async def running(
    service: Service, folder: Path, *, clock: Clock = utc_now, **settings: Any
) -> AsyncIterator[tuple[Runtime, Downstream]]:
    """The service, up on `memory://`, SQLite and files under the folder, and what it emits."""
    bus, downstream = MemoryBus(), Downstream()
    if service.emits:
        await bus.subscribe("downstream", [event.type for event in service.emits], downstream.consume)
    runtime = Runtime(service, service.settings(**(embedded(service, folder) | settings)), bus=bus, clock=clock)
    await runtime.start()
    try:
        yield runtime, downstream
    finally:
        await runtime.stop()
        await bus.close()


@asynccontextmanager
async def served(runtime: Runtime) -> AsyncIterator[str]:
    """The service over real connections: the address of its HTTP server on a free loopback port."""
    server = http_server(runtime.app, runtime.settings.model_copy(update={"http_port": 0}))
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def deliver(runtime: Runtime, event: Event, *, sequence: int = 1) -> None:
    """Publish the event as another service would by the same clock, and return when it has been handled."""
    if runtime.bus is None:
        raise RuntimeError("start the runtime first")
    await runtime.bus.publish(wrap(event, service="test", at=runtime.clock(), sequence=sequence).message)
    await runtime.relay.idle()


def client(
    runtime: Runtime, *roles: Role, sites: tuple[str, ...] = ("*",), subject: str = "test"
) -> httpx2.AsyncClient:
    """An HTTP client straight into the service's app, with a fresh API key of these roles and sites."""
    secret, key = new_api_key(subject, set(roles), set(sites))
    gate = runtime.app.state.gate
    gate.keys[subject] = key
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(runtime.app, raise_app_exceptions=False),
        base_url="http://radrelay",
        headers={"Authorization": f"Bearer {secret}"},
    )


def api_keys_file(file: Path, **keys: tuple[set[Role], set[str]]) -> dict[str, str]:
    """Write a keys file with these ids; returns each machine's secret."""
    made = {name: new_api_key(name, roles, sites) for name, (roles, sites) in keys.items()}
    file.write_text(yaml.safe_dump([key.model_dump(mode="json") for _, key in made.values()]))
    return {name: secret for name, (secret, _) in made.items()}
