"""The main job, end to end: orders and real studies in, signed reports out, read by the clinics themselves."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from radrelay import register, samples, send
from radrelay.client import Client
from radrelay.keys import Keys
from radrelay.platform import Platform
from radrelay.reading import IDLE_SECONDS, Reading, read_next
from radrelay_shared.errors import Unreachable
from radrelay_shared.security import Role

PATIENCE_SECONDS = 300
STAGES = {
    "study.received": "received",
    "study.anonymized": "de-identified",
    "study.stored": "stored",
    "study.triaged": "triaged",
    "study.assigned": "offered",
    "assignment.claimed": "claimed",
    "report.finalized": "signed",
    "report.delivered": "delivered",
}


@dataclass
class Show:
    """What happened so far, for the tables."""

    sent: list[str] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    webhooks: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def reports(self) -> list[dict[str, Any]]:
        return [each for each in self.webhooks if each["type"] == "report.finalized"]


async def demo(console: Console, *, stay: bool = False) -> bool:
    """Run it in a folder that is removed afterwards; True if every clinic read every report of its own patients."""
    with tempfile.TemporaryDirectory(prefix="radrelay-demo-") as folder:
        http_port, dicom_port = free_port(), free_port()
        settings = {"webhook_allow_networks": ["127.0.0.0/8"], "sweep_seconds": 0.1}
        platform = Platform(Path(folder), http_port=http_port, dicom_port=dicom_port, settings=settings)
        await platform.start()
        try:
            base = f"http://127.0.0.1:{http_port}"
            done = await main_job(base, dicom_port, platform.keys, console)
            places(base, dicom_port, platform.keys, console, stay=stay)
            if stay:
                await platform.failed()
            return done
        finally:
            await platform.stop()


def places(base: str, dicom_port: int, keys: Keys, console: Console, *, stay: bool) -> None:
    """Where to look: with `--stay` now, else on a platform that `radrelay up` keeps running."""
    console.print(f"To look at {'until you stop it' if stay else '(`radrelay demo --stay` leaves it up)'}:")
    for path in ("/dicom-web/studies", "/status", "/worklist", "/webhooks/deliveries", "/openapi/reporting.json"):
        console.print(f"  {base}{path}")
    console.print(f"  DICOM: AE RADRELAY at 127.0.0.1:{dicom_port}")
    if stay:
        token = keys.token("you", {Role.OPERATOR, Role.RADIOLOGIST}, {"*"})
        console.print(f"  Authorization: Bearer {token}", soft_wrap=True)


async def main_job(base: str | Mapping[str, str], dicom_port: int, keys: Keys, console: Console) -> bool:
    """Register, order, send, read and deliver on a platform that is up; says how it went."""
    show, started = Show(), time.monotonic()
    operator = Client(base, keys.token("demo-operator", {Role.OPERATOR}, {"*"}))
    async with registered(operator, show) as tables:
        work = [
            asyncio.create_task(feed(base, dicom_port, keys, show)),
            *(
                asyncio.create_task(reader(base, name, facts, keys, show))
                for name, facts in tables["radiologists"].items()
            ),
        ]
        try:
            await watch(operator, show, work, console)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
    console.print(timeline(show.rows), answers(show))
    return verdict(show, console, time.monotonic() - started)


@asynccontextmanager
async def registered(operator: Client, show: Show) -> AsyncIterator[dict[str, dict[str, Any]]]:
    """The clinics and radiologists of the demo, registered, while the clinics' receiver listens; yields the tables."""
    with as_file(files("radrelay") / "data" / "demo.yaml") as file:
        tables = register.read(file)
    async with receiver(show) as (port, tell):
        for facts in tables["webhooks"].values():
            facts["url"] = on_port(facts["url"], port)
        await tell(await register.register(tables, operator))
        yield tables


async def feed(base: str | Mapping[str, str], dicom_port: int, keys: Keys, show: Show) -> None:
    """Orders first, as clinics do; then the studies, by the way each clinic has."""
    for sample in samples.SAMPLES:
        clinic = Client(base, keys.token(f"{sample.site}-his", {Role.SITE}, {sample.site}))
        await clinic.call("POST", "/ingest/fhir", json=sample.order())
        await asyncio.to_thread(deliver, sample, list(sample.datasets()), clinic, dicom_port)
        show.sent.append(sample.accession)


def deliver(sample: samples.Sample, datasets: list[Dataset], clinic: Client, dicom_port: int) -> None:
    """Instances of one study over C-STORE or STOW-RS, as its clinic does it; raises if one was not stored."""
    if sample.over == "stow":
        url = clinic.url("/ingest/dicom-web/").rstrip("/")
        web = DICOMwebClient(url, headers={"Authorization": f"Bearer {clinic.token}"})
        web.store_instances(datasets)
        return
    outcomes = list(send.send(datasets, "127.0.0.1", dicom_port, sample.ae_title))
    if not all(outcome.stored for outcome in outcomes):
        raise ConnectionError("; ".join(outcome.message for outcome in outcomes if not outcome.stored))


async def reader(base: str | Mapping[str, str], name: str, facts: dict[str, Any], keys: Keys, show: Show) -> None:
    """A radiologist who reads whatever is offered, until the demo is over."""
    client = Client(base, keys.token(name, {Role.RADIOLOGIST}, set(facts["sites"])))
    while True:
        reading = await read_next(name, client)
        if reading is None:
            await asyncio.sleep(IDLE_SECONDS)
        else:
            show.readings.append(reading)


async def watch(operator: Client, show: Show, work: list[asyncio.Task[None]], console: Console) -> None:
    """Redraw the live table until every report arrived, something failed, or patience ends."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with Live(console=console, refresh_per_second=8, transient=not console.is_terminal) as live:
        while time.monotonic() < deadline:
            show.rows = await operator.call("GET", "/status")
            live.update(Group(board(show.rows)))
            failed = next((task for task in work if task.done() and task.exception()), None)
            if failed:
                failed.result()
            if len(show.reports) >= len(samples.SAMPLES) and all_stages(show.rows):
                return
            await asyncio.sleep(0.15)


def all_stages(rows: list[dict[str, Any]]) -> bool:
    return all("report.delivered" in row["stages"] for row in rows)


@asynccontextmanager
async def receiver(show: Show) -> AsyncIterator[tuple[int, Any]]:
    """The clinics' receiver in a process of its own: its port, and how to tell it the endpoints' secrets."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "radrelay.receiver", "0", stdin=pipe, stdout=pipe
    )
    if process.stdin is None or process.stdout is None:
        raise Unreachable("the receiver has no pipes")
    lines, sink = process.stdout, process.stdin

    async def tell(secrets: dict[str, str]) -> None:
        sink.write(json.dumps(secrets).encode() + b"\n")
        await sink.drain()

    async def listen() -> None:
        while line := await lines.readline():
            show.webhooks.append(json.loads(line))

    port = json.loads(await lines.readline())["port"]
    listening = asyncio.create_task(listen())
    try:
        yield port, tell
    finally:
        process.terminate()
        await process.wait()
        await listening


def board(rows: list[dict[str, Any]]) -> Table:
    """Studies and stages; a time in a cell is seconds since the first event of the study."""
    table = Table(title="Studies and stages (seconds since receipt was complete)")
    table.add_column("study")
    table.add_column("site")
    table.add_column("priority")
    for name in STAGES.values():
        table.add_column(name, justify="right")
    for row in sorted(rows, key=lambda row: str(row["first"])):
        cells = [offset(row, stage) for stage in STAGES]
        table.add_row(row["study"][:12], row["site"], priority_style(row["priority"]), *cells)
    return table


def offset(row: dict[str, Any], stage: str) -> str:
    if stage not in row["stages"]:
        return "·"
    return f"{(at(row['stages'][stage]) - at(row['first'])).total_seconds():.2f}"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def priority_style(priority: str) -> str:
    return {"stat": "[bold red]STAT[/]", "urgent": "[yellow]urgent[/]"}.get(priority, priority)


def timeline(rows: list[dict[str, Any]]) -> Table:
    """How long each study stayed before each stage."""
    table = Table(title="Timeline: milliseconds from stage to stage")
    table.add_column("study")
    for name in (*STAGES.values(), "all"):
        table.add_column(name, justify="right")
    for row in sorted(rows, key=lambda row: str(row["first"])):
        known = [(stage, at(row["stages"][stage])) for stage in STAGES if stage in row["stages"]]
        steps = dict(zip((stage for stage, _ in known[1:]), gaps([time for _, time in known]), strict=True))
        total = f"{(known[-1][1] - known[0][1]).total_seconds() * 1000:.0f}" if known else ""
        table.add_row(row["study"][:12], *(steps.get(stage, "") for stage in STAGES), total)
    return table


def gaps(times: list[datetime]) -> list[str]:
    return [f"{(later - earlier).total_seconds() * 1000:.0f}" for earlier, later in pairwise(times)]


def answers(show: Show) -> Table:
    """What the clinics read in the webhooks, after verifying them."""
    table = Table(title="What the clinics read (verified by the standardwebhooks package)")
    for name in ("site", "patient", "accession", "impression"):
        table.add_column(name)
    for report in show.reports:
        table.add_row(*(report[name] for name in ("site", "patient", "accession", "impression")))
    return table


def verdict(show: Show, console: Console, seconds: float) -> bool:
    """Whether each order came back, to its own clinic, under its own patient's name, and what was looked at."""
    wanted = {(each.site, each.patient_id, each.accession) for each in samples.SAMPLES}
    got = {(each["site"], each["patient_id"], each["accession"]) for each in show.reports}
    pixels = sum(reading.pixel_bytes for reading in show.readings)
    console.print(
        f"{len(show.readings)} studies read by {len({each.radiologist for each in show.readings})} radiologists, "
        f"{pixels / 1e6:.1f} MB of pixels over WADO-RS, {len(got & wanted)} of {len(wanted)} reports back "
        f"at the right clinic, {seconds:.1f} s in all."
    )
    if got == wanted:
        console.print("[bold green]The main job was done.[/]")
        return True
    for site, _, accession in sorted(wanted - got):
        console.print(f"[bold red]Missing:[/] {accession} of {site}")
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def on_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.hostname}:{port}"))
