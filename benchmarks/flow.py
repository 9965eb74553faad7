"""How many studies per second seven processes carry on RabbitMQ and SQLite, how long each stage takes, what limits it.

`make bench-flow`. Everything runs on loopback, in a folder that is removed afterwards. `--quick` is for trying out.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figures
from benchmarks.load import INSTANCES, Case, send
from benchmarks.rig import Rig, SampledFleet, rig
from benchmarks.watch import Journey, machine_cpu_seconds, spread
from benchmarks.yardsticks import fsyncs_per_second, publishes_per_second
from fleet import Fleet
from servers import Missing
from servers.rabbitmq import RabbitMQ

SYSTEM = "radrelay, 7 processes"
FUNCTIONS_SHOWN = 10


@dataclass(frozen=True)
class Sizes:
    """How many studies, and how often."""

    warm_up: int = 30
    light: int = 30
    saturation: int = 150
    runs: int = 3
    backlog: int = 100
    stat: int = 5
    profiled: int = 60


QUICK = Sizes(warm_up=4, light=4, saturation=20, runs=1, backlog=20, stat=2, profiled=10)


@dataclass(frozen=True)
class Carried:
    """What one saturated run took."""

    studies: int
    seconds: float
    events: int
    cpu: dict[str, float]  # seconds by part
    others: float  # processor time of all that is not part of this
    journeys: list[Journey]


async def carry(running: Rig[Any], cases: Sequence[Case]) -> Carried:
    """All studies at once; the clock stops with the last webhook."""
    events, machine, started = running.observer.seen, machine_cpu_seconds(), time.monotonic()
    running.meters.start()
    await send(running.fleet.installation, cases)
    await running.arrival(cases)
    spent, machine = running.meters.spent(), machine_cpu_seconds() - machine
    return Carried(
        studies=len(cases),
        seconds=max(running.hospital.arrived[case.accession][0] for case in cases) - started,
        events=running.observer.seen - events,
        cpu=spent,
        others=max(0.0, machine - sum(spent.values())),
        journeys=running.journeys(cases),
    )


async def trickle(running: Rig[Any], cases: Sequence[Case]) -> list[Journey]:
    """One study a second."""
    async with asyncio.TaskGroup() as work:
        for case in cases:
            work.create_task(send(running.fleet.installation, [case]))
            await asyncio.sleep(1)
    await running.arrival(cases)
    return running.journeys(cases)


async def overtake(
    running: Rig[Any], routine: Sequence[Case], stat: Sequence[Case]
) -> tuple[list[Journey], list[Journey]]:
    """STAT studies, one every 2 s, into a routine backlog that was sent at once."""
    async with asyncio.TaskGroup() as work:
        work.create_task(send(running.fleet.installation, routine))
        for case in stat:
            await asyncio.sleep(2)
            work.create_task(send(running.fleet.installation, [case]))
    await running.arrival([*routine, *stat])
    return running.journeys(routine), running.journeys(stat)


async def measure(broker: RabbitMQ, folder: Path, sizes: Sizes, figures: Figures) -> None:
    """Every case, one after the other, on one installation."""
    async with rig(Fleet, broker, folder) as running:
        saturated = [await running.cases(f"run{number}", sizes.saturation) for number in range(sizes.runs)]
        await carry(running, await running.cases("warm", sizes.warm_up))
        light = await trickle(running, await running.cases("light", sizes.light))
        runs = [await carry(running, cases) for cases in saturated]
        backlog, stat = await running.cases("back", sizes.backlog), await running.cases("stat", sizes.stat, "stat")
        routine, urgent = await overtake(running, backlog, stat)
    add_latency(figures, f"light: {sizes.light} studies, 1 per second", [light])
    case = f"saturation: {sizes.saturation} studies of {INSTANCES} CT at once"
    add_throughput(figures, case, runs)
    add_latency(figures, case, [run.journeys for run in runs])
    case = f"lanes: {sizes.stat} STAT into {sizes.backlog} routine"
    add_latency(figures, f"{case}, the routine ones", [routine])
    add_latency(figures, f"{case}, the STAT ones", [urgent])


def add_throughput(figures: Figures, case: str, runs: Sequence[Carried]) -> None:
    figures.add(case, SYSTEM, "studies_per_s", [run.studies / run.seconds for run in runs])
    figures.add(case, SYSTEM, "events_per_s", [run.events / run.seconds for run in runs])
    for part in runs[0].cpu:
        figures.add(case, SYSTEM, f"cpu_ms_per_study: {part}", [1000 * run.cpu[part] / run.studies for run in runs])
    figures.add(case, SYSTEM, "cores_busy", [sum(run.cpu.values()) / run.seconds for run in runs])
    figures.add(
        case, "everything else on this machine", "cores_busy_elsewhere", [run.others / run.seconds for run in runs]
    )


def add_latency(figures: Figures, case: str, runs: Sequence[Sequence[Journey]]) -> None:
    spreads = [spread(run) for run in runs]
    for stage in spreads[0]:
        figures.add(case, SYSTEM, f"{stage}_p50_ms", [1000 * each[stage][0] for each in spreads])
        figures.add(case, SYSTEM, f"{stage}_p95_ms", [1000 * each[stage][1] for each in spreads])


async def profile(broker: RabbitMQ, folder: Path, sizes: Sizes, console: Console) -> None:
    """A saturated run under the sampler; for reading, not for figures."""
    async with rig(SampledFleet, broker, folder) as running:
        await carry(running, await running.cases("warm", sizes.warm_up))
        running.fleet.begin()
        await carry(running, await running.cases("profiled", sizes.profiled))
        fleet = running.fleet
    for name, tables in sorted(fleet.profiles().items(), key=lambda item: -total(item[1]["threads"])):
        whole = total(tables["threads"])
        threads = ", ".join(f"{thread} {seconds / whole:.0%}" for thread, seconds in tables["threads"][:4])
        title = f"{name}: {1000 * whole / sizes.profiled:.0f} ms of processor time per study ({threads})"
        table = Table("within it and what it calls", "%", "in itself", "%", title=title, title_justify="left")
        ours = [row for row in tables["within"] if row[0].startswith(("radrelay", "pydicom", "jwt"))]
        for within, own in zip(ours[:FUNCTIONS_SHOWN], tables["own"][:FUNCTIONS_SHOWN], strict=False):
            table.add_row(within[0], f"{within[1] / whole:.0%}", own[0], f"{own[1] / whole:.0%}")
        console.print(table)


def total(rows: Sequence[tuple[str, float]]) -> float:
    return sum(seconds for _, seconds in rows)


async def main(sizes: Sizes, *, keep: bool, profiled: bool) -> None:
    console, figures = Console(width=140), Figures("flow")
    with tempfile.TemporaryDirectory(prefix="radrelay-bench-") as name:
        folder = Path(name)
        broker = RabbitMQ(folder / "rabbitmq")
        try:
            await asyncio.to_thread(broker.start)
            bare = [await publishes_per_second(broker.url) for _ in range(3)]
            disk = [await asyncio.to_thread(fsyncs_per_second, folder) for _ in range(3)]
            figures.add("yardstick", "bare aio-pika, quorum queue, 64 in flight", "confirmed_publishes_per_s", bare)
            figures.add("yardstick", "one file, 4 KB appends", "fsyncs_per_s", disk)
            await measure(broker, folder / "measured", sizes, figures)
            figures.show(console)
            if profiled:
                await profile(broker, folder / "profiled", sizes, console)
        finally:
            await asyncio.to_thread(broker.stop)
    if keep:
        console.print(f"Written to {figures.write().name}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="a few studies only; nothing is written")
    arguments.add_argument("--no-profile", action="store_true")
    chosen = arguments.parse_args()
    if shutil.which("storescu") is None:
        sys.exit("storescu is not installed: apt-get install dcmtk")
    try:
        asyncio.run(main(QUICK if chosen.quick else Sizes(), keep=not chosen.quick, profiled=not chosen.no_profile))
    except Missing as missing:
        sys.exit(str(missing))
