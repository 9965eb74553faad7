"""What the disk must have before anything is acknowledged. All of it blocks, for threads."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from radrelay_shared.errors import NO_ROOM, Full, Unreachable


class Room:
    """Whether a disk has room to spare: no more once less than `reserve` bytes are free, again once `resume` are."""

    def __init__(self, folder: Path, reserve: int, resume: int) -> None:
        self.folder, self.reserve, self.resume = folder, reserve, resume
        self.full = False

    def check(self, size: int = 0) -> None:
        """Raise `Full` while the disk has no room to spare for so many bytes."""
        with translated():
            disk = os.statvfs(self.folder)
        free = disk.f_bavail * disk.f_frsize
        self.full = free < (max(self.reserve, self.resume) if self.full else self.reserve)
        if self.full or free - size < self.reserve:
            raise Full("the spool's disk is at its reserve; sealing makes room, then sending works again")


@contextmanager
def translated() -> Iterator[None]:
    """A disk without room is `Full`: senders come again, and sealing makes room meanwhile."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise Full("the spool's disk is full; sealing makes room, then sending works again") from error
        raise Unreachable(f"the spool's disk fails ({errno.errorcode.get(error.errno or 0, 'EIO')})") from error


sync_content = getattr(os, "fdatasync", os.fsync)  # where there is no lighter one


def begin_to_write(descriptor: int, begin: int, size: int) -> None:
    """Let these bytes be on their way to the disk: Linux begins to write what nobody needs in memory, it is told."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, begin, size, os.POSIX_FADV_DONTNEED)


def write_durably(path: Path, content: bytes) -> None:
    """A new file with this content, on stable storage; its name is so once its folder is synced."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring the names in the folder to stable storage."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
