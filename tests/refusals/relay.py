"""A RadRelay in one process with two clinics, a radiologist, and a spool on a small disk of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from canary.scenario import RADIOLOGIST
from canary.wiretap import LOOPBACK, Evidence, Listener
from radrelay.client import Client
from radrelay.keys import Keys
from radrelay.platform import Platform
from radrelay.reading import read_next
from radrelay.register import register
from radrelay.samples import Sample
from radrelay_ingest.context import IngestContext
from radrelay_shared.security import Role
from radrelay_shared.testing import PATIENCE_SECONDS, until
from servers import free_ports

PRAIRIE, SAGEBRUSH = "prairie", "sagebrush"
SITES = {
    name: {
        "name": f"{name} clinic",
        "jurisdiction": "US-MT",
        "ae_titles": [name.upper()],
        "quiet_seconds": 0.3,
        "stat_quiet_seconds": 0.2,
    }
    for name in (PRAIRIE, SAGEBRUSH)
}
DISK_BYTES, RESERVE_BYTES, LEFT_BYTES = 16 << 20, 64 << 10, 128 << 10
RETRY_SCALE = 0.02  # the second attempt of a webhook after 0.1 s


@dataclass
class Relay:
    """RadRelay from outside, and what its two clinics' receivers got."""

    platform: Platform
    listener: Listener
    http: httpx2.AsyncClient
    disk: Disk

    @property
    def keys(self) -> Keys:
        return self.platform.keys

    @property
    def ingest(self) -> IngestContext:
        found = self.platform.runtimes[0].context
        assert isinstance(found, IngestContext)
        return found

    def client(self, role: Role, *sites: str) -> Client:
        subject = "dr-day" if role is Role.RADIOLOGIST else f"the-{role}"
        return Client(str(self.http.base_url).rstrip("/"), self.keys.token(subject, {role}, set(sites or ("*",))))

    async def ask(self, method: str, path: str, role: Role, *sites: str, **request: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.client(role, *sites).token}"} | request.pop("headers", {})
        return await self.http.request(method, path, headers=headers, **request)

    async def get(self, path: str, role: Role = Role.OPERATOR, *sites: str) -> Any:
        answer = await self.ask("GET", path, role, *sites)
        assert answer.is_success, answer.text
        return answer.json()

    async def stow(self, site: str, *files: bytes) -> httpx2.Response:
        """STOW-RS as the site's machine."""
        parts = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files)
        headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
        path = "/ingest/dicom-web/studies"
        return await self.ask("POST", path, Role.SITE, site, content=parts + b"--b--\r\n", headers=headers)

    async def order(self, sample: Sample) -> str:
        """Its key."""
        answer = await self.ask("POST", "/ingest/fhir", Role.SITE, sample.site, json=sample.order())
        assert answer.status_code == 202, answer.text
        return str(answer.json()["order"])

    async def hear(self, site: str, kind: str, accession: str) -> dict[str, Any]:
        """A radiologist reads whatever is offered until the clinic got the webhook of this kind about this order."""
        reader, wanted = self.client(Role.RADIOLOGIST), (f'"{kind}"'.encode(), f'"{accession}"'.encode())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for body in self.bodies(site):
                    if all(word in body for word in wanted):
                        return dict(json.loads(body)["data"])
                if await read_next("dr-day", reader) is None:
                    await asyncio.sleep(0.05)

    def bodies(self, site: str) -> list[bytes]:
        """What the clinic's receiver got."""
        return [thing.content for thing in self.listener.evidence.places[f"webhooks of {site}"]]

    async def ingested(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.get("/ingest/studies?limit=1000")
        return found

    async def is_ready(self) -> bool:
        return (await self.http.get("/readyz")).is_success

    async def at_rest(self) -> None:
        """Return once every study is sealed and the spool needs none of its disk."""
        await until(lambda: asyncio.to_thread(self._spool_is_empty))

    def _spool_is_empty(self) -> bool:
        spool = self.ingest.spool
        with spool.segments.changing:  # or a segment would be given back just now
            return not (spool.waiting() or spool.claimed() or any(spool.segments.holding.values()))


@dataclass
class Disk:
    """The spool's: of 16 MiB if this user may mount one, else it is full when its reserve says so."""

    folder: Path
    real: bool

    def fill(self, context: IngestContext) -> None:
        """Leave less room than one ultrasound needs."""
        if self.real:
            free = shutil.disk_usage(self.folder).free
            with (self.folder / "ballast").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, free - LEFT_BYTES)
        else:
            context.spool.room.reserve = 1 << 60

    def clear(self, context: IngestContext) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)
        context.spool.room.reserve = RESERVE_BYTES


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    real = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield Disk(folder, real)
    finally:
        if real:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Relay]:
    """Up, with everybody registered."""
    http_port, dicom_port = free_ports(2)
    listener = Listener(Evidence())
    with small_disk(folder / "disk") as disk:
        settings = {
            "webhook_allow_networks": [LOOPBACK],
            "sweep_seconds": 0.1,
            "retry_scale": RETRY_SCALE,
            "spool": disk.folder / "spool",
            "spool_reserve_bytes": RESERVE_BYTES,
            "spool_resume_bytes": RESERVE_BYTES,
        }
        platform = Platform(folder / "data", http_port=http_port, dicom_port=dicom_port, settings=settings)
        base = f"http://127.0.0.1:{http_port}"
        async with (
            listener.listening() as hooks,
            httpx2.AsyncClient(base_url=base, timeout=60, trust_env=False) as http,
        ):
            await platform.start()
            relay = Relay(platform, listener, http, disk)
            webhooks = {site: {"url": f"{hooks}/hooks/{site}"} for site in SITES}
            tables: dict[str, dict[str, Any]] = {
                "sites": SITES,
                "radiologists": {"dr-day": RADIOLOGIST | {"sites": list(SITES)}},
            }
            operator = relay.client(Role.OPERATOR)
            listener.secrets |= await register({**tables, "webhooks": webhooks}, operator)
            yield relay
            await platform.stop()
