"""Results in order, while the next ones are already being made."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def in_order(
    make: Callable[[A], Awaitable[B]], arguments: Iterable[A], side_by_side: int
) -> AsyncGenerator[tuple[A, B]]:
    """Each argument with what was made of it. Close it, so that what is under way ends with it."""
    coming: deque[tuple[A, asyncio.Future[B]]] = deque()
    try:
        for argument in arguments:
            coming.append((argument, asyncio.ensure_future(make(argument))))
            if len(coming) == side_by_side:
                first, made = coming.popleft()
                yield first, await made
        while coming:
            first, made = coming.popleft()
            yield first, await made
    finally:
        for _, made in coming:
            made.cancel()
        await asyncio.gather(*(made for _, made in coming), return_exceptions=True)
