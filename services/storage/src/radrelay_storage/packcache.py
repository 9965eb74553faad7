"""Packs on this machine's disk, between the object store and whoever reads: bounded, the longest unused go first.

    <folder>/<name>.pack         a pack, named by the hash of its key and of what the manifest says of its instances
    <folder>/<name>.<token>.part one that still comes, or broke off

What an earlier process left is proven again before its first byte is used: a crash, or a disk that forgets, can cost
time but never put a wrong byte into an answer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from radrelay_shared.errors import RadRelayError
from radrelay_shared.packs import PackedSeries
from radrelay_shared.ports import Blobs
from radrelay_storage.copies import Copy
from radrelay_storage.folder import OwnFolder
from radrelay_storage.recent import Recent

log = logging.getLogger("radrelay.storage")

SIDE_BY_SIDE = 8  # packs that come; one piece of each is in memory
OPEN_FILES = 256

Source = Callable[[Copy], Awaitable[None]]  # has the copy take everything


class PackCache:
    """Copies of the packs that were read last, together at most `size` bytes."""

    def __init__(self, blobs: Blobs, folder: Path | None, size: int) -> None:
        self.blobs, self.size, self.folder = blobs, size, OwnFolder(folder)
        self.free = asyncio.Semaphore(SIDE_BY_SIDE)
        self.open: Recent[str, Copy] = Recent(OPEN_FILES)  # by name, as all that follow
        self.lengths: OrderedDict[str, int] = OrderedDict()  # of the files; the longest unused first
        self.proven: set[str] = set()  # by this process; only these are opened without being judged
        self.filling: dict[str, asyncio.Task[None]] = {}
        for path in self.folder.path.glob("*.part"):
            path.unlink()
        for path in sorted(self.folder.path.glob("*.pack"), key=lambda each: each.stat().st_mtime):
            self.lengths[path.stem] = path.stat().st_size

    async def close(self) -> None:
        tasks = list(self.filling.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self.folder.close)

    def copy(self, pack: PackedSeries) -> Copy | None:
        """The pack's copy, as far as it has come: from the first call on it comes. None if there is no room for it."""
        known = self.open.get(pack.fingerprint)
        if known is not None:
            self.lengths.move_to_end(pack.fingerprint)
            return known
        try:
            return self._opened(pack, self._path(pack.fingerprint))
        except OSError as error:
            log.warning("the pack cache cannot be used (%s); packs are read where they are stored", error.strerror)
            return None

    def _opened(self, pack: PackedSeries, path: Path) -> Copy | None:
        name = pack.fingerprint
        if name in self.filling:  # and so many others since that it is not known any more
            return None
        if name in self.lengths and path.exists():
            copy = Copy(pack, os.open(path, os.O_RDWR))
            os.utime(path)
            self.lengths.move_to_end(name)
            if name in self.proven:
                copy.move(pack.length, given_up=True)
            else:
                self._start(copy, path, read_again)
        elif self._make_room(pack.length):
            part = path.with_suffix(f".{secrets.token_hex(4)}.part")
            copy = Copy(pack, os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            self.lengths[name] = pack.length
            self._start(copy, part, self._fetch)
        else:
            return None
        return self.open.keep(name, copy)

    # ── filling ──────────────────────────────────────────────────────────────────────────────────────

    def _start(self, copy: Copy, part: Path, source: Source) -> None:
        self.filling[copy.pack.fingerprint] = asyncio.create_task(self._fill(copy, part, source))

    async def _fill(self, copy: Copy, part: Path, source: Source) -> None:
        """Have all of it, judged, or nothing that outlives those who read it now."""
        try:
            async with self.free:
                await source(copy)
            copy.judge.end()
            await asyncio.to_thread(part.replace, self._path(copy.pack.fingerprint))
            if copy.judge.wrong and part == self._path(copy.pack.fingerprint):  # the object store may have them right
                self._drop(copy.pack.fingerprint, part)
            elif copy.judge.wrong:
                log.error("pack %s: %d instances are not as they were stored", copy.pack.pack, len(copy.judge.wrong))
            else:
                self.proven.add(copy.pack.fingerprint)
        except (RadRelayError, OSError) as error:
            log.warning("pack %s did not come whole (%s)", copy.pack.pack, type(error).__name__)
            self._drop(copy.pack.fingerprint, part)
        finally:
            copy.move(copy.ready, given_up=True)
            del self.filling[copy.pack.fingerprint]

    async def _fetch(self, copy: Copy) -> None:
        """Everything from the object store; a disk without room for all of it says so at once."""
        if copy.pack.length:
            await asyncio.to_thread(os.posix_fallocate, copy.descriptor, 0, copy.pack.length)
        await self.blobs.pour(copy.pack.pack, copy.take, length=copy.pack.length)

    async def forget(self, pack: PackedSeries) -> None:
        """Drop the copy, for the pack is deleted on purpose."""
        if task := self.filling.get(pack.fingerprint):
            await asyncio.wait([task])
        self._drop(pack.fingerprint, self._path(pack.fingerprint))

    # ── the folder ───────────────────────────────────────────────────────────────────────────────────

    def _path(self, name: str) -> Path:
        return self.folder.path / f"{name}.pack"

    def _make_room(self, length: int) -> bool:
        """Drop what was not used for longest until there is room; what still comes stays."""
        total = sum(self.lengths.values()) + length
        for name in [each for each in self.lengths if each not in self.filling] if length <= self.size else ():
            if total > self.size:
                total -= self.lengths[name]
                self._drop(name, self._path(name))
        return total <= self.size

    def _drop(self, name: str, path: Path) -> None:
        """Forget a copy; whoever reads it still has it."""
        self.lengths.pop(name, None)
        self.proven.discard(name)
        self.open.drop(name)
        asyncio.get_running_loop().run_in_executor(None, remove, path)


def remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


async def read_again(copy: Copy) -> None:
    """Judge what is here already."""
    await asyncio.to_thread(copy.take_again)
