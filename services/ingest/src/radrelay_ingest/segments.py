"""Segments: files in which instances lie back to back, each behind a header that proves it is whole.

    segments/<32 hex digits>    at multiples of 4 KiB: a header of 128 bytes, then the instance
    spare/<32 hex digits>       written through once and not needed now; under a new name it is a segment again
    raw/<32 hex digits>         one that is still written through; nobody takes it

An instance's header is written last and brought to stable storage together with the instance, by one fdatasync: no
file appears, grows or is renamed then, for its blocks were there before. A header holds its segment's name, which is
drawn anew for every use, so nothing that lay there earlier is taken for an instance. Instances are added to a segment
one after the other; if a crash cut one short, it is the last one, and its hash does not match.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from struct import Struct
from typing import BinaryIO
from uuid import uuid4

from radrelay_ingest.disk import begin_to_write, sync_content, sync_folder

MAGIC = b"RadRelay"
HEADER = Struct(">8s16s16sQQ32s")  # magic, segment, mark, size, arrived, SHA-256 of the instance
HEADER_SIZE = 128  # with a SHA-256 of its own, and zeros
PAGE, PIECE = 4096, 1 << 20
EARLY = 1 << 20  # bytes that are not on their way to the disk yet, at most


@dataclass(frozen=True, slots=True)
class Spooled:
    """One instance on stable storage."""

    segment: Path
    offset: int  # of its first byte
    size: int
    sha256: str
    mark: bytes  # 16 of them: of its batch
    arrived: int  # nanoseconds since 1970

    @property
    def arrived_at(self) -> datetime:
        return datetime.fromtimestamp(self.arrived / 1e9, UTC)

    @property
    def end(self) -> int:
        """Where the next header may lie."""
        return -(-(self.offset + self.size) // PAGE) * PAGE

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The segment, at the instance's first byte."""
        with self.segment.open("rb") as file:
            file.seek(self.offset)
            yield file

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, in pieces of at most 1 MiB."""
        with self.opened() as file:
            left = self.size
            while left and (piece := file.read(min(left, PIECE))):
                left -= len(piece)
                yield piece


class Segment:
    """A file that one thread at a time adds an instance to."""

    def __init__(self, path: Path, end: int = 0) -> None:
        self.path, self.end = path, end  # where the next header will lie
        self.begun = end  # what lies before is on its way to the disk
        self.latest = PAGE  # bytes that the latest instance takes; where another one does not fit there is no room
        self.sound = True
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.length = os.fstat(self.descriptor).st_size

    def write(self, piece: memoryview, at: int) -> None:
        """Put a piece of the next instance in its place."""
        offset = self.end + HEADER_SIZE + at
        if at == 0:
            self.begun = offset
        while piece:
            written = os.pwrite(self.descriptor, piece, offset)
            piece, offset = piece[written:], offset + written
        if offset - self.begun >= EARLY:
            begin_to_write(self.descriptor, self.begun, offset - self.begun)
            self.begun = offset

    def add(self, size: int, sha256: bytes, mark: bytes) -> Spooled:
        """Make what was written an instance, durable on return."""
        added = Spooled(self.path, self.end + HEADER_SIZE, size, sha256.hex(), mark, time.time_ns())
        try:
            os.pwrite(self.descriptor, encoded(added), self.end)
            sync_content(self.descriptor)
        except OSError:
            self.sound = False  # nobody knows what is on the disk now
            raise
        self.latest, self.end = added.end - self.end, added.end
        self.length = max(self.length, added.end)
        return added

    def forget_rest(self) -> None:
        """Give the disk back what an instance took that was not added."""
        if os.fstat(self.descriptor).st_size > self.length:
            os.ftruncate(self.descriptor, self.length)

    def close(self) -> None:
        os.close(self.descriptor)


def encoded(instance: Spooled) -> bytes:
    """Its header."""
    name = bytes.fromhex(instance.segment.name)
    sha256 = bytes.fromhex(instance.sha256)
    header = HEADER.pack(MAGIC, name, instance.mark, instance.size, instance.arrived, sha256)
    return (header + hashlib.sha256(header).digest()).ljust(HEADER_SIZE, b"\0")


def instances_in(path: Path) -> list[Spooled]:
    """What a segment holds; the last instance only if it is whole."""
    found: list[Spooled] = []
    with path.open("rb", buffering=0) as file:
        at, end = 0, file.seek(0, os.SEEK_END)
        while at < end:
            instance = decoded(os.pread(file.fileno(), HEADER_SIZE, at), path, at)
            if instance:
                found.append(instance)
            at = instance.end if instance else at + PAGE
    if found and not is_whole(found[-1]):
        found.pop()
    return found


def decoded(header: bytes, path: Path, at: int) -> Spooled | None:
    """The instance whose header lies there, or None if there is none of this segment."""
    begin, digest = header[: HEADER.size], header[HEADER.size : HEADER.size + hashlib.sha256().digest_size]
    if not begin.startswith(MAGIC) or hashlib.sha256(begin).digest() != digest:
        return None
    _, name, mark, size, arrived, sha256 = HEADER.unpack(begin)
    return Spooled(path, at + HEADER_SIZE, size, sha256.hex(), mark, arrived) if name.hex() == path.name else None


def is_whole(instance: Spooled) -> bool:
    digest = hashlib.sha256()
    for piece in instance.pieces():
        digest.update(piece)
    return digest.hexdigest() == instance.sha256


class Segments:
    """All segments of a spool: a segment with room for whoever writes, and those without an instance used again."""

    def __init__(self, folder: Path, size: int, spares: int) -> None:
        self.folder, self.spare, self.raw = folder / "segments", folder / "spare", folder / "raw"
        self.size, self.spares = size, spares
        self.changing = threading.Lock()
        self.idle: dict[Path, Segment] = {}  # they have room
        self.busy: set[Path] = set()  # somebody writes there
        self.holding: Counter[Path] = Counter()  # how many instances are needed of each
        self.closing = threading.Event()

    def open(self, needed: Callable[[Spooled], bool]) -> None:
        """Ask of every instance that lies here whether it is needed."""
        for each in (self.folder, self.spare, self.raw):
            each.mkdir(parents=True, exist_ok=True)
        for broken_off in self.raw.iterdir():
            broken_off.unlink()
        self.busy, self.holding = set(), Counter()
        self.closing.clear()
        for path in list(self.folder.iterdir()):
            instances = instances_in(path)
            self.holding[path] = sum(map(needed, instances))
            self._settle(Segment(path, instances[-1].end if instances else 0))

    def close(self) -> None:
        self.closing.set()
        with self.changing:
            for segment in self.idle.values():
                segment.close()
            self.idle.clear()

    def take(self) -> Segment:
        """A segment with room, for the caller alone until it is given back."""
        with self.changing:
            segment = self.idle.popitem()[1] if self.idle else self._next()
            self.busy.add(segment.path)
        return segment

    def give_back(self, segment: Segment, *, added: bool) -> None:
        """The caller is done with the segment, and has added an instance or not."""
        segment.forget_rest()
        with self.changing:
            self.busy.remove(segment.path)
            self.holding[segment.path] += added
            self._settle(segment)

    def drop(self, instances: Iterable[Spooled]) -> None:
        """These are not needed any more."""
        with self.changing:
            gone = Counter(each.segment for each in instances)
            self.holding.subtract(gone)
            for path in gone:
                if not self.holding[path] and path not in self.busy:
                    self._recycle(self.idle.pop(path) if path in self.idle else Segment(path))

    def lacks_spares(self) -> bool:
        return not self.closing.is_set() and len(list(self.spare.iterdir())) < self.spares

    def prepare_spare(self) -> None:
        """Write one through, and only then let it be taken; leaves nothing if the spool is closed meanwhile."""
        path = self.raw / uuid4().hex
        try:
            with path.open("wb") as file:
                while file.tell() < self.size and not self.closing.is_set():
                    file.write(bytes(min(PIECE, self.size - file.tell())))
                file.flush()
                os.fsync(file.fileno())
            if not self.closing.is_set():
                path.rename(self.spare / path.name)
        finally:
            path.unlink(missing_ok=True)

    def _next(self) -> Segment:
        path = self.folder / uuid4().hex
        for spare in self.spare.iterdir():
            spare.rename(path)
            break
        segment = Segment(path)
        sync_folder(self.folder)
        return segment

    def _settle(self, segment: Segment) -> None:
        if not self.holding[segment.path] and (segment.end or not segment.sound):
            self._recycle(segment)
        elif segment.sound and segment.end + segment.latest <= self.size:
            self.idle[segment.path] = segment
        else:
            segment.close()

    def _recycle(self, segment: Segment) -> None:
        """Make it a spare one, if more are welcome."""
        del self.holding[segment.path]
        os.ftruncate(segment.descriptor, min(segment.length, self.size))
        segment.close()
        if len(list(self.spare.iterdir())) < self.spares:
            segment.path.rename(self.spare / segment.path.name)
        else:
            segment.path.unlink()
