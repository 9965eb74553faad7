"""One pack on this machine's disk, read while it still comes: no byte of an instance before its hash is proven."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import weakref
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from radrelay_shared.packs import PackedInstance, PackedSeries
from radrelay_storage.judging import Judge

Bytes = bytes | memoryview

PIECE = 1 << 20
NO_WAIT = getattr(os, "RWF_NOWAIT", 0)  # Linux: only what is in memory


class Copy:
    """A pack's file, open for as long as anyone reads it, even once the file has lost its name."""

    def __init__(self, pack: PackedSeries, descriptor: int) -> None:
        self.pack, self.descriptor = pack, descriptor
        self.ready = 0  # up to which byte every instance was judged
        self.judge = Judge(pack.instances)
        self.loop = asyncio.get_running_loop()
        self.given_up = False
        self._moved = asyncio.Event()
        weakref.finalize(self, os.close, descriptor)

    # ── while it comes ───────────────────────────────────────────────────────────────────────────────

    def take(self, piece: bytes) -> None:
        """Keep the next piece and judge it, in the thread that reads it; raises `OSError` once it is not wanted."""
        if os.pwrite(self.descriptor, piece, self.judge.here) < len(piece):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._judge(piece)

    def take_again(self) -> None:
        """Judge the bytes that the file has. Blocks: call it in a thread."""
        while piece := os.pread(self.descriptor, PIECE, self.judge.here):
            self._judge(piece)

    def _judge(self, piece: bytes) -> None:
        if self.given_up:
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
        ready = self.judge.take(piece)
        if ready > self.ready:
            self.loop.call_soon_threadsafe(self.move, ready)

    def move(self, ready: int, *, given_up: bool = False) -> None:
        """Tell whoever waits how far it has come."""
        self.ready, self.given_up = ready, given_up
        self._moved.set()
        self._moved = asyncio.Event()

    async def reached(self, instance: PackedInstance) -> None:
        """Return once the instance was judged, or nothing more comes."""
        while self.ready < instance.offset + instance.length and not self.given_up:
            await self._moved.wait()

    def proves(self, instance: PackedInstance) -> bool:
        """Whether the instance is here and as it was stored."""
        return instance.offset + instance.length <= self.ready and instance.offset not in self.judge.wrong

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────

    def at_hand(self, offset: int, length: int, head: bytes = b"", tail: bytes = b"") -> memoryview | None:
        """These bytes between head and tail, if they are in memory and no disk has to be waited for."""
        room: Any = np.empty(len(head) + length + len(tail), np.uint8)  # a bytearray would be cleared first
        whole = memoryview(room)
        try:
            found = os.preadv(self.descriptor, [whole[len(head) : len(head) + length]], offset, NO_WAIT)
        except OSError:  # not in memory, or a file system that cannot tell
            return None
        whole[: len(head)], whole[len(head) + length :] = head, tail
        return whole if found == length else None

    async def read(self, offset: int, length: int, head: bytes = b"") -> Bytes:
        found = self.at_hand(offset, length, head)
        return head + await asyncio.to_thread(os.pread, self.descriptor, length, offset) if found is None else found


class Window(io.RawIOBase):
    """A run of a copy as a seekable file."""

    name = ""  # pydicom asks

    def __init__(self, copy: Copy, start: int, length: int) -> None:
        self.copy, self.start, self.length, self.here = copy, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.here, os.SEEK_END: self.length}[whence]
        self.here = max(0, base + offset)
        return self.here

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(len(buffer), self.length - self.here))
        view = memoryview(buffer)[:wanted]
        got = os.preadv(self.copy.descriptor, [view], self.start + self.here) if wanted else 0
        self.here += got
        return got


class CopiedInstance(io.BufferedReader):
    """An instance in a copy as a file of its own."""

    def __init__(self, copy: Copy, instance: PackedInstance) -> None:
        super().__init__(Window(copy, instance.offset, instance.length))
        self.copy, self.instance = copy, instance

    async def pieces(self, span: range, head: bytes) -> AsyncIterator[Bytes]:
        """The head and these bytes of it; the head in one piece with the first of them, for each piece is a send."""
        for run in runs(span):
            yield await self.copy.read(self.instance.offset + run.start, len(run), head)
            head = b""


def runs(span: range) -> list[range]:
    """At least one, each of at most 1 MiB."""
    return [span[here : here + PIECE] for here in range(0, max(len(span), 1), PIECE)]
