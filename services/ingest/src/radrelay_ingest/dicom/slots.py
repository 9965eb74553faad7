"""How many associations there may be at once: in all, and with one peer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Slots:
    def __init__(self, in_all: int, per_peer: int) -> None:
        self.in_all, self.per_peer = in_all, per_peer
        self.changing = threading.Lock()
        self.taken: Counter[str] = Counter()  # by the peer's address

    @contextmanager
    def one_for(self, address: str) -> Iterator[bool]:
        """A slot for as long as the block lasts, or False."""
        with self.changing:
            free = self.taken.total() < self.in_all and self.taken[address] < self.per_peer
            self.taken[address] += free
        try:
            yield free
        finally:
            with self.changing:
                self.taken[address] -= free
                self.taken += Counter()  # keeps those above zero only
