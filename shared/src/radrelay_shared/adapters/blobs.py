"""What every `Blobs` adapter shares: which keys and ranges are valid, and bytes in pieces of one size."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import Executor
from itertools import islice
from typing import TypeVar

from radrelay_shared.errors import Invalid

PIECE = 1 << 20  # what `stream` yields at most

_KEY = re.compile(r"[a-z0-9][a-z0-9._/-]{0,511}")
_SEGMENT = 250  # file systems and MinIO stop at 255 bytes
_PAGE = 500  # listed objects per hop to a thread

T = TypeVar("T")


def check_key(key: str) -> None:
    """Raise `Invalid` unless the key is one of the port's, in segments that every file system can name."""
    segments = key.split("/")
    odd = any(segment in {"", "."} or len(segment) > _SEGMENT for segment in segments)
    if odd or ".." in key or not _KEY.fullmatch(key):
        raise Invalid("a blob key is lower-case ASCII like study/000001/0001.pack; this one is not")


def check_prefix(prefix: str) -> str:
    """The folder in which the keys under the prefix begin, "" for all; raise `Invalid` if no key could."""
    folder = prefix.rpartition("/")[0]
    if folder:
        check_key(folder)
    return folder


def check_range(start: int, length: int | None) -> None:
    """Raise `Invalid` for a range that begins before the object or has less than no bytes."""
    if start < 0 or (length is not None and length < 0):
        raise Invalid(f"a range of {length} bytes from {start} is none")


async def blocks(source: bytes | AsyncIterator[bytes], size: int) -> AsyncGenerator[bytes]:
    """The source in blocks of exactly `size` bytes, the last one shorter; an empty source has none."""
    if isinstance(source, bytes):
        for start in range(0, len(source), size):
            yield source[start : start + size]
        return
    waiting = bytearray()
    async for piece in source:
        waiting += piece
        while len(waiting) >= size:
            yield _cut(waiting, size)
    if waiting:
        yield bytes(waiting)


def _cut(waiting: bytearray, size: int) -> bytes:
    """The first `size` bytes, which are then held once, by the caller."""
    with memoryview(waiting) as view:
        block = bytes(view[:size])
    del waiting[:size]
    return block


async def in_threads(items: Iterator[T], threads: Executor | None = None) -> AsyncIterator[T]:
    """The items of a blocking iterator, fetched in a thread some hundreds at a time."""
    loop = asyncio.get_running_loop()
    while page := await loop.run_in_executor(threads, lambda: list(islice(items, _PAGE))):
        for item in page:
            yield item
