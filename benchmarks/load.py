"""What the clinics and radiologists of the flow benchmark do, as cheaply as they can: the cores are RadRelay's."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
from aiohttp import web

from fleet import Installation
from radrelay.client import Client
from radrelay.samples import Sample
from radrelay_shared.security import Role

QUIET_SECONDS, STAT_QUIET_SECONDS = 1.0, 0.5
INSTANCES = 3  # per study, 39 KB each
SENDERS = 2  # associations, and as many STOW-RS connections
IDLE_SECONDS = 0.2  # a radiologist without work asks again
NOT_NOW_SECONDS = 0.02  # reporting hears of a claim a moment after it was made
NO_CONTENT, NOT_NOW = 204, 503

SITES = {"north": "dimse", "south": "stow"}
RADIOLOGISTS = ("dr-one", "dr-two", "dr-three", "dr-four")
AE_TITLE = "NORTH_CT"


@dataclass(frozen=True)
class Case:
    """A study as files that are ready to be sent, and its order."""

    site: str
    accession: str
    study_instance_uid: str
    files: tuple[Path, ...]
    order: Mapping[str, Any]


def make_cases(folder: Path, label: str, count: int, priority: str = "routine") -> list[Case]:
    """Small CT studies of as many patients, every other one of each site."""
    return [make_case(folder, f"{label}-{number:04d}", list(SITES)[number % 2], priority) for number in range(count)]


def make_case(folder: Path, accession: str, site: str, priority: str) -> Case:
    sample = Sample(site, AE_TITLE, f"Doe^{accession}", accession, "19700101", "F", accession, priority,
                    "30799-1", "CT head", "CT", ("CT_small.dcm",) * INSTANCES, SITES[site])  # fmt: skip
    files, uid = [], ""
    for number, dataset in enumerate(sample.datasets()):
        uid = str(dataset.StudyInstanceUID)
        files.append(folder / f"{accession}-{number}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return Case(site, accession, uid, tuple(files), sample.order())


@dataclass
class Hospital:
    """The webhook receiver of both sites: when each accession number came back, and how often."""

    arrived: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def take(self, request: web.Request) -> web.Response:
        payload = await request.json()
        self.arrived[payload["data"]["basedOn"][0]["identifier"]["value"]].append(time.monotonic())
        return web.Response(status=NO_CONTENT)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Listen; yields the address."""
        app = web.Application()
        app.router.add_post("/{site}", self.take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def register(relay: Installation, hospital: str) -> None:
    """Two sites, a webhook endpoint each, and radiologists who may read everything, around the clock."""
    operator = relay.client("bench-operator", Role.OPERATOR)
    quiet = {"quiet_seconds": QUIET_SECONDS, "stat_quiet_seconds": STAT_QUIET_SECONDS}
    always = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "00:00", "to": "00:00"}
    for site, over in SITES.items():
        titles = [AE_TITLE] if over == "dimse" else []
        facts = {"name": site, "jurisdiction": "US-MT", "ae_titles": titles, **quiet}
        await operator.call("PUT", f"/ingest/sites/{site}", json=facts)
        await operator.call("POST", "/webhooks/endpoints", json={"site": site, "url": f"{hospital}/{site}"})
    for name in RADIOLOGISTS:
        skills = ["neuro", "chest", "body", "msk", "cardiac", "general"]
        facts = {"name": name, "licences": ["US-MT"], "subspecialties": skills, "time_zone": "UTC", "shifts": [always]}
        await operator.call("PUT", f"/radiologists/{name}", json=facts)


class Caller:
    """One caller's kept-alive connections; "not now" is asked again."""

    def __init__(self, session: aiohttp.ClientSession, client: Client) -> None:
        self.session, self.client = session, client

    async def call(self, method: str, path: str, **request: Any) -> Any:
        """JSON, bytes of anything else, None for 204; raises what is no success."""
        while True:
            async with self.session.request(method, self.client.url(path), **request) as answer:
                if answer.status == NO_CONTENT:
                    return None
                if answer.status != NOT_NOW:
                    answer.raise_for_status()
                    return await answer.json() if "json" in answer.content_type else await answer.read()
            await asyncio.sleep(NOT_NOW_SECONDS)


@asynccontextmanager
async def calling(relay: Installation, subject: str, role: Role, *sites: str) -> AsyncIterator[Caller]:
    client = relay.client(subject, role, *sites)
    headers = {"Authorization": f"Bearer {client.token}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(60)) as session:
        yield Caller(session, client)


async def read_all_day(relay: Installation, name: str) -> None:
    """A radiologist: claims, fetches the whole study, writes two sentences, signs; until cancelled."""
    async with calling(relay, name, Role.RADIOLOGIST) as caller:
        while True:
            item = await caller.call("POST", "/worklist/next")
            if item is None:
                await asyncio.sleep(IDLE_SECONDS)
                continue
            await caller.call("GET", f"/dicom-web/studies/{item['study_instance_uid']}")
            report = f"/reports/{item['study']}"
            await caller.call("PUT", report, json={"findings": "Read in a benchmark.", "impression": "None claimed."})
            await caller.call("POST", f"{report}/sign")


async def send(relay: Installation, cases: Sequence[Case]) -> None:
    """Orders and studies of both sites, side by side, as fast as they are taken."""
    by_site = {site: [case for case in cases if case.site == site] for site in SITES}
    async with asyncio.TaskGroup() as work:
        for site, over in SITES.items():
            for number in range(SENDERS):
                share = by_site[site][number::SENDERS]
                if share:
                    work.create_task((c_store if over == "dimse" else stow)(relay, site, share))


async def c_store(relay: Installation, site: str, cases: Sequence[Case]) -> None:
    """The orders over FHIR, then the instances in one association of dcmtk's storescu."""
    async with calling(relay, f"{site}-his", Role.SITE, site) as clinic:
        for case in cases:
            await clinic.call("POST", "/ingest/fhir", json=case.order)
    files = [str(file) for case in cases for file in case.files]
    to = ("127.0.0.1", str(relay.dicom_port))
    command = ("storescu", "-R", "-aet", AE_TITLE, "-aec", "RADRELAY", *to, *files)
    # Without TCP_NODELAY dcmtk stalls 40 ms per message.
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, "TCP_NODELAY": "1"})
    if await process.wait():
        raise RuntimeError(f"storescu ended with {process.returncode}")


async def stow(relay: Installation, site: str, cases: Sequence[Case]) -> None:
    """Each order over FHIR, then its study in one STOW-RS request."""
    async with calling(relay, f"{site}-his", Role.SITE, site) as clinic:
        for case in cases:
            await clinic.call("POST", "/ingest/fhir", json=case.order)
            boundary = uuid4().hex
            kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
            body = multipart(case.files, boundary)
            await clinic.call("POST", "/ingest/dicom-web/studies", data=body, headers={"Content-Type": kind})


def multipart(files: Sequence[Path], boundary: str) -> bytes:
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + file.read_bytes() + b"\r\n" for file in files) + f"--{boundary}--\r\n".encode()
