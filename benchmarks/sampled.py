"""Runs a service's `main` and says which functions its processor time went to: `sampled.py OUT radrelay_x.main`.

From SIGUSR1 on, for each 10 ms of processor time that the process has used, each thread's share is given to the
functions on its stack at that moment. Unlike cProfile this sees all threads and hardly slows them down.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections import defaultdict
from importlib import import_module
from pathlib import Path
from types import FrameType

INTERVAL = 0.01
MOST = 200  # rows of a table


class Sampler:
    """`own` is time at the top of a stack, `within` anywhere on it; seconds by function, `threads` by name."""

    def __init__(self) -> None:
        self.own: defaultdict[str, float] = defaultdict(float)
        self.within: defaultdict[str, float] = defaultdict(float)
        self.threads: defaultdict[str, float] = defaultdict(float)
        self.clocks: dict[int, float] = {}
        signal.signal(signal.SIGPROF, self._look)
        signal.signal(signal.SIGUSR1, lambda *_: signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL))

    def _look(self, _: int, interrupted: FrameType | None) -> None:
        frames = sys._current_frames()  # noqa: SLF001  there is no other way to see all threads
        for thread in threading.enumerate():
            frame = interrupted if thread is threading.main_thread() else frames.get(thread.ident or 0)
            if frame is not None and thread.native_id:
                self._add(thread.name, self._since(thread.native_id), stack(frame))

    def _since(self, thread: int) -> float:
        """Processor time of the thread since the last look; its schedstat begins with it (proc(5))."""
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
        signal.setitimer(signal.ITIMER_PROF, 0)
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
    sampler = Sampler()
    try:
        import_module(module).main()
    finally:
        sampler.write(out)


if __name__ == "__main__":
    main()
