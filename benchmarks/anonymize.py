"""`make bench-anonymize`: how fast RadRelay and its peers de-identify one CT series, and what each of them leaks.

300 slices of 0.5 MB hold a canary in every place where identity is found (`anonymize_input`); a leak is a canary that
is found in the raw bytes of a copy. One process each. Seconds are of the processor, for the goals are per core and the
machine may be shared; ratios compare medians of rounds in which every system had its turn. Memory is what the largest
process took at most while a cine of 2 GB went through the product (`anonymize_memory`).
"""

from __future__ import annotations

import gc
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.anonymize_input import Canaries, enhanced, series
from benchmarks.figures import RESULTS, machine
from radrelay_anonymize.domain import Context, Quarantined, Released, Words, release
from radrelay_anonymize.domain.part10 import parsed
from radrelay_anonymize.domain.pieces import Data
from radrelay_anonymize.domain.rewriter import Rewritten, rewritten
from radrelay_anonymize.files import content_of, written
from radrelay_anonymize.pixels import without_identity
from radrelay_anonymize.pixels.worker import Washer

HERE = Path(__file__).parent
SLICES, ROUNDS = 300, 3
FEW = 60  # slices, for those that need more than ten milliseconds for one
FRAMES, HEADERS = 300, 20
CINE = 2 << 30  # bytes
LIMIT = 120  # seconds for one system's turn
CASE, HEADER_CASE, CINE_CASE = "ct-300", "enhanced-ct-300-frames", "xa-2-gb"
VERIFIED, UNVERIFIED = "radrelay", "radrelay, not verified"
PACKAGES = {
    "dicognito": "dicognito==0.19.0",
    "dicom-anonymizer": "dicom-anonymizer==2.1.0",
    "deid": "deid==0.4.13",
    "dcmanon": "dcmanon==0.3.1",
    "fw-file-rs": "fw-file-rs==0.9.1",
}
CONTEXT = Context(secret=b"tenant secret of this benchmark", pseudonym="RR-ABCDEFGHIJ", date_shift=-70, words=Words())

# Against what, how many times as good as that RadRelay has to be. Leaks have one goal: none.
GOALS = {
    "read+write": 0.4,
    "1,000 files/s": 1.0,
    "300 files/s, verified": 1.0,
    "20 ms for the header": 1.0,
    "200 MB for a cine": 1.0,
}


@dataclass(frozen=True)
class Turn:
    """What one system did with the files in one round; seconds of the processor."""

    files: int
    seconds: float
    leaks: frozenset[str]

    @property
    def speed(self) -> float:
        return self.files / self.seconds


def main() -> None:
    turns: dict[str, list[Turn]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, few = folder / "in", folder / "few"
        source.mkdir()
        few.mkdir()
        canaries = series(source, SLICES)
        for file in sorted(source.iterdir())[:FEW]:
            shutil.copy(file, few)
        verified(next(few.iterdir()), folder / "warm.dcm")
        gc.freeze()  # as every service does: what its start made is left to itself by the collector
        for _ in range(ROUNDS):
            for system, seconds in systems(source, few, folder / "out"):
                outputs = sorted((folder / "out").rglob("*.dcm"))
                leaks = frozenset[str]().union(*(canaries.leaks(each.read_bytes()) for each in outputs[:FEW]))
                turns[system].append(Turn(len(outputs), seconds, leaks))
                print(f"{system}: {len(outputs)} files, {len(outputs) / seconds:.0f}/s", file=sys.stderr)
        headers = header_milliseconds(folder / "enhanced.dcm")
    memory = {way: most_memory(way) for way in ("service", "folder")}
    show(turns, headers, memory, canaries)
    write(turns, headers, memory)


# ── systems ──────────────────────────────────────────────────────────────────────────────────────────


def systems(source: Path, few: Path, out: Path) -> Iterator[tuple[str, float]]:
    """Each system in turn: its name, and its seconds once its copies lie in `out`."""
    runs: dict[str, Callable[[], float | None]] = {
        "read+write": partial(peer, "read+write", source, out),
        UNVERIFIED: partial(radrelay, source, out, quick),
        VERIFIED: partial(radrelay, source, out, verified),
        **{name: partial(peer, name, few, out) for name in PACKAGES},
        "gdcmanon 3.0.21": partial(gdcmanon, source, out),
    }
    for system, run in runs.items():
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        seconds = run()
        if seconds is not None:
            yield system, seconds


def radrelay(source: Path, out: Path, copy: Callable[[Path, Path], None]) -> float:
    files = sorted(source.iterdir())
    started = time.process_time()
    for file in files:
        copy(file, out / file.name)
    return time.process_time() - started


def quick(source: Path, target: Path) -> None:
    written(copy_of(content_of(source)).output, target)


def verified(source: Path, target: Path) -> None:
    outcome = release(content_of(source), CONTEXT)
    if isinstance(outcome, Released):
        outcome = without_identity(outcome, CONTEXT, Washer())  # CT needs no look, and the process is not started
    assert isinstance(outcome, Released), outcome
    written(outcome.output, target)


def copy_of(data: Data) -> Rewritten:
    instance = parsed(data)
    assert instance is not None
    outcome = rewritten(instance, CONTEXT)
    assert not isinstance(outcome, Quarantined), outcome
    return outcome


def peer(name: str, source: Path, out: Path) -> float | None:
    """In an environment that uv makes for it; None where that cannot be had."""
    python = [sys.executable]
    if name in PACKAGES:
        isolated = [
            "run",
            "--no-project",
            "--isolated",
            "--quiet",
            "--python",
            sys.executable,
            "--with",
            PACKAGES[name],
        ]
        python = [str(HERE.parent / ".uv/bin/uv"), *isolated, "python"]
    command = [*python, str(HERE / "anonymize_peers.py"), name, str(source), str(out)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    return float(json.loads(found.stdout.splitlines()[-1])["cpu"]) if found.returncode == 0 else None


def gdcmanon(source: Path, out: Path) -> float | None:
    """PS3.15 Basic Profile of 2008, as Debian's libgdcm-tools has it; None without it."""
    if not shutil.which("gdcmanon") or not shutil.which("openssl"):
        return None
    key, certificate = out.parent / "key.pem", out.parent / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bench", "-days", "1"]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=LIMIT)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [
        "gdcmanon",
        "--de-identify",
        "--recursive",
        "--certificate",
        str(certificate),
        "-i",
        str(source),
        "-o",
        str(out),
    ]
    found = subprocess.run(command, capture_output=True, check=False, timeout=LIMIT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime if found.returncode == 0 else None


def header_milliseconds(file: Path) -> list[float]:
    """What an enhanced CT's header of 300 frames takes, each time."""
    enhanced(file, FRAMES)
    data = file.read_bytes()
    moments = [time.process_time()]
    for _ in range(HEADERS):
        copy_of(data)
        moments.append(time.process_time())
    return [(after - before) * 1000 for before, after in pairwise(moments)]


def most_memory(way: str) -> float:
    """MB that the largest process took."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "benchmarks.anonymize_memory", way, str(CINE), name]
        found = subprocess.run(command, capture_output=True, text=True, timeout=10 * LIMIT, check=True, cwd=HERE.parent)
        return float(json.loads(found.stdout)["mb"])


# ── results ──────────────────────────────────────────────────────────────────────────────────────────


def show(turns: dict[str, list[Turn]], headers: list[float], memory: dict[str, float], canaries: Canaries) -> None:
    print(f"{'':24} {'files per s of one core':>36} {'leaks of':>9} {len(canaries.places)}")
    for system, each in turns.items():
        speeds = [turn.speed for turn in each]
        spread = f"{median(speeds):.0f} ({min(speeds):.0f} to {max(speeds):.0f})"
        print(f"{system:24} {spread:>36} {'-' if system == 'read+write' else len(each[0].leaks):>9}")
    print(f"header of {FRAMES} enhanced frames: {median(headers):.1f} ms")
    print("memory for a cine of 2 GB:", ", ".join(f"{way} {most:.0f} MB" for way, most in memory.items()))
    print("radrelay leaks", sorted(turns[VERIFIED][0].leaks) or "nothing")


def write(turns: dict[str, list[Turn]], headers: list[float], memory: dict[str, float]) -> None:
    figures = [
        *(figure(CASE, system, "files_per_cpu_s", [turn.speed for turn in each]) for system, each in turns.items()),
        *(figure(CASE, system, "leaks", [len(turn.leaks) for turn in each]) for system, each in turns.items()),
        figure(HEADER_CASE, UNVERIFIED, "cpu_ms", headers),
        *(figure(CINE_CASE, f"{VERIFIED}, {way}", "most_mb", [most]) for way, most in memory.items()),
    ]
    content = {
        "bench": "anonymize",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "command": "make bench-anonymize",
        "figures": figures,
        "ratios": [
            {"case": case, "against": against, "metric": metric, "value": float(f"{value:.3g}"), "goal": GOALS[against]}
            for case, against, metric, value in compared(turns, headers, memory)
        ],
    }
    (RESULTS / "anonymize.json").write_text(json.dumps(content, indent=1) + "\n")


def figure(case: str, system: str, metric: str, values: Sequence[float]) -> dict[str, Any]:
    low, middle, high = (float(f"{each:.4g}") for each in (min(values), median(values), max(values)))
    rest = {"median": middle, "min": low, "max": high, "runs": len(values)}
    return {"case": case, "system": system, "metric": metric, **rest}


def compared(
    turns: dict[str, list[Turn]], headers: list[float], memory: dict[str, float]
) -> Iterator[tuple[str, str, str, float]]:
    """Case, against what, metric, and how many times as good RadRelay is."""
    speeds = {system: median(turn.speed for turn in each) for system, each in turns.items()}
    yield CASE, "read+write", "files_per_cpu_s", speeds[UNVERIFIED] / speeds["read+write"]
    yield CASE, "1,000 files/s", "files_per_cpu_s", speeds[UNVERIFIED] / 1000
    yield CASE, "300 files/s, verified", "files_per_cpu_s", speeds[VERIFIED] / 300
    yield HEADER_CASE, "20 ms for the header", "cpu_ms", 20 / median(headers)
    yield CINE_CASE, "200 MB for a cine", "most_mb", 200 / max(memory.values())


if __name__ == "__main__":
    main()
