"""A process of its own that looks at pixels: what hangs or crashes there stops no study, and blocks no event loop."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from radrelay_anonymize.pixels.task import Task, Washed
from radrelay_shared.errors import Retryable

SECONDS = 300.0  # of one instance, however many frames it has
IDLE_SECONDS = 600.0  # then the process ends, and gives its memory back
ATTEMPTS = 2  # it may have been killed for want of memory that others took
GRACE = 5.0


class Washer:
    """Takes one task at a time. The process starts with the first one, and again after it ended."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self.process: subprocess.Popen[bytes] | None = None
        self.pipe: Connection | None = None
        self.turn = threading.Lock()
        self.closed = False

    def __call__(self, task: Task) -> Washed:
        """What became of it; blocks, so call it in a thread. A process that hangs, or dies twice, is a reason.

        Raises `Retryable` once this is closed: nothing was found out about the task then.
        """
        with self.turn:
            for _ in range(ATTEMPTS):
                try:
                    return self._asked(task)
                except (OSError, EOFError):
                    self._end()
                except BaseException:
                    self._end()  # or the answer to this task would be taken for the next one's
                    raise
            return Washed(reasons=("pixels-failed",))

    def close(self) -> None:
        """End the process; whoever waits for it, or comes later, is told to try again elsewhere."""
        self.closed = True
        if self.process is not None:
            self.process.kill()  # wakes whoever waits
        with self.turn:
            self._end()

    def _asked(self, task: Task) -> Washed:
        process, pipe = self._running()
        with _deadline(process, self.seconds) as late:
            try:
                pipe.send(task)  # blocks, too, where nobody takes it
                answer: Washed = pipe.recv()
            except (OSError, EOFError):
                if not late.is_set():
                    raise
                self._end()
                return Washed(reasons=("pixels-timeout",))
            return answer

    def _running(self) -> tuple[subprocess.Popen[bytes], Connection]:
        if self.process is None or self.pipe is None:
            self.pipe, theirs = Pipe()
            with theirs:
                self.process = started(theirs.fileno())
        if self.closed:
            raise Retryable("this service is on its way down: the pixels are looked at when it is back")
        return self.process, self.pipe

    def _end(self) -> None:
        pipe, process = self.pipe, self.process
        self.pipe = self.process = None
        if process is not None:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        if pipe is not None:
            pipe.close()


@contextmanager
def _deadline(process: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    """Kill the process if this takes longer, which wakes whoever waits for it; the event tells that it was so."""
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def started(descriptor: int) -> subprocess.Popen[bytes]:
    """This module as a process that answers on the descriptor.

    Not forked, for this process has threads, nor by `multiprocessing`, whose child imports all of a service as the
    parent's main module. Silent, for decoders written in C speak to standard error, and quote.
    """
    command = [sys.executable, "-P", "-m", "radrelay_anonymize.pixels.worker", str(descriptor)]
    none = subprocess.DEVNULL
    return subprocess.Popen(  # noqa: S603  this very module
        command, stdin=none, stdout=none, stderr=none, pass_fds=[descriptor]
    )


def serve(pipe: Connection) -> None:
    """Answer tasks until the other end closes, or nobody asks any more."""
    for each in (signal.SIGINT, signal.SIGTERM):  # a terminal's or a supervisor's; who started this process ends it
        signal.signal(each, signal.SIG_IGN)
    with suppress(OSError):  # if memory runs out, this process goes, and not the service that can start it again
        Path("/proc/self/oom_score_adj").write_text("1000")
    from radrelay_anonymize.pixels.clean import washed  # noqa: PLC0415  the engine is loaded here and nowhere else
    from radrelay_anonymize.pixels.eyes import Eyes  # noqa: PLC0415  as above

    eyes = Eyes()
    with suppress(EOFError, BrokenPipeError):
        while pipe.poll(IDLE_SECONDS):
            pipe.send(washed(pipe.recv(), eyes))


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
