"""The DICOMweb servers that the storage benchmark compares, each one process, and how they are asked."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.orthanc import BENCH, COMMAND, ENVIRONMENT, PLUGIN
from benchmarks.storage_input import CT_300, CT_1000, Ct, encoded, one_small_file, one_study, put, store_ct
from benchmarks.yardsticks import peak_kib
from radrelay_shared.adapters.s3 import S3Blobs
from radrelay_shared.security import Role
from radrelay_shared.testing import api_keys_file, embedded, running
from radrelay_storage.domain import Study
from radrelay_storage.main import SERVICE
from servers import Server as ServerProcess
from servers import free_ports
from servers.seaweedfs import SeaweedFS

DICOMWEB_METADATA = 4301  # what the plug-in calls the attachment in which it keeps a series' metadata
SITES = {"clinic-a", "clinic-b", "clinic-c"}  # three of four
BUCKET = "radrelay-deidentified"
STUDIES = 20_000
ZIPPED = 500  # small files in one upload


@dataclass
class Server:
    """A system under test: where it answers, how it is asked, and which process it is."""

    name: str
    port: int
    headers: dict[str, str]
    process: ServerProcess

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def get(self, connection: http.client.HTTPConnection, path: str, **headers: str) -> int:
        """The answer's size in bytes; fails unless it is 200."""
        connection.request("GET", f"/dicom-web{path}", headers=self.headers | headers)
        answer = connection.getresponse()
        size = 0
        while piece := answer.read(1 << 20):
            size += len(piece)
        assert answer.status == 200, (self.name, path, answer.status)
        return size

    def peak_mb(self) -> float:
        assert self.process.process is not None
        return peak_kib(self.process.process.pid) / 1024

    def forget(self, ct: Ct) -> None:
        """Make the series' metadata new to it, as it is when a study is opened for the first time."""


@contextmanager
def process(name: str, folder: Path, command: Sequence[str], environment: dict[str, str], port: int) -> Iterator[Any]:
    """The command's process, once something answers on the port."""
    child = ServerProcess(name, folder)
    child.spawn(command, environment)
    try:
        child.wait_until(lambda: answers(port))
        yield child
    finally:
        child.stop()


def answers(port: int) -> bool:
    try:
        http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
    except OSError:
        return False
    return True


# ── RadRelay: documents on SQLite, packs on S3, and a cache on the local disk ────────────────────────


class RadRelay:
    """Storage in a process of its own, as often as it is started; what it keeps stays."""

    def __init__(self, folder: Path, store: SeaweedFS) -> None:
        folder.mkdir()
        self.folder, self.store = folder, store
        self.settings: dict[str, Any] = embedded(SERVICE, folder) | {
            "blobs_url": self.store.url(BUCKET),
            "blobs_access_key": self.store.access_key,
            "blobs_secret_key": self.store.secret_key,
        }
        self.secret = api_keys_file(folder / "api-keys.yaml", viewer=({Role.ASSISTANT}, SITES))["viewer"]

    def fill(self) -> None:
        asyncio.run(self._fill())

    async def _fill(self) -> None:
        blobs = S3Blobs(self.store.url(BUCKET), self.store.access_key, self.store.secret_key)
        await blobs.ensure_bucket()
        await blobs.close()
        async with running(SERVICE, self.folder, **self.settings) as (runtime, _):
            for ct in (CT_300, CT_1000):
                await store_ct(runtime, ct)

    def add_studies(self, numbers: range) -> None:
        asyncio.run(self._add_studies(numbers))

    async def _add_studies(self, numbers: range) -> None:
        async with running(SERVICE, self.folder, **self.settings) as (runtime, _):
            for start in range(numbers.start, numbers.stop, 500):
                many = map(one_study, range(start, min(start + 500, numbers.stop)))
                await asyncio.gather(*(runtime.context.store.change(Study, each.study, put(each)) for each in many))

    @contextmanager
    def serving(self) -> Iterator[Server]:
        """With an empty cache."""
        (port,) = free_ports(1)
        shutil.rmtree(self.folder / "packs", ignore_errors=True)
        settings = self.settings | {"http_port": port, "pack_cache": self.folder / "packs"}
        environment = {f"RADRELAY_{name.upper()}": str(value) for name, value in settings.items()}
        environment["PYTHONDONTWRITEBYTECODE"] = ""  # what is installed has its byte code
        command = [sys.executable, "-c", "from radrelay_storage.main import main; main()"]
        with process("radrelay", self.folder, command, environment, port) as child:
            yield Server("radrelay", port, {"Authorization": f"Bearer {self.secret}"}, child)


# ── Orthanc: its own defaults, on the local disk ─────────────────────────────────────────────────────


class OrthancServer(Server):
    def forget(self, ct: Ct) -> None:
        connection = self.connect()
        connection.request("POST", "/tools/lookup", ct.series)
        (found,) = json.loads(connection.getresponse().read())
        connection.request("DELETE", f"{found['Path']}/attachments/{DICOMWEB_METADATA}")
        connection.getresponse().read()


@contextmanager
def orthanc(filled: str, bodies: Callable[[], Iterable[bytes]]) -> Iterator[Server]:
    """On a folder that whichever run comes first fills; 20,000 studies take it some minutes."""
    folder = BENCH / f"orthanc-with-{filled}"
    if not (folder / "filled").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with running_orthanc(folder, {"SyncStorageArea": False}) as server:
            upload(server, bodies())
        (folder / "filled").touch()
    with running_orthanc(folder, {}) as server:
        yield server


def slices() -> Iterator[bytes]:
    return map(encoded, chain(CT_300.images(), CT_1000.images()))


def small_studies() -> Iterator[bytes]:
    return zipped(map(one_small_file, range(STUDIES)))


@contextmanager
def running_orthanc(folder: Path, more: dict[str, Any]) -> Iterator[OrthancServer]:
    port, dicom = free_ports(2)
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": port,
        "DicomPort": dicom,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings | more))
    with process("orthanc", folder, [*COMMAND, str(folder / "orthanc.json")], ENVIRONMENT, port) as child:
        server = OrthancServer("orthanc", port, {}, child)
        connection = server.connect()
        connection.request("GET", "/system")
        server.name = f"orthanc {json.loads(connection.getresponse().read())['Version']}"
        yield server


def zipped(files: Iterable[bytes]) -> Iterator[bytes]:
    """The files, some hundreds in each archive."""
    source = iter(files)
    while many := [each for _, each in zip(range(ZIPPED), source, strict=False)]:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for number, each in enumerate(many):
                archive.writestr(f"{number}.dcm", each)
        yield out.getvalue()


def upload(server: Server, bodies: Iterable[bytes]) -> None:
    def send(body: bytes) -> None:
        connection = server.connect()
        connection.request("POST", "/instances", body)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200

    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(send, body) for body in bodies]
        for each in waiting:
            each.result()
