"""`make bench-ingest`: how fast a series is received, by RadRelay and its peers in turn, from the same sender.

The sender is dcmtk's dcmsend with TCP_NODELAY (without it, dcmtk stalls 40 ms per message). A run counts only if
every file is in the receiver's folder afterwards, whole.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
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
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import pydicom
from pydicom.data import get_testdata_file

from benchmarks.peers import CALLER, System, systems
from benchmarks.yardsticks import fsyncs_per_second

RESULTS = Path(__file__).parent / "results/ingest.json"
SLICES, SIDE = 300, 512
HEADER = 2048  # bytes, within which the copies of a slice may differ: the file meta information
SENDER_LIMIT = 120  # seconds
NODELAY = {"TCP_NODELAY": "1"}

CASES = {"ct-300-1-association": 1, "ct-300-4-associations": 4}
GOALS = {
    ("ct-300-1-association", "orthanc"): 2.5,
    ("ct-300-1-association", "dcmtk"): 0.6,
    ("ct-300-4-associations", "orthanc"): 2.0,
}
HIGHER_IS_BETTER = {"images_per_s": True, "mb_per_s": True, "peak_rss_mb": False}


@dataclass(frozen=True)
class Run:
    """What one receiver did with the whole series."""

    images_per_s: float
    mb_per_s: float
    peak_rss_mb: float


def make_series(folder: Path) -> int:
    """300 CT slices of 512 x 512 in explicit VR little endian, as one series; their size in bytes."""
    draw = random.Random(1)
    slice_ = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    slice_.Rows = slice_.Columns = SIDE
    slice_.StudyInstanceUID, slice_.SeriesInstanceUID = "1.2.3.1", "1.2.3.1.1"
    for number in range(SLICES):
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.1.1.{number}"
        slice_.InstanceNumber, slice_.PixelData = str(number), draw.randbytes(2 * SIDE * SIDE)
        file = BytesIO()
        slice_.save_as(file)
        (folder / f"{number:03d}.dcm").write_bytes(file.getvalue())
    return sum(file.stat().st_size for file in folder.iterdir())


# ── one run ──────────────────────────────────────────────────────────────────────────────────────────


def measure(system: System, files: Sequence[Path], associations: int, size: int) -> Run:
    """Start the receiver in a fresh folder, send everything to it, and count what it kept."""
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
    command = ["dcmsend", "-aet", CALLER, "127.0.0.1", str(port)]
    senders = [
        subprocess.Popen([*command, *map(str, files[part::associations])], env={**os.environ, **NODELAY})
        for part in range(associations)
    ]
    assert [sender.wait(SENDER_LIMIT) for sender in senders] == [0] * associations


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


def run_all(compared: Sequence[System], runs: int) -> dict[tuple[str, str], list[Run]]:
    """Each case and system, by turns, so that what else the machine does meets all of them."""
    found: dict[tuple[str, str], list[Run]] = {}
    with tempfile.TemporaryDirectory() as name:
        size = make_series(Path(name))
        files = sorted(Path(name).iterdir())
        for turn in range(runs):
            for case, associations in CASES.items():
                for system in compared:
                    done = measure(system, files, associations, size)
                    found.setdefault((case, system.name), []).append(done)
                    print(f"{turn + 1}/{runs} {case:22} {system.name:32} {done.images_per_s:6.0f} images/s", flush=True)
    return found


def report(found: dict[tuple[str, str], list[Run]], command: str, fsyncs: float) -> dict[str, Any]:
    """The document of benchmarks/results; a ratio is always how many times as good RadRelay is."""
    figures = [
        figure(case, name, metric, [getattr(run, metric) for run in done])
        for (case, name), done in found.items()
        for metric in HIGHER_IS_BETTER
    ]
    ours = {(each["case"], each["metric"]): each["median"] for each in figures if each["system"] == "radrelay"}
    ratios = [ratio(each, ours[each["case"], each["metric"]]) for each in figures if each["system"] != "radrelay"]
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
    goal = GOALS.get((peer["case"], peer["system"].split()[0])) if peer["metric"] == "images_per_s" else None
    found = {"case": peer["case"], "against": peer["system"], "metric": peer["metric"], "value": round(value, 2)}
    return found if goal is None else {**found, "goal": goal}


def show(document: dict[str, Any]) -> None:
    """The table, in Markdown."""
    medians = {(each["case"], each["system"], each["metric"]): each["median"] for each in document["figures"]}
    ratios = {(each["case"], each["against"]): each for each in document["ratios"] if each["metric"] == "images_per_s"}
    columns = ("case", "receiver", "images/s", "MB/s", "peak RSS, MB", "RadRelay is so many times as fast", "goal")
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for case, system in dict.fromkeys((case, system) for case, system, _ in medians):
        values = " | ".join(f"{medians[case, system, metric]:.0f}" for metric in HIGHER_IS_BETTER)
        found = ratios.get((case, system), {})
        print(f"| {case} | {system} | {values} | {found.get('value', '')} | {found.get('goal', '')} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each system and case (default: 5)")
    parser.add_argument("--only", default="", help="systems whose names begin so; nothing is written then")
    options = parser.parse_args()
    for tool in ("dcmsend", "storescp"):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is missing: apt-get install dcmtk")
    compared = [system for system in systems() if system.name.startswith(options.only or system.name)]
    with tempfile.TemporaryDirectory() as name:
        fsyncs = fsyncs_per_second(Path(name))
    found = run_all(compared, options.runs)
    if options.only:
        return
    document = report(found, "make bench-ingest", fsyncs)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    show(document)


if __name__ == "__main__":
    main()
