"""The seven services as seven processes, told what to do as in production: by RADRELAY_ variables and secret files."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2
import pytest

from radrelay.client import Client
from radrelay.keys import AUDIENCE, ISSUER, Keys
from radrelay.services import SERVICES
from radrelay_shared.adapters.s3 import S3Blobs
from radrelay_shared.security import Role
from servers import Missing, Server, free_ports
from servers.rabbitmq import RabbitMQ
from servers.seaweedfs import SeaweedFS
from servers.secantusdb import SecantusDB

NAMES = tuple(service.name for service in SERVICES)
# What each service is given of the platform's secrets, and which buckets; nothing else.
SECRETS = {
    "ingest": ("identity_key",),
    "anonymize": ("tenant_secret", "vault_key"),
    "storage": ("custody_key", "viewer_key"),
    "notification": ("vault_api_key",),
}
BUCKETS = {
    "ingest": ("originals",),
    "anonymize": ("blobs", "originals"),
    "storage": ("blobs",),
    "reporting": ("blobs",),
    "notification": ("blobs",),
}
DRAIN_SECONDS = 60.0  # what the services are told; they drain twice (bus, outbox) and then close


@dataclass(frozen=True)
class Bucket:
    url: str
    access_key: str = ""
    secret_key: str = ""


@dataclass(frozen=True)
class Backends:
    """What the services stand on; `documents` holds `{service}`, for each has a database of its own."""

    bus_url: str
    documents: str
    blobs: Bucket
    originals: Bucket

    @classmethod
    def on_files(cls, bus_url: str, folder: Path) -> Backends:
        """SQLite and plain files, for what is measured rather than proven."""
        documents = f"sqlite:///{folder}/{{service}}.db"
        return cls(bus_url, documents, *(Bucket(f"file:///{folder}/{name}") for name in ("deidentified", "originals")))


class Backbone:
    """RabbitMQ, SecantusDB and SeaweedFS of one's own, to break them without breaking other tests."""

    def __init__(self, folder: Path) -> None:
        """Raises `Missing` if one of them is not installed."""
        self.rabbitmq = RabbitMQ(folder / "rabbitmq")
        self.secantusdb = SecantusDB(folder / "secantusdb")
        self.seaweedfs = SeaweedFS(folder / "seaweedfs")
        self.servers: tuple[Server, ...] = (self.rabbitmq, self.secantusdb, self.seaweedfs)
        # Two zones, two keys: neither opens the other's bucket.
        self.keys = {name: self.seaweedfs.identity(name, [name]) for name in ("deidentified", "originals")}

    def start(self) -> None:
        """Start all three side by side, and make the buckets with object lock, as in production."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.start(), (self.rabbitmq, self.secantusdb, self.seaweedfs)))
        with ThreadPoolExecutor(1) as pool:  # the caller may be in an event loop
            pool.submit(asyncio.run, self._make_buckets()).result()

    async def _make_buckets(self) -> None:
        for name in self.keys:
            admin = S3Blobs(self.seaweedfs.url(name), self.seaweedfs.access_key, self.seaweedfs.secret_key)
            await admin.ensure_bucket(lock=True)
            await admin.close()

    @property
    def backends(self) -> Backends:
        blobs, originals = (Bucket(self.seaweedfs.url(name), *keys) for name, keys in self.keys.items())
        return Backends(self.rabbitmq.url, f"{self.secantusdb.url}/{{service}}", blobs, originals)

    def stop(self) -> None:
        for server in reversed(self.servers):
            server.stop()


@contextmanager
def backbone(folder: Path) -> Iterator[Backbone]:
    """It runs; where a server is not installed, the test is skipped, and fails under CI."""
    try:
        servers = Backbone(folder)
    except Missing as missing:
        ask = f"{missing} (`make test` as root installs it)"
        raise (pytest.fail.Exception(ask) if os.environ.get("CI") else pytest.skip.Exception(ask)) from missing
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@dataclass(frozen=True)
class Installation:
    """A RadRelay that is up, from outside."""

    base: str | Mapping[str, str]
    dicom_port: int
    keys: Keys

    def client(self, subject: str, role: Role, *sites: str) -> Client:
        return Client(self.base, self.keys.token(subject, {role}, set(sites or ("*",))))


class Fleet:
    """Seven processes on loopback; each keeps its ports, its folder and its log over `kill` and `restart`."""

    def __init__(self, folder: Path, backends: Backends, settings: Mapping[str, str] | None = None) -> None:
        """`settings`: further RADRELAY_ variables, without the prefix, for every service."""
        self.folder, self.backends, self.settings = folder, backends, settings or {}
        self.keys = Keys(folder / "keys")
        self.keys.ensure()
        *ports, self.dicom_port = free_ports(len(NAMES) + 1)
        self.ports = dict(zip(NAMES, ports, strict=True))
        self.processes = {name: Server(name, folder / name) for name in NAMES}
        self.down = set(NAMES)  # taken down by us
        for name in NAMES:
            self._write_secrets(name)

    @property
    def urls(self) -> dict[str, str]:
        """Path prefix → address, as `radrelay.client.Client` takes it in place of an ingress."""
        return {
            prefix: self.address(service.name)
            for service in SERVICES
            for prefix in (*service.paths, f"/ops/{service.name}", f"/openapi/{service.name}.json")
        }

    @property
    def installation(self) -> Installation:
        return Installation(self.urls, self.dicom_port, self.keys)

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def start(self) -> None:
        """Return once all seven are ready; about 10 s on two cores, most of it Python's imports."""
        for name in NAMES:
            self.restart(name)
        self.wait_ready()

    def stop(self) -> None:
        """End all that run; every one must drain and end well."""
        running = [name for name in NAMES if name not in self.down]
        with ThreadPoolExecutor(len(NAMES)) as pool:
            list(pool.map(self.terminate, running))

    def terminate(self, name: str) -> float:
        """SIGTERM: returns how many seconds it took to end with status 0; fails with its log if it did not."""
        process, started = self._process(name), time.monotonic()
        self.down.add(name)
        process.send_signal(signal.SIGTERM)
        try:
            status: int | None = process.wait(2 * DRAIN_SECONDS + 5)
        except subprocess.TimeoutExpired:
            status = None
        assert status == 0, f"{name} ended with {status} after SIGTERM; its log ends:\n{self.logs(name)[-3000:]}"
        return time.monotonic() - started

    def kill(self, name: str) -> None:
        """SIGKILL: not a word of goodbye."""
        self.check()
        self.down.add(name)
        self.processes[name].kill()

    def restart(self, name: str) -> None:
        """Start it, or start it again; `wait_ready` waits for it."""
        scripts = Path(sysconfig.get_path("scripts"))
        self.processes[name].spawn([str(scripts / f"radrelay-{name}")], self._environment(name))
        self.down.discard(name)

    def wait_ready(self, names: Iterable[str] = NAMES) -> None:
        for name in names:
            self.processes[name].wait_until(partial(self._is_ready, name))

    def check(self) -> None:
        """Fail with its log if a service ended by itself."""
        for name in NAMES:
            assert name in self.down or self._process(name).poll() is None, (
                f"{name} ended by itself; its log ends:\n{self.logs(name)[-3000:]}"
            )

    def logs(self, name: str) -> str:
        """All that the service has said since the fleet was made."""
        return self.processes[name].log.read_text(errors="replace")

    def discard(self) -> None:
        """Leave no process behind, whatever happened."""
        for process in self.processes.values():
            process.kill()

    def _process(self, name: str) -> subprocess.Popen[bytes]:
        process = self.processes[name].process
        assert process is not None, f"{name} was never started"
        return process

    def _is_ready(self, name: str) -> bool:
        try:
            return httpx2.get(f"{self.address(name)}/readyz", timeout=60, trust_env=False).is_success
        except httpx2.TransportError:
            return False

    def _environment(self, name: str) -> dict[str, str]:
        buckets = {f"{each}_url": getattr(self.backends, each).url for each in BUCKETS.get(name, ())}
        values = {
            "secrets_dir": str(self._secrets(name)),
            "documents_url": self.backends.documents.format(service=name),
            "http_port": str(self.ports[name]),
            "auth_jwks": str(self.keys.jwks),
            "auth_issuer": ISSUER,
            "auth_audience": AUDIENCE,
            "api_keys_file": str(self.keys.api_keys),
            "drain_seconds": str(DRAIN_SECONDS),
            "spool": str(self.folder / name / "spool"),
            "spool_spare_segments": "0",
            "dicom_host": "127.0.0.1",
            "dicom_port": str(self.dicom_port),
            "vault_url": self.address("anonymize"),
            **buckets,
            **self.settings,
        }
        return {f"RADRELAY_{key.upper()}": value for key, value in values.items()}

    def _secrets(self, name: str) -> Path:
        return self.folder / name / "secrets"

    def _write_secrets(self, name: str) -> None:
        """One file per secret, named after its setting: also the bus's URL, for a password is in it."""
        values = {secret: self.keys.secret(secret) for secret in SECRETS.get(name, ())}
        values["bus_url"] = self.backends.bus_url
        for which in BUCKETS.get(name, ()):
            bucket: Bucket = getattr(self.backends, which)
            values |= {f"{which}_access_key": bucket.access_key, f"{which}_secret_key": bucket.secret_key}
        folder = self._secrets(name)
        folder.mkdir(mode=0o700, parents=True)
        for secret, value in values.items():
            with os.fdopen(os.open(folder / secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                file.write(value)
