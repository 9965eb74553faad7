"""SecantusDB: MongoDB's wire protocol over WiredTiger, at test time only.

It is GPL, so it is never imported here: it runs as a process of its own, behind its socket.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

from servers import Missing, Server, accepts, free_ports

# Standalone, because RadRelay needs no replica set. Every commit is synced, because RadRelay asks for
# `j: true` and SecantusDB would otherwise acknowledge from memory what a SIGKILL then loses.
OPTIONS = ("--host=127.0.0.1", "--standalone", "--sync-on-commit", "--cache-size=128M", "--log-level=WARNING")


class SecantusDB(Server):
    """One server on one port and one data folder; both stay the same over `kill` and `start`."""

    def __init__(self, folder: Path) -> None:
        self.command = Path(sysconfig.get_path("scripts")) / "secantusd-py"
        if not self.command.exists():
            raise Missing("SecantusDB is not installed: `uv sync --group servers`")
        super().__init__("secantusdb", folder)
        (self.port,) = free_ports(1)

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen on the port, with the data of the last run."""
        place = [f"--port={self.port}", f"--storage-path={self.folder / 'data'}"]
        self.spawn([str(self.command), *OPTIONS, *place])
        self.wait_until(lambda: accepts(self.port))
