"""RadRelay in its two shapes with every line tapped: what it says, sends, keeps and answers, as raw bytes."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import bson
from aio_pika.abc import AbstractIncomingMessage
from aiohttp import web
from pymongo import MongoClient
from standardwebhooks import Webhook

from canary.patients import Thing
from fleet import Backbone, Bucket, Fleet, Installation, backbone
from radrelay.platform import Platform
from radrelay_shared.adapters.s3 import S3Blobs
from radrelay_shared.events import EVENTS
from radrelay_shared.ports import Ack, Delivery, Verdict
from radrelay_shared.telemetry import log_to_stderr
from servers import free_ports

LOOPBACK = "127.0.0.0/8"
BODY_LIMIT = 64 << 20
IDENTIFIED = ("ingest", "anonymize")  # services whose databases may hold identity
GZIP = b"\x1f\x8b"

# What an all-in-one keeps, by the beginning of the name; whatever is not here makes the test fail.
KEPT_BY_ALL_IN_ONE = {
    "originals": "originals",
    "deidentified": "blobs",
    "dead-letters": "dead letters",
    "stderr.log": "logs",
    "keys": None,
    "spool": None,
    **{f"{name}.db": None for name in IDENTIFIED},
    **{f"{name}.db": "documents" for name in ("storage", "triage", "assignment", "reporting", "notification", "board")},
}


@dataclass
class Evidence:
    """Everything that was seen, by the place where it was seen."""

    places: dict[str, list[Thing]] = field(default_factory=lambda: defaultdict(list))

    def add(self, place: str, name: str, content: bytes) -> None:
        self.places[place].append(Thing(f"{place}: {name}", content))
        if content.startswith(GZIP):
            self.places[place].append(Thing(f"{place}: {name}, unpacked", gzip.decompress(content)))


@dataclass
class Listener:
    """The hospitals' receivers, and the collector of traces and metrics (OTLP over HTTP)."""

    evidence: Evidence
    secrets: dict[str, str] = field(default_factory=dict)  # of webhooks, by site
    received: list[tuple[str, str]] = field(default_factory=list)  # (site, type of webhook)

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[str]:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_post("/v1/{signal}", self.collect)
        app.router.add_post("/hooks/{site}", self.receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()

    async def collect(self, request: web.Request) -> web.Response:
        self.evidence.add("telemetry", request.match_info["signal"], await request.read())
        return web.Response()

    async def receive(self, request: web.Request) -> web.Response:
        site, body = request.match_info["site"], await request.read()
        self.evidence.add("addresses", "webhook", f"{request.raw_path} {dict(request.headers)}".encode())
        payload = Webhook(self.secrets[site]).verify(body, {k.lower(): v for k, v in request.headers.items()})
        self.evidence.add(f"webhooks of {site}", payload["type"], body)
        self.received.append((site, payload["type"]))
        return web.Response(status=204)


def settings(collector: str) -> dict[str, Any]:
    return {"webhook_allow_networks": [LOOPBACK], "sweep_seconds": 0.1, "otlp_endpoint": collector}


@asynccontextmanager
async def all_in_one(folder: Path, evidence: Evidence, collector: str) -> AsyncIterator[Installation]:
    async def observe(delivery: Delivery) -> Verdict:
        message = delivery.message
        evidence.add("events", message.type, f"{message.id} {dict(message.headers)} ".encode() + message.body)
        return Ack()

    http_port, dicom_port = free_ports(2)
    with said_into(folder / "stderr.log"):
        platform = Platform(folder, http_port=http_port, dicom_port=dicom_port, settings=settings(collector))
        await platform.start()
        await platform.bus.subscribe("observer", list(EVENTS), observe)
        yield Installation(f"http://127.0.0.1:{http_port}", dicom_port, platform.keys)
        await platform.stop()
    read_folder(folder, evidence)


def read_folder(folder: Path, evidence: Evidence) -> None:
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        name = str(path.relative_to(folder))
        places = [place for start, place in KEPT_BY_ALL_IN_ONE.items() if name.startswith(start)]
        assert places, f"the all-in-one keeps {name}, and this test does not know whether identity may be in it"
        if places[0]:
            evidence.add(places[0], name, path.read_bytes())


@contextmanager
def said_into(file: Path) -> Iterator[None]:
    """Everything this process says on standard error, logs at their most talkative, as `radrelay up` writes it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # pytest's own; they come back
    with file.open("w") as log, redirect_stderr(log):
        log_to_stderr("DEBUG")
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            logging.captureWarnings(capture=False)


@asynccontextmanager
async def seven_processes(folder: Path, evidence: Evidence, collector: str) -> AsyncIterator[Installation]:
    told = {name: str(value).replace("'", '"') for name, value in settings(collector).items()}
    with backbone(folder) as servers:
        fleet = Fleet(folder / "fleet", servers.backends, {**told, "log_level": "DEBUG"})
        try:
            await asyncio.to_thread(fleet.start)
            async with tapped(servers.backends.bus_url, evidence):
                yield fleet.installation
            await asyncio.to_thread(fleet.stop)
        finally:
            fleet.discard()
        for name in fleet.processes:
            evidence.add("logs", name, fleet.logs(name).encode())
        await read_backbone(servers, evidence)
        await asyncio.to_thread(servers.rabbitmq.kill)  # or files would go while they are read
        read_broker(servers, evidence)


@asynccontextmanager
async def tapped(bus_url: str, evidence: Evidence) -> AsyncIterator[None]:
    """A queue of our own that gets every event."""

    async def observe(message: AbstractIncomingMessage) -> None:
        envelope = f"{message.routing_key} {message.info()} ".encode()
        evidence.add("events", str(message.routing_key), envelope + message.body)

    async with await aio_pika.connect(bus_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind("radrelay.events", "#")
        await queue.consume(observe, no_ack=True)
        yield


async def read_backbone(servers: Backbone, evidence: Evidence) -> None:
    """What the servers keep: objects and documents."""
    for place, bucket in (("blobs", servers.backends.blobs), ("originals", servers.backends.originals)):
        await read_bucket(bucket, place, evidence)
    await asyncio.to_thread(read_documents, servers.secantusdb.url, evidence)


def read_broker(servers: Backbone, evidence: Evidence) -> None:
    for path in servers.rabbitmq.folder.rglob("*"):
        if path.is_file():
            evidence.add("broker", path.name, path.read_bytes())


async def read_bucket(bucket: Bucket, place: str, evidence: Evidence) -> None:
    blobs = S3Blobs(bucket.url, bucket.access_key, bucket.secret_key)
    async for info in blobs.list():
        evidence.add(place, info.key, await blobs.read(info.key))
    await blobs.close()


def read_documents(url: str, evidence: Evidence) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(url, serverSelectionTimeoutMS=10_000)
    with client:
        for database in set(client.list_database_names()) - {*IDENTIFIED, "admin", "config", "local"}:
            for collection in client[database].list_collection_names():
                for document in client[database][collection].find():
                    evidence.add("documents", f"{database}.{collection}", bson.encode(document))
