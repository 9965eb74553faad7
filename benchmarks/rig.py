"""What the flow benchmark measures: seven processes on RabbitMQ, SQLite and files, with radiologists at work."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmarks.load import RADIOLOGISTS, Case, Hospital, make_cases, read_all_day, register
from benchmarks.watch import Journey, Meters, Observer, cpu_seconds, own_cpu_seconds
from fleet import NAMES, Backends, Fleet
from radrelay_ingest.domain.keys import study_key
from radrelay_shared.security import Role
from servers.rabbitmq import RabbitMQ

PATIENCE_SECONDS = 120
SETTINGS = {"webhook_allow_networks": '["127.0.0.0/8"]'}
AnyFleet = TypeVar("AnyFleet", bound=Fleet)
SAMPLER = Path(__file__).resolve().parent / "sampled.py"


class SampledFleet(Fleet):
    """The fleet, each process under the sampler."""

    def restart(self, name: str) -> None:
        command = [sys.executable, str(SAMPLER), str(self._profile(name)), f"radrelay_{name}.main"]
        self.processes[name].spawn(command, self._environment(name))
        self.down.discard(name)

    def begin(self) -> None:
        """Look from now on."""
        for name in NAMES:
            self._process(name).send_signal(signal.SIGUSR1)

    def profiles(self) -> dict[str, dict[str, list[tuple[str, float]]]]:
        """What each process wrote at its end."""
        return {name: json.loads(self._profile(name).read_text()) for name in NAMES}

    def _profile(self, name: str) -> Path:
        return self.folder / f"{name}.profile.json"


@dataclass
class Rig(Generic[AnyFleet]):
    """A fleet that is up, its hospital, and who watches."""

    fleet: AnyFleet
    hospital: Hospital
    observer: Observer
    meters: Meters
    reading: list[asyncio.Task[None]]

    async def cases(self, label: str, count: int, priority: str = "routine") -> list[Case]:
        """Fresh studies, ready to be sent."""
        return await asyncio.to_thread(make_cases, self.fleet.folder, label, count, priority)

    def journeys(self, cases: Sequence[Case]) -> list[Journey]:
        secret = self.fleet.keys.secret("identity_key").encode()
        return [self.observer.journeys[study_key(secret, case.site, case.study_instance_uid)] for case in cases]

    async def arrival(self, cases: Sequence[Case]) -> None:
        """Return when every report is back, once, and every event of it was seen."""
        arrived, deadline = self.hospital.arrived, time.monotonic() + PATIENCE_SECONDS
        journeys = self.journeys(cases)
        while not (all(case.accession in arrived for case in cases) and all(each.whole for each in journeys)):
            self.check()
            assert time.monotonic() < deadline, self.missing(cases)
            await asyncio.sleep(0.05)
        assert all(len(arrived[case.accession]) == 1 for case in cases), "a report came twice"

    def check(self) -> None:
        """Fail if a service ended, or a radiologist met an error."""
        self.fleet.check()
        for task in self.reading:
            if task.done():
                task.result()

    def missing(self, cases: Sequence[Case]) -> str:
        """How far the studies came, and what the services complain about."""
        reached = Counter(event for journey in self.journeys(cases) for event in journey.times)
        said = [line for name in NAMES for line in self.fleet.logs(name).splitlines()[-5:]]
        return "\n".join([f"{len(cases)} studies are not all back after {PATIENCE_SECONDS} s: {dict(reached)}", *said])


@asynccontextmanager
async def rig(kind: type[AnyFleet], broker: RabbitMQ, folder: Path) -> AsyncIterator[Rig[AnyFleet]]:
    """Started, registered and at work; afterwards no dead letter is left and every process has ended well."""
    fleet = kind(folder, Backends.on_files(broker.url, folder), SETTINGS)
    hospital, observer = Hospital(), Observer()
    try:
        await asyncio.to_thread(fleet.start)
        async with hospital.open() as address, observer.listen(broker.url):
            await register(fleet.installation, address)
            async with reading(fleet) as tasks:
                yield Rig(fleet, hospital, observer, Meters(parts(fleet, broker)), tasks)
        await nothing_given_up(fleet)
        await asyncio.to_thread(fleet.stop)
    finally:
        fleet.discard()


@asynccontextmanager
async def reading(fleet: Fleet) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(read_all_day(fleet.installation, name)) for name in RADIOLOGISTS]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def parts(fleet: Fleet, broker: RabbitMQ) -> dict[str, Callable[[], float]]:
    """Whose processor time is counted."""
    processes: dict[str, Any] = {name: fleet.processes[name].process for name in NAMES} | {"rabbitmq": broker.process}
    counted: dict[str, Callable[[], float]] = {
        name: partial(cpu_seconds, process.pid) for name, process in processes.items()
    }
    return counted | {"load generator": own_cpu_seconds}


async def nothing_given_up(fleet: Fleet) -> None:
    operator = fleet.installation.client("bench-operator", Role.OPERATOR)
    for name in NAMES:
        letters = await operator.call("GET", f"/ops/{name}/dead-letters")
        assert not letters, f"{name} has dead letters: {letters}"
