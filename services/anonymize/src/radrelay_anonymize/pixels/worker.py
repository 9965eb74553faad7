"""A process of its own that looks at pixels: what hangs or crashes there stops no study, and blocks no event loop."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from radrelay_anonymize.pixels.task import Task, Washed

SECONDS = 300.0  # of one instance, however many frames it has
GRACE = 5.0


class Washer:
    """Takes one task at a time. The process starts with the first one, and again after it had to be ended."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self.process: BaseProcess | None = None
        self.pipe: Connection | None = None
        self.turn = threading.Lock()

    def __call__(self, task: Task) -> Washed:
        """What became of it; blocks, so call it in a thread. Fails closed: a process that hangs or dies is a reason."""
        with self.turn:
            try:
                pipe = self._pipe()
                pipe.send(task)
                if pipe.poll(self.seconds):
                    answer: Washed = pipe.recv()
                    return answer
                reason = "pixels-timeout"
            except (OSError, EOFError):
                reason = "pixels-failed"
            self._end()
            return Washed(reasons=(reason,))

    def close(self) -> None:
        """End the process; whatever it does is done again by who asks next time."""
        self._end()

    def _pipe(self) -> Connection:
        if self.pipe is None:
            spawn = get_context("spawn")  # not fork: this process has threads
            self.pipe, theirs = spawn.Pipe()
            self.process = spawn.Process(target=serve, args=(theirs,), daemon=True, name="pixels")
            self.process.start()
            theirs.close()
        return self.pipe

    def _end(self) -> None:
        pipe, process = self.pipe, self.process
        self.pipe = self.process = None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.kill()
            process.join(GRACE)


def serve(pipe: Connection) -> None:
    """Answer tasks until the other end closes. Silent: decoders written in C speak to standard error, and quote."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's; who started this process ends it
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    from radrelay_anonymize.pixels.clean import washed  # noqa: PLC0415  the engine is loaded here and nowhere else
    from radrelay_anonymize.pixels.eyes import Eyes  # noqa: PLC0415

    eyes = Eyes()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(washed(task, eyes))
