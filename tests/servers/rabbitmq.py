"""Debian's `rabbitmq-server` without systemd: on loopback, with a random user, private data and its own epmd."""

from __future__ import annotations

import secrets
import shutil
import time
from pathlib import Path

from servers import Missing, Server, accepts, free_ports

BROKER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the wrapper in /usr/sbin insists on the user rabbitmq

CONFIG = """\
listeners.tcp.1 = 127.0.0.1:{port}
default_user = {user}
default_pass = {password}
raft.wal_max_size_bytes = 33554432
"""

# Loopback distribution, and no busy waiting: the machine is shared with the tests themselves.
ERLANG = "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"


class RabbitMQ(Server):
    """One broker node; `start` after `kill` or `stop` brings back the same port, user and data."""

    def __init__(self, folder: Path) -> None:
        epmd = shutil.which("epmd")
        if not BROKER.exists() or epmd is None:
            raise Missing("RabbitMQ is not installed: apt-get install rabbitmq-server")
        super().__init__("rabbitmq", folder)
        self.port, self.dist_port, self.epmd_port = free_ports(3)
        self.user, self.password = secrets.token_hex(8), secrets.token_hex(16)
        self._epmd = Server("epmd", folder)  # of our own, or Erlang would start one that outlives the test
        self._epmd_command = [epmd, "-port", str(self.epmd_port), "-address", "127.0.0.1"]
        self._write(".erlang.cookie", secrets.token_hex(20))
        self._write("rabbitmq.conf", CONFIG.format(port=self.port, user=self.user, password=self.password))
        self._write("enabled_plugins", "[].\n")

    @property
    def url(self) -> str:
        return f"amqp://{self.user}:{self.password}@127.0.0.1:{self.port}/"

    @property
    def environment(self) -> dict[str, str]:
        """What the broker needs, and what `rabbitmqctl` needs to talk to it."""
        return {
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.folder / "generated"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
        }

    def start(self) -> None:
        """Return once the broker accepts connections, about 10 s on a quiet machine."""
        if not accepts(self.epmd_port):
            self._epmd.spawn(self._epmd_command)
            self._epmd.wait_until(lambda: accepts(self.epmd_port))
        self.spawn([str(BROKER)], self.environment)
        self.wait_until(lambda: accepts(self.port))

    def settle(self) -> None:
        """Return once every queue would outlive a `kill`.

        RabbitMQ 3.10 writes the names of new quorum queues into a file up to 3 s after they were declared (more on a
        slow machine): killed before that, it comes back with queues that nobody can consume.
        """
        self.wait_until(self._knows_its_queues)

    def _knows_its_queues(self) -> bool:
        [quorum] = (self.folder / "data").glob("*/quorum/*")
        known = (quorum / "names.dets").read_bytes()
        return all(queue.name.encode() in known for queue in quorum.iterdir() if queue.is_dir())

    def kill(self) -> None:
        """SIGKILL; return once the ports are free, for Erlang takes a moment to die after its shell."""
        super().kill()
        deadline = time.monotonic() + 60
        while (accepts(self.port) or accepts(self.dist_port)) and time.monotonic() < deadline:
            time.sleep(0.05)

    def stop(self, seconds: float = 15) -> None:
        super().stop(seconds)
        self._epmd.stop()

    def _write(self, name: str, text: str) -> None:
        """Secrets are for the owner's eyes only; Erlang insists on that for its cookie."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
