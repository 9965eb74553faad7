"""A RadRelay in one process with two clinics, a radiologist and a spool on a disk of its own that can be full."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from canary.scenario import RADIOLOGIST
from canary.wiretap import LOOPBACK, Evidence, Listener
from radrelay_ingest.context import IngestContext
from servers import free_ports

from radrelay.keys import Keys
from radrelay.platform import Platform
from radrelay.reading import read_next
from radrelay.register import register
from radrelay.samples import Sample
from radrelay_shared.security import Role

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


@dataclass
class Relay:
    """RadRelay from outside, and what its two clinics' receivers got."""

    platform: Platform
    listener: Listener
    http: httpx2.AsyncClient
    disk: Disk
    hooks: dict[str, str] = field(default_factory=dict)  # endpoint ids by site

    @property
    def received(self) -> list[tuple[str, str]]:
        return self.listener.received

    def token(self, role: Role, *sites: str) -> str:
        subject = "dr-day" if role is Role.RADIOLOGIST else f"the-{role}"
        return self.platform.keys.token(subject, {role}, set(sites or ("*",)), timedelta(minutes=10))

    async def ask(self, method: str, path: str, role: Role, *sites: str, **request: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token(role, *sites)}"} | request.pop("headers", {})
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
        answer = await self.ask("POST", "/ingest/fhir", Role.SITE, sample.site, json=sample.order())
        assert answer.status_code == 202, answer.text
        return str(answer.json()["order"])

    async def until(self, site: str, kind: str, count: int = 1, patience: float = 20) -> None:
        """A radiologist reads whatever is offered until the clinic got so many webhooks of this kind."""
        client = self.reader
        async with asyncio.timeout(patience):
            while self.received.count((site, kind)) < count:
                if await read_next("dr-day", client) is None:
                    await asyncio.sleep(0.05)

    @property
    def reader(self) -> Any:
        from radrelay.client import Client

        return Client(str(self.http.base_url).rstrip("/"), self.token(Role.RADIOLOGIST))

    def bodies(self, site: str) -> list[bytes]:
        return [thing.content for thing in self.listener.evidence.places[f"webhooks of {site}"]]

    async def ingested(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.get("/ingest/studies?limit=1000")
        return found


@dataclass
class Disk:
    """Where the spool is: a real disk of 16 MiB if this user may mount one, else a folder with a reserve."""

    folder: Path
    real: bool
    relay: Relay | None = None

    def fill(self, context: IngestContext) -> None:
        """Leave less room than an ultrasound needs."""
        if self.real:
            free = shutil.disk_usage(self.folder).free
            with (self.folder / "ballast").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, free - LEFT_BYTES)
        else:
            context.spool.reserve_bytes = 1 << 60

    def clear(self, context: IngestContext) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)
        context.spool.reserve_bytes = RESERVE_BYTES


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
