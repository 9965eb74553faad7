"""A TCP connection in the hands of one thread, whose patience with the peer has an end."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BUFFER = 1 << 18  # bytes: all that is read of the peer before it goes to the spool


class Connection:
    def __init__(self, peer: socket.socket, address: str, patience: float, tls: ssl.SSLContext | None = None) -> None:
        self.peer, self.address, self.patience, self.tls = peer, address, patience, tls
        self.deadline: float | None = None  # of the monotonic clock, for all that is received
        self.buffer = memoryview(bytearray(BUFFER))
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.settimeout(patience)

    def secure(self) -> None:
        """Begin TLS, where it is spoken; raises `ConnectionError` if it cannot be agreed on."""
        if self.tls is None:
            return
        try:
            self.peer = self.tls.wrap_socket(self.peer, server_side=True)
        except ssl.SSLError as error:
            raise ConnectionError(f"TLS cannot be agreed on: {error.reason}") from error

    def receive(self) -> memoryview:
        """What came, good until the next call; empty at the end. Raises `TimeoutError` if nothing comes in time."""
        if self.deadline is not None:
            self._wait_until(self.deadline)
        return self.buffer[: self.peer.recv_into(self.buffer)]

    def _wait_until(self, deadline: float) -> None:
        left = min(self.patience, deadline - time.monotonic())
        if left <= 0:
            raise TimeoutError
        self.peer.settimeout(left)

    def send(self, encoded: bytes) -> None:
        """Write; raises `TimeoutError` if the peer does not read what it was sent."""
        self.peer.sendall(encoded)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """All that is received in this block comes within so many seconds."""
        self.deadline = time.monotonic() + seconds
        self._wait_until(self.deadline)
        yield
        self.deadline = None
        self.peer.settimeout(self.patience)

    def finish(self, encoded: bytes, seconds: float) -> None:
        """Write the last PDU, and give the peer so long to read it and close, whatever else it still sends."""
        with suppress(OSError), self.within(seconds):
            self.send(encoded)
            while self.receive():
                pass

    def cut(self, encoded: bytes) -> None:
        """End it from another thread: the one that works with it is told that the peer is gone."""
        with suppress(OSError):
            if self.tls is None:  # a TLS connection is not written from two threads
                self.peer.send(encoded, socket.MSG_DONTWAIT)
        with suppress(OSError):
            self.peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.peer.close()
