"""The spool: what was acknowledged and is not sealed yet, on this machine's disk.

    open/<study>          what was known when the batch's first instance came
    sealing/<study>       the same of a batch that was found whole, moved here in one step
    segments/, spare/, … the instances, each with the mark of its batch: see `segments.py`
    uploads/              see `uploads/shelf.py`

An instance is acknowledged once it is in a segment, and kept as long as its batch lies in one of the folders above.
What is in memory is an index of that, made anew at each start. Instances that come while a batch is sealed open the
next one. All calls block on the disk and may come from any thread.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from radrelay_ingest.disk import Room, sync_folder, translated, write_durably
from radrelay_ingest.domain.studies import Arrival, Head
from radrelay_ingest.instance import Reader
from radrelay_ingest.segments import Segment, Segments, Spooled
from radrelay_shared.errors import TooLarge, Unreachable
from radrelay_shared.events import Key


@dataclass(eq=False)
class Batch:
    """Instances of one study that came together."""

    arrival: Arrival
    last: datetime  # when the latest one came
    instances: dict[str, Spooled] = field(default_factory=dict)  # by SHA-256: the same one twice is one
    coming: int = 0  # instances on their way to stable storage
    again: int = 0  # so many were there already when they came

    @property
    def mark(self) -> bytes:
        return hashlib.sha256(self.arrival.id.encode()).digest()[:16]

    def add(self, instance: Spooled, when: datetime) -> bool:
        """False, and counted, if it is there already."""
        self.last = max(self.last, when)
        new = instance.sha256 not in self.instances
        self.instances.setdefault(instance.sha256, instance)
        self.again += not new
        return new


class Spool:
    """One process owns a spool; an instance has at most `limit_bytes`."""

    def __init__(self, segments: Segments, room: Room, limit_bytes: int) -> None:
        self.segments, self.room, self.limit_bytes = segments, room, limit_bytes
        self.folder = folder = room.folder
        self.open_, self.sealing = folder / "open", folder / "sealing"
        self.changing = threading.Condition()  # held while batches change
        self.opened: dict[Key, Batch] = {}
        self.closed: dict[Key, Batch] = {}
        self.lock = -1

    def open(self) -> None:
        """Take hold of the spool and find what was acknowledged."""
        for each in (self.open_, self.sealing):
            each.mkdir(parents=True, exist_ok=True)
        self.lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unreachable("another ingest process works on this spool; give each its own RADRELAY_SPOOL") from error
        self.opened, self.closed = _batches(self.open_), _batches(self.sealing)
        batches = {batch.mark: batch for batch in (*self.opened.values(), *self.closed.values())}
        self.segments.open(lambda found: found.mark in batches and batches[found.mark].add(found, found.arrived_at))
        sync_folder(self.folder)

    def close(self) -> None:
        self.segments.close()
        os.close(self.lock)

    def prepare(self) -> None:
        """Write spare segments through, so that the first instances come as fast as later ones; raises `Full`."""
        while self.segments.lacks_spares():
            self.room.check(self.segments.size)
            with translated():
                self.segments.prepare_spare()

    # ── what comes ──

    def receive(self) -> Incoming:
        """Begin to receive one instance; raises `Full` while the disk has no room to spare."""
        self.room.check()
        with translated():
            return Incoming(self, self.segments.take())

    def keep(self, incoming: Incoming, study: Key, arrival: Callable[[], Arrival]) -> bool:
        """Make it part of the study's open batch, durable on return; False if it was there already."""
        digest = incoming.hash.digest()
        with self.changing:
            batch = self._open_batch(study, arrival)
            batch.coming += 1
        try:
            known = batch.instances.get(digest.hex())
            instance = known or incoming.segment.add(incoming.size, digest, batch.mark)
            with self.changing:
                return batch.add(instance, datetime.now(UTC) if known else instance.arrived_at)
        finally:
            with self.changing:
                batch.coming -= 1
                self.changing.notify_all()

    def _open_batch(self, study: Key, arrival: Callable[[], Arrival]) -> Batch:
        if study not in self.opened:
            batch = Batch(arrival(), datetime.now(UTC))
            write_durably(self.folder / "new", batch.arrival.model_dump_json().encode())
            (self.folder / "new").rename(self.open_ / study)
            sync_folder(self.open_)
            self.opened[study] = batch
        return self.opened[study]

    # ── what is sealed ──

    def waiting(self) -> dict[Key, datetime]:
        """The studies that are still open, and when each last got an instance."""
        with self.changing:
            return {study: batch.last for study, batch in self.opened.items()}

    def claimed(self) -> set[Key]:
        """The studies that are being sealed."""
        with self.changing:
            return set(self.closed)

    def arrival(self, study: Key) -> Arrival:
        """What was known when the study's batch began, being sealed or open; `FileNotFoundError` if it is neither."""
        with self.changing:
            batch = self.closed.get(study) or self.opened.get(study)
        if batch is None:
            raise FileNotFoundError(study)
        return batch.arrival

    def claim(self, study: Key, last: datetime | None = None) -> bool:
        """Close the open batch: instances from now on begin the next one. The last batch must have been dropped.

        False, and it stays open, if an instance came after the `last` one that is known of, or is about to.
        """
        with self.changing:
            if study in self.closed:
                raise FileExistsError(study)
            if last is not None and (self.opened[study].last > last or self.opened[study].coming):
                return False
            (self.open_ / study).rename(self.sealing / study)
            batch = self.closed[study] = self.opened.pop(study)
        sync_folder(self.sealing)
        sync_folder(self.open_)
        with self.changing:
            self.changing.wait_for(lambda: not batch.coming)
        return True

    def batch(self, study: Key) -> list[Spooled]:
        """The claimed instances, or those that are still waiting, in the order they came."""
        with self.changing:
            found = self.closed.get(study) or self.opened.get(study)
            instances = list(found.instances.values()) if found else []
        return sorted(instances, key=lambda each: (each.arrived, each.sha256))

    def came_again(self, study: Key) -> int:
        """How many instances of the claimed batch came more than once, since the start of the process at least."""
        with self.changing:
            return self.closed[study].again

    def drop(self, study: Key) -> None:
        """Forget a claimed batch: it is sealed elsewhere."""
        (self.sealing / study).unlink()
        sync_folder(self.sealing)
        with self.changing:
            batch = self.closed.pop(study)
        self.segments.drop(batch.instances.values())


def _batches(folder: Path) -> dict[Key, Batch]:
    return {
        path.name: Batch(
            Arrival.model_validate_json(path.read_bytes()), datetime.fromtimestamp(path.stat().st_mtime, UTC)
        )
        for path in folder.iterdir()
    }


class Incoming:
    """One instance on its way in: written, hashed and read piece by piece, then kept or discarded."""

    def __init__(self, spool: Spool, segment: Segment) -> None:
        self.spool, self.segment = spool, segment
        self.size, self.hash, self.reader = 0, hashlib.sha256(), Reader()
        self.under_way = True

    def write(self, piece: bytes | memoryview) -> None:
        """Add a piece.

        Raises `Full` when the disk is, `TooLarge` when the instance is, `Invalid` when it cannot be a DICOM file.
        """
        if self.size + len(piece) > self.spool.limit_bytes:
            raise TooLarge(f"an instance is at most {self.spool.limit_bytes} bytes here")
        with translated():
            self.segment.write(memoryview(piece), self.size)
        self.size += len(piece)
        self.hash.update(piece)
        self.reader.feed(piece)

    def finish(self) -> Head:
        """The last piece was written: what the front door must know of it. Raises `Invalid` unless it is whole."""
        return self.reader.finish()

    def keep(self, study: Key, arrival: Callable[[], Arrival]) -> None:
        """Make it part of the study's open batch; on return it may be acknowledged."""
        with translated():
            self._end(added=self.spool.keep(self, study, arrival))

    def discard(self) -> None:
        """Leave nothing of it, if it was not kept."""
        if self.under_way:
            self._end(added=False)

    def _end(self, *, added: bool) -> None:
        self.under_way = False
        self.spool.segments.give_back(self.segment, added=added)
