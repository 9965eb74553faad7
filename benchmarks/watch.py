"""What the flow benchmark looks at from outside: every event on the bus, and every process's processor time."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from radrelay_shared.adapters.amqp_topology import EVENTS

TICKS = os.sysconf("SC_CLK_TCK")

# A stage lasts from the event before it to its own; the first from the study's first instance. An offer
# (study.assigned) is no stage: an idle radiologist who asks claims a study before it is offered to anybody.
STAGES = {
    "study.received": "sealed",
    "study.anonymized": "de-identified",
    "study.stored": "stored",
    "study.triaged": "triaged",
    "assignment.claimed": "claimed",
    "report.finalized": "signed",
    "report.delivered": "delivered",
}


@dataclass
class Journey:
    """One study's way."""

    received_at: datetime | None = None
    times: dict[str, datetime] = field(default_factory=dict)  # by event, the first of each kind

    @property
    def whole(self) -> bool:
        return self.received_at is not None and self.times.keys() >= STAGES.keys()

    @property
    def stages(self) -> dict[str, float]:
        """Seconds per stage, and in all."""
        before, found = self.received_at, {}
        assert before is not None
        for event, stage in STAGES.items():
            found[stage] = (self.times[event] - before).total_seconds()
            before = self.times[event]
        return found | {"in all": sum(found.values())}


class Observer:
    """Reads along: a queue of its own that keeps nothing, bound to every event."""

    def __init__(self) -> None:
        self.journeys: defaultdict[str, Journey] = defaultdict(Journey)  # by study key
        self.seen = 0

    @asynccontextmanager
    async def listen(self, url: str) -> AsyncIterator[None]:
        connection = await aio_pika.connect(url)
        async with connection, connection.channel() as channel:
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(EVENTS, "#")
            await queue.consume(self._take, no_ack=True)
            yield

    async def _take(self, message: AbstractIncomingMessage) -> None:
        event = json.loads(message.body)
        name = event["type"].removeprefix("radrelay.").removesuffix(".v1")
        self.seen += 1
        journey = self.journeys[event["subject"]]
        journey.times.setdefault(name, datetime.fromisoformat(event["time"]))
        if name == "study.received":
            journey.received_at = datetime.fromisoformat(event["data"]["received_at"])


def spread(journeys: Iterable[Journey]) -> dict[str, tuple[float, float]]:
    """The median and the 95th percentile of every stage, in seconds."""
    rows = [journey.stages for journey in journeys]
    return {stage: (median(values), p95(values)) for stage in rows[0] if (values := [row[stage] for row in rows])}


def p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def cpu_seconds(session: int) -> float:
    """Processor time of all processes of a session so far; those that ended and were waited for are counted, too."""
    return sum(_ticks(fields) for fields in _every_process() if int(fields[3]) == session) / TICKS


def machine_cpu_seconds() -> float:
    """Of everything on this machine: the processors' time but for idle and waiting (proc(5), /proc/stat)."""
    user, nice, system, _idle, _waiting, *rest = Path("/proc/stat").read_text().split("\n")[0].split()[1:8]
    return sum(map(int, (user, nice, system, *rest))) / TICKS


def own_cpu_seconds() -> float:
    """Of this process and of the senders it has started and waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _every_process() -> list[list[str]]:
    """The fields of /proc/<pid>/stat from the third on, which is the state (proc(5))."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found.append(path.read_text().rpartition(") ")[2].split())
        except OSError:  # it ended this moment
            continue
    return found


def _ticks(fields: Sequence[str]) -> int:
    return sum(int(fields[index]) for index in (11, 12, 13, 14))  # utime, stime, cutime, cstime


@dataclass
class Meters:
    """Processor time per part between two readings."""

    parts: Mapping[str, Callable[[], float]]
    before: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        self.before = {name: read() for name, read in self.parts.items()}

    def spent(self) -> dict[str, float]:
        return {name: read() - self.before[name] for name, read in self.parts.items()}
