"""Runs a service's `main` and says which functions its processor time went to: `sampled.py OUT radrelay_x.main`.

Every 5 ms, each thread's processor time since the last look is given to the functions then on its stack. Unlike
cProfile it sees all threads and slows none of them down much; waiting costs nothing and is not counted.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from types import FrameType

INTERVAL = 0.005
MOST = 200  # rows of a table


class Sampler(threading.Thread):
    """`own` is time at the top of a stack, `within` anywhere on it; both in seconds by function."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.own: defaultdict[str, float] = defaultdict(float)
        self.within: defaultdict[str, float] = defaultdict(float)
        self.threads: defaultdict[str, float] = defaultdict(float)
        self.clocks: dict[int, float] = {}

    def run(self) -> None:
        while True:
            time.sleep(INTERVAL)
            frames = sys._current_frames()  # noqa: SLF001  there is no other way to see all threads
            for thread in threading.enumerate():
                if thread is not self and thread.ident in frames and thread.native_id:
                    self._add(thread.name, self._since(thread.native_id), stack(frames[thread.ident]))

    def _since(self, thread: int) -> float:
        """Processor time of the thread since the last look; /proc/<pid>/schedstat begins with it (proc(5))."""
        try:
            now = int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[0]) / 1e9
        except OSError:  # it ended this moment
            return 0.0
        before = self.clocks.get(thread, now)
        self.clocks[thread] = now
        return now - before

    def _add(self, thread: str, seconds: float, functions: list[str]) -> None:
        self.threads[thread.rstrip("0123456789_-")] += seconds
        self.own[functions[0]] += seconds
        for function in set(functions):
            self.within[function] += seconds

    def write(self, file: Path) -> None:
        tables = {"threads": self.threads, "own": self.own, "within": self.within}
        file.write_text(json.dumps({name: most(table) for name, table in tables.items()}))


def most(table: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(table.items(), key=lambda row: -row[1])[:MOST]


def stack(frame: FrameType | None) -> list[str]:
    """The functions on a stack, innermost first."""
    found = []
    while frame is not None:
        found.append(f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}")
        frame = frame.f_back
    return found


def main() -> None:
    out, module = Path(sys.argv[1]), sys.argv[2]
    service = import_module(module)  # what imports cost is no part of the profile
    sampler = Sampler()
    sampler.start()
    try:
        service.main()
    finally:
        sampler.write(out)


if __name__ == "__main__":
    main()
