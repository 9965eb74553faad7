"""Instances from files and into files; one that is large is mapped, not read, and its pixels pass in pieces."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from itertools import chain
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from radrelay_anonymize.domain.pieces import LARGE, Data, Output, Patch, views
from radrelay_shared.errors import NO_ROOM, Full

Take = Callable[[bytes], object]


def content_of(file: Path) -> Data:
    """Its bytes. A large file must stay as it is while they are used: what is cut off then ends this process."""
    with file.open("rb", buffering=0) as opened:
        return opened.read() if os.fstat(opened.fileno()).st_size <= LARGE else _mapped(opened)


async def spooled(pour: Callable[[Take], Awaitable[None]]) -> Data:
    """What is poured, in a nameless file of the temporary folder, which goes with the last who looks at it."""
    with TemporaryFile() as file, _room():
        await pour(file.write)
        await asyncio.to_thread(file.flush)
        return _mapped(file)


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise Full("the temporary folder has no room for a large instance; make room and it goes on") from error


def patched(output: Output, patches: Iterator[Patch]) -> Output:
    """With these bytes in its pixels, the very `output` if there are none; in a file of its own, if it is large."""
    first = next(patches, None)
    if first is None:
        return output
    if len(output) <= LARGE:
        pixels = bytearray(output.pixels)
        for at, new in chain((first,), patches):
            pixels[at : at + len(new)] = new
        return Output(output.head, bytes(pixels))
    with TemporaryFile() as file, _room():
        file.writelines(views(Output(b"", output.pixels)))
        file.flush()
        for at, new in chain((first,), patches):
            os.pwrite(file.fileno(), new, at)
        return Output(output.head, memoryview(_mapped(file)))


def written(output: Output, target: Path) -> None:
    """In one call if it is small, which takes a tenth less; in pieces if it is large, or did not fit at once."""
    with target.open("wb") as file:
        if len(output) > LARGE or os.writev(file.fileno(), (output.head, output.pixels)) < len(output):
            file.seek(0)
            file.writelines(views(output))


def _mapped(file: IO[bytes] | FileIO) -> mmap:
    return mmap(file.fileno(), 0, access=ACCESS_READ)
