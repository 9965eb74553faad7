"""Real servers for tests: each on free loopback ports, in a private folder, stopped by pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from radrelay_shared.testing import PATIENCE_SECONDS


def free_ports(count: int) -> list[int]:
    """Ports that nobody else is given as long as this process lives; a server that names one listens there.

    They stay bound, for whoever else binds with SO_REUSEADDR, as servers do; until then connections are refused.
    """
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.detach()
    return ports


class Missing(Exception):
    """The server is not installed; the message says how to get it."""


def cannot(reason: object) -> BaseException:
    """A missing server skips on a developer's machine and fails under CI, where nothing may be skipped."""
    ask = f"{reason} (`make test` as root installs it)"
    outcome: BaseException = pytest.fail.Exception(ask) if os.environ.get("CI") else pytest.skip.Exception(ask)
    return outcome


class Server:
    """One child process in its own process group, with its output in `<folder>/<name>.log`."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / f"{name}.log"
        folder.mkdir(parents=True, exist_ok=True)

    def spawn(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Start (or start again) the command; output is appended to the log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=self.folder,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Poll `ready` until it is true; fail with the log's tail if the process ends or time is up."""
        deadline = time.monotonic() + seconds
        while not ready():
            ended = self.process is None or self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                why = "ended" if ended else f"was not ready after {seconds:.0f} s"
                tail = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} {why}; its log ends:\n{tail}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL to the whole group, as a power cut would."""
        self._signal(signal.SIGKILL)

    def stop(self, seconds: float = 15) -> None:
        """SIGTERM, then SIGKILL if it does not end in time."""
        self._signal(signal.SIGTERM, seconds)
        self.kill()

    def _signal(self, number: signal.Signals, seconds: float = 60) -> None:
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, number)
            self.process.wait(seconds)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


def accepts(port: int) -> bool:
    """Whether something listens on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
