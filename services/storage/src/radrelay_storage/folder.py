"""A folder that one process has to itself."""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from pathlib import Path

log = logging.getLogger("radrelay.storage")


class OwnFolder:
    """The wanted folder, locked; a temporary one if none is wanted or another process has it. Close it."""

    def __init__(self, wanted: Path | None) -> None:
        self.lock = locked(wanted) if wanted else None
        self.temporary = None
        if wanted is None or self.lock is None:
            self.temporary = tempfile.TemporaryDirectory(prefix="radrelay-", ignore_cleanup_errors=True)
            wanted = Path(self.temporary.name)
        self.path = wanted

    def close(self) -> None:
        if self.lock is not None:
            os.close(self.lock)
        if self.temporary is not None:
            self.temporary.cleanup()


def locked(folder: Path) -> int | None:
    """The folder's lock, as long as it stays open; None if another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        log.warning("another process has the folder of the pack cache; this one uses a temporary folder")
        return None
    return lock
