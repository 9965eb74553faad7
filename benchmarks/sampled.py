"""Runs a service's `main` and says which functions its processor time went to: `sampled.py OUT radrelay_x.main`.

From SIGUSR1 on, the process is looked at after each 10 ms of processor time, which are given to the functions on the
stacks of the threads that work at that moment. Unlike cProfile this sees all threads and hardly slows them down.
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
# Innermost functions of threads that wait. What they used before they began to wait cannot be told apart.
WAITING = {
    "concurrent.futures.thread:_worker",
    "selectors:EpollSelector.select",
    "threading:Condition.wait",
    "radrelay_shared.dicom.reading:quietly",
}


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
        looks = []
        for thread in list(threading._active.values()):  # type: ignore[attr-defined]  # noqa: SLF001  enumerate() takes a lock that the interrupted code may hold
            frame = interrupted if thread is threading.main_thread() else frames.get(thread.ident or 0)
            if frame is not None and thread.native_id:
                looks.append((thread.name, self._since(thread.native_id), stack(frame)))
        used = sum(seconds for _, seconds, _ in looks)
        busy = [look for look in looks if look[1] and look[2][0] not in WAITING] or looks
        shares = sum(seconds for _, seconds, _ in busy)
        for name, seconds, functions in busy:
            self._add(name, used * seconds / shares if shares else 0.0, functions)

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
