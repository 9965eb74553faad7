"""How both readers bound what they remember."""

from __future__ import annotations

from typing import TypeVar

MOST_REMEMBERED = 4096

K = TypeVar("K")
V = TypeVar("V")


def remember(memory: dict[K, V], key: K, value: V, most: int = MOST_REMEMBERED) -> None:
    """Until there is too much of it: then all is forgotten, for what is new comes again sooner than what is old."""
    if len(memory) >= most:
        memory.clear()
    memory[key] = value
