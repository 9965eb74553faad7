"""All services in one process: one memory bus, one HTTP port, one folder."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from radrelay.board import BOARD
from radrelay.keys import AUDIENCE, ISSUER, Keys
from radrelay.services import SERVICES
from radrelay.viewer import PATH as VIEWER
from radrelay.viewer import viewer_app
from radrelay_shared.adapters.memory import MemoryBus
from radrelay_shared.errors import NotFound, RadRelayError, Unreachable
from radrelay_shared.http import problem
from radrelay_shared.service import HttpServer, Runtime, Service, expect_readers, http_server


@dataclass
class Platform:
    """RadRelay on embedded defaults; everything it keeps is under `folder`."""

    folder: Path
    http_host: str = "127.0.0.1"
    http_port: int = 8042
    dicom_port: int = 11112
    viewer: Path | None = None  # the folder of `make viewer`
    settings: Mapping[str, Any] = field(default_factory=dict)  # over the defaults, for every service that knows them
    runtimes: list[Runtime] = field(default_factory=list)

    async def start(self) -> None:
        """Start every service and answer HTTP; on return all of it is ready. Port 0 means any free one.

        Raises `RadRelayError` before anything has started if a port is taken.
        """
        listener(self.http_host, self.dicom_port).close()
        http = listener(self.http_host, self.http_port)
        self.http_port = http.getsockname()[1]
        try:
            await self._start_services()
        except BaseException:
            http.close()
            raise
        self.server: HttpServer = http_server(Mounted(self.runtimes, self.viewer), self.runtimes[0].settings)
        self.serving = asyncio.create_task(self.server.serve([http]))
        while not self.server.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)

    async def _start_services(self) -> None:
        await asyncio.to_thread(self.folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        self.keys = Keys(self.folder / "keys")
        await asyncio.to_thread(self.keys.ensure)
        self.bus = MemoryBus(self.folder / "dead-letters")
        await expect_readers(self.bus)
        self.runtimes = [Runtime(each, self._settings(each), bus=self.bus) for each in (*SERVICES, BOARD)]
        for runtime in reversed(self.runtimes):  # listeners before those who speak to them
            await runtime.start()

    def _settings(self, service: Service) -> Any:
        """The service's settings under this folder; names that it does not have are left out."""
        folder, secret = self.folder.absolute(), self.keys.secret
        wanted: dict[str, Any] = {
            "bus_url": "memory://",
            "documents_url": f"sqlite:///{folder / service.name}.db",
            "blobs_url": f"file:///{folder / 'deidentified'}",
            "originals_url": f"file:///{folder / 'originals'}",
            "http_host": self.http_host,
            "http_port": self.http_port,
            "auth_jwks": str(self.keys.jwks),
            "auth_issuer": ISSUER,
            "auth_audience": AUDIENCE,
            "api_keys_file": self.keys.api_keys,
            "spool": folder / "spool",
            "spool_spare_segments": 0,
            "dicom_host": self.http_host,
            "dicom_port": self.dicom_port,
            "identity_key": secret("identity_key"),
            "tenant_secret": secret("tenant_secret"),
            "vault_key": secret("vault_key"),
            "viewer_key": secret("viewer_key"),
            "custody_key": secret("custody_key"),
            "vault_url": f"http://{self.http_host}:{self.http_port}",
            "vault_api_key": secret("vault_api_key"),
            **self.settings,
        }
        known = service.settings.model_fields
        return service.settings(**{name: value for name, value in wanted.items() if name in known})

    async def failed(self) -> str:
        """Wait until a service stops by itself; returns its name."""
        waits = {asyncio.create_task(runtime.failed.wait()): runtime for runtime in self.runtimes}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return waits[done.pop()].service.name
        finally:
            for wait in waits:
                wait.cancel()

    async def stop(self) -> None:
        """Drain in pipeline order, then let go."""
        await self.bus.drain()
        self.server.should_exit = True
        await self.serving
        for runtime in self.runtimes:
            await runtime.stop()
        await self.bus.close()


def listener(host: str, port: int) -> socket.socket:
    """A listening socket; raises `RadRelayError` if there cannot be one."""
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited; else answers wait 40 ms
        return listening
    except OSError as error:
        why = f"{host}:{port} cannot be listened on ({os.strerror(error.errno or 0)})"
        raise RadRelayError(f"{why}; is RadRelay running already? Other ports: --http-port, --dicom-port") from error


class Mounted:
    """Sends each request to the service whose path it begins with; nothing is stripped."""

    def __init__(self, runtimes: list[Runtime], viewer: Path | None = None) -> None:
        self.runtimes = runtimes
        self.routes: dict[str, ASGIApp] = {}
        for runtime in runtimes:
            name = runtime.service.name
            for path in (*runtime.service.paths, f"/ops/{name}", f"/openapi/{name}.json"):
                self.routes[path] = runtime.app
        if viewer is not None and viewer.is_dir():
            self.routes[VIEWER] = viewer_app(viewer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path in ("/livez", "/readyz"):
            await (await self._health(path))(scope, receive, send)
            return
        matching = [prefix for prefix in self.routes if path == prefix or path.startswith(f"{prefix}/")]
        if matching:
            await self.routes[max(matching, key=len)](scope, receive, send)
            return
        await problem(NotFound("no service answers under this path"))(scope, receive, send)

    async def _health(self, path: str) -> JSONResponse:
        try:
            if path == "/readyz":
                await asyncio.gather(*(runtime.healthy() for runtime in self.runtimes))
        except RadRelayError as error:
            return problem(error)
        except TimeoutError:
            return problem(Unreachable("a part of it does not answer in time"))
        return JSONResponse({"status": "ready" if path == "/readyz" else "alive"})
