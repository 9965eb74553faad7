"""What was used last, kept in memory up to a bound."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values used last, together at most `size` heavy; each weighs 1 unless its keeper says more."""

    def __init__(self, size: int) -> None:
        self.size, self.weight = size, 0
        self.values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        if key not in self.values:
            return None
        self.values.move_to_end(key)
        return self.values[key][0]

    def forget(self) -> None:
        self.values.clear()
        self.weight = 0

    def drop(self, key: K) -> None:
        _, weight = self.values.pop(key, (None, 0))
        self.weight -= weight

    def keep(self, key: K, value: V, weight: int = 1) -> V:
        """Remember the value, and forget those not used for longest; returns it, kept or too heavy to be."""
        _, before = self.values.pop(key, (value, 0))
        self.weight -= before
        if weight > self.size:
            return value
        self.values[key] = value, weight
        self.weight += weight
        while self.weight > self.size:
            _, (_, lighter) = self.values.popitem(last=False)
            self.weight -= lighter
        return value
