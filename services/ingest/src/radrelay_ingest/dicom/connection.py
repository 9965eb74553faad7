"""A TCP connection as chunks in a few buffers of its own: what is read ahead of the disk is bounded by them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

BUFFERS, BUFFER = 4, 1 << 18  # of one connection


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes as they came; their buffer is used again once they are released."""

    buffer: memoryview
    size: int

    @property
    def content(self) -> memoryview:
        return self.buffer[: self.size]


class Connection(asyncio.BufferedProtocol):
    """Reads straight into its buffers, and not at all while none of them is free."""

    transport: asyncio.Transport

    def __init__(self, opened: Callable[[Connection], None]) -> None:
        self.opened = opened
        self.free: list[memoryview | None] = [None] * BUFFERS  # made when they are needed; used last, used first
        self.filling: memoryview | None = None
        self.arrived: deque[Chunk] = deque()
        self.news = asyncio.Event()  # a chunk, or the end
        self.writable, self.closed = asyncio.Event(), asyncio.Event()
        self.ignoring = False

    # ── what asyncio calls ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # TCP's is one; asyncio and uvloop set TCP_NODELAY
        self.writable.set()
        self.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  asyncio's signature
        if self.filling is None:
            self.filling = self.free.pop() or memoryview(bytearray(BUFFER))
        return self.filling

    def buffer_updated(self, nbytes: int) -> None:
        if self.ignoring:
            return
        self.arrived.append(Chunk(self.get_buffer(0), nbytes))
        self.filling = None
        if not self.free:
            self.transport.pause_reading()
        self.news.set()

    def eof_received(self) -> bool:
        return False  # closes

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  why does not matter
        self.closed.set()
        self.writable.set()
        self.news.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    # ── what an association calls ──

    async def receive(self) -> Chunk | None:
        """The next chunk, to be released; None at the end."""
        while not self.arrived:
            if self.closed.is_set():
                return None
            self.news.clear()
            await self.news.wait()
        return self.arrived.popleft()

    def release(self, chunk: Chunk) -> None:
        self.free.append(chunk.buffer)
        if not self.transport.is_closing():
            self.transport.resume_reading()

    async def send(self, encoded: bytes) -> None:
        """Write; waits while the peer does not read what it was sent before."""
        self.transport.write(encoded)
        await self.writable.wait()

    async def finish(self, encoded: bytes, seconds: float) -> None:
        """Write the last PDU, and give the peer so long to read it and close, whatever else it still sends."""
        self.ignoring = True
        self.transport.write(encoded)
        while self.arrived:
            self.release(self.arrived.popleft())
        try:
            async with asyncio.timeout(seconds):
                await self.closed.wait()
        except TimeoutError:
            self.transport.abort()
