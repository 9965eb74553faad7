"""`make bench-ingest`: how fast a series is received, by RadRelay and its peers in turn, from the same sender.

The sender is dcmtk's dcmsend with TCP_NODELAY (without it, dcmtk stalls 40 ms per message). A run counts only if
every file is in the receiver's folder afterwards, whole.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, Self

from benchmarks.ingest_input import HUGE, KINDS, Kind, make_files, make_huge, size_of
from benchmarks.peers import CALLER, System, systems
from benchmarks.yardsticks import fsyncs_per_second

RESULTS = Path(__file__).parent / "results/ingest.json"
HEADER = 2048  # bytes, within which the copies of a slice may differ: the file meta information
SENDER_LIMIT = 600  # seconds
NODELAY = {"TCP_NODELAY": "1"}

ASSOCIATIONS = {1: "1-association", 4: "4-associations"}
GOALS = {(1, "orthanc"): 2.5, (1, "dcmtk"): 0.6, (4, "orthanc"): 2.0}
MEMORY_GOAL = 250  # MB, while four images of 2 GB arrive at once
HIGHER_IS_BETTER = {"images_per_s": True, "mb_per_s": True, "peak_rss_mb": False}


@dataclass(frozen=True)
class Run:
    """What one receiver did with the whole series."""

    images_per_s: float
    mb_per_s: float
    peak_rss_mb: float


# ── one run ──────────────────────────────────────────────────────────────────────────────────────────


def measure(system: System, files: Sequence[Path], associations: int) -> Run:
    """Start the receiver in a fresh folder, send everything to it, and count what it kept."""
    size = size_of(files)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with receiving(system, folder) as (process, port), Memory(process.pid) as memory:
            started = time.perf_counter()
            send(files, associations, port)
            seconds = time.perf_counter() - started
        kept = sum(abs(each - size // len(files)) < HEADER for each in system.sizes(folder))
        assert kept == len(files), f"{system.name} kept {kept} of {len(files)}"
    return Run(len(files) / seconds, size / seconds / 1e6, memory.peak / 1e6)


def send(files: Sequence[Path], associations: int, port: int) -> None:
    """All files, over so many associations at once; raises unless every one was acknowledged."""
    command = ["timeout", str(SENDER_LIMIT), "dcmsend", "-aet", CALLER, "127.0.0.1", str(port)]
    senders = [
        subprocess.Popen([*command, *map(str, files[part::associations])], env={**os.environ, **NODELAY})
        for part in range(associations)
    ]
    assert [sender.wait() for sender in senders] == [0] * associations  # with a limit it would look every 50 ms


@contextmanager
def receiving(system: System, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The receiver's process, listening."""
    port = free_ports()
    environment = {**os.environ, **NODELAY, **system.environment(folder, port)}
    command = system.command(folder, port)
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=quiet, stderr=quiet) as process:
        try:
            wait_until_open(port)
            system.ready(folder, port)
            yield process, port
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def free_ports() -> int:
    """A port that is free, and so is the next one."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except (OSError, OverflowError):
                continue
            return port


def wait_until_open(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"nothing listens on port {port}")


class Memory(threading.Thread):
    """The most resident memory, in bytes, that a process and its children were seen to hold together."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak, self.done = pid, 0, threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join()

    def run(self) -> None:
        while not self.done.wait(0.05):
            self.peak = max(self.peak, resident(self.pid))


def resident(pid: int) -> int:
    """VmRSS of the process and of its children (proc(5)); 0 once it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident(int(child)) for child in children)


# ── all runs ─────────────────────────────────────────────────────────────────────────────────────────


def run_all(kinds: Sequence[Kind], compared: Sequence[System], runs: int) -> dict[tuple[str, str], list[Run]]:
    """Each case and system, by turns, so that what else the machine does meets all of them."""
    found: dict[tuple[str, str], list[Run]] = {}
    with tempfile.TemporaryDirectory() as name:
        sent = {kind: make_files(kind, fresh(Path(name) / kind.name)) for kind in kinds}
        for turn in range(runs):
            for (kind, files), number, system in product(sent.items(), ASSOCIATIONS, compared):
                case = f"{kind.name}-{ASSOCIATIONS[number]}"
                done = measure(system, files, number)
                found.setdefault((case, system.name), []).append(done)
                print(f"{turn + 1}/{runs} {case:24} {system.name:32} {done.images_per_s:6.1f} images/s", flush=True)
    return found


def run_huge(system: System) -> dict[tuple[str, str], list[Run]]:
    """Four images of 2 GB at once."""
    with tempfile.TemporaryDirectory() as name:
        done = measure(system, make_huge(Path(name)), 4)
    print(f"{HUGE.name}, 4 at once: {done.mb_per_s:.0f} MB/s, at most {done.peak_rss_mb:.0f} MB in memory", flush=True)
    return {(f"{HUGE.name}-{ASSOCIATIONS[4]}", system.name): [done]}


def fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


def report(found: dict[tuple[str, str], list[Run]], command: str, fsyncs: float) -> dict[str, Any]:
    """The document of benchmarks/results; a ratio is always how many times as good RadRelay is."""
    figures = [
        figure(case, name, metric, [getattr(run, metric) for run in done])
        for (case, name), done in found.items()
        for metric in HIGHER_IS_BETTER
    ]
    ours = {(each["case"], each["metric"]): each["median"] for each in figures if each["system"] == "radrelay"}
    ratios = [ratio(each, ours[each["case"], each["metric"]]) for each in figures if each["system"] != "radrelay"]
    ratios += [
        {"case": case, "against": f"{MEMORY_GOAL} MB", "metric": metric, "value": round(MEMORY_GOAL / mb, 2), "goal": 1}
        for (case, metric), mb in ours.items()
        if case.startswith(HUGE.name) and metric == "peak_rss_mb"
    ]
    return {
        "bench": "ingest",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {fsyncs:.0f} fsyncs/s of 4 KB",
        "command": command,
        "figures": figures,
        "ratios": ratios,
    }


def figure(case: str, system: str, metric: str, values: list[float]) -> dict[str, Any]:
    middle, low, high = (round(each, 1) for each in (statistics.median(values), min(values), max(values)))
    return {
        "case": case, "system": system, "metric": metric,
        "median": middle, "min": low, "max": high, "runs": len(values),
    }  # fmt: skip


def ratio(peer: dict[str, Any], ours: float) -> dict[str, Any]:
    value = ours / peer["median"] if HIGHER_IS_BETTER[peer["metric"]] else peer["median"] / ours
    associations = next(number for number, name in ASSOCIATIONS.items() if peer["case"].endswith(name))
    goal = GOALS.get((associations, peer["system"].split()[0])) if peer["metric"] == "images_per_s" else None
    found = {"case": peer["case"], "against": peer["system"], "metric": peer["metric"], "value": round(value, 2)}
    return found if goal is None else {**found, "goal": goal}


def show(document: dict[str, Any]) -> None:
    """The table, in Markdown."""
    medians = {(each["case"], each["system"], each["metric"]): each["median"] for each in document["figures"]}
    ratios = {(each["case"], each["against"]): each for each in document["ratios"] if each["metric"] == "images_per_s"}
    columns = ("case", "receiver", "images/s", "MB/s", "peak RSS, MB", "RadRelay is so many times as fast", "goal")
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for case, system in dict.fromkeys((case, system) for case, system, _ in medians):
        values = " | ".join(f"{medians[case, system, metric]:.3g}" for metric in HIGHER_IS_BETTER)
        found = ratios.get((case, system), {})
        print(f"| {case} | {system} | {values} | {found.get('value', '')} | {found.get('goal', '')} |")


def merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The results now, and those of the cases before that were not run."""
    cases = {each["case"] for each in now["figures"]}
    kept = {part: [each for each in before[part] if each["case"] not in cases] for part in ("figures", "ratios")}
    return now | {part: kept[part] + now[part] for part in kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each system and case (default: 5)")
    parser.add_argument("--kind", default="", help="kinds of images whose names begin so; the other results stay")
    options = parser.parse_args()
    for tool in ("dcmsend", "storescp"):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is missing: apt-get install dcmtk")
    compared = systems()
    kinds = [kind for kind in KINDS if kind.name.startswith(options.kind)]
    with tempfile.TemporaryDirectory() as name:
        fsyncs = fsyncs_per_second(Path(name))
    found = run_all(kinds, compared, options.runs)
    if HUGE.name.startswith(options.kind):
        found |= run_huge(compared[0])
    document = report(found, "make bench-ingest", fsyncs)
    if options.kind and RESULTS.exists():
        document = merged(json.loads(RESULTS.read_text()), document)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    show(document)


if __name__ == "__main__":
    main()
