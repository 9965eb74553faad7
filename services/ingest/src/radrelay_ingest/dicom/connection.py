"""A TCP connection in the hands of one thread, which waits for the peer no longer than it has patience."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

BUFFER = 1 << 18  # bytes: what is read of the peer and not in the spool yet


class Connection:
    def __init__(self, peer: socket.socket, patience: float) -> None:
        self.peer, self.patience = peer, patience
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = memoryview(bytearray(BUFFER))

    def receive(self, until: float | None = None) -> memoryview:
        """What came next, until this is called again; empty at the end.

        Raises `TimeoutError` if nothing comes, or not before the monotonic time `until`.
        """
        left = self.patience if until is None else min(self.patience, until - time.monotonic())
        if left <= 0:
            raise TimeoutError
        self.peer.settimeout(left)
        return self.buffer[: self.peer.recv_into(self.buffer)]

    def send(self, encoded: bytes) -> None:
        """Write; raises `TimeoutError` if the peer does not read."""
        self.peer.settimeout(self.patience)
        self.peer.sendall(encoded)

    def finish(self, encoded: bytes, seconds: float) -> None:
        """Write the last PDU, and give the peer so long to read it and close, whatever else it still sends."""
        until = time.monotonic() + seconds
        with suppress(OSError):
            self.send(encoded)
            while self.receive(until):
                pass

    def cut(self, encoded: bytes) -> None:
        """End it from another thread, with a last PDU if the peer takes one now."""
        with suppress(OSError):
            self.peer.send(encoded, socket.MSG_DONTWAIT)
        with suppress(OSError):
            self.peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.peer.close()
