"""The spool: what was acknowledged and is not sealed yet, one file per instance, on this machine's disk.

    incoming/<random>                          still being received; worthless after a restart
    open/<study>/arrival.json                  what was known when the batch's first instance came
    open/<study>/<SOP UID's hash>-<SHA-256>    a whole instance: durable, acknowledged
    sealing/<study>/                           a batch that was found whole, moved here in one step

Nothing of it is only in memory: a study's last arrival is its folder's time of change, and instances that come
while a batch is sealed open the next one. All calls block on the disk and may come from any thread.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkstemp

from radrelay_ingest.disk import sync_folder, translated, write_durably
from radrelay_ingest.domain.studies import Arrival, Head
from radrelay_ingest.instance import read_head
from radrelay_shared.errors import Full, TooLarge, Unreachable
from radrelay_shared.events import Key

ARRIVAL = "arrival.json"
UID_HASH = 32  # hex digits of the SOP Instance UID's hash in a file name


@dataclass(frozen=True, slots=True)
class Spooled:
    """One acknowledged instance."""

    path: Path
    size: int
    arrived: float

    @property
    def sop(self) -> str:
        """The same for all files of one SOP Instance UID."""
        return self.path.name[:UID_HASH]

    @property
    def sha256(self) -> str:
        return self.path.name[UID_HASH + 1 :]


class Spool:
    """One process owns a spool; `reserve_bytes` of its disk stay free."""

    def __init__(self, folder: Path, reserve_bytes: int, limit_bytes: int) -> None:
        self.folder, self.reserve_bytes, self.limit_bytes = folder, reserve_bytes, limit_bytes
        self.incoming, self.open_, self.sealing = (folder / name for name in ("incoming", "open", "sealing"))
        self.moving = threading.Lock()  # held while files or folders change their place
        self.lock = -1

    def open(self) -> None:
        """Take hold of the spool; what was not acknowledged before a crash is removed."""
        for each in (self.open_, self.sealing, self.incoming):
            each.mkdir(parents=True, exist_ok=True)
        self.lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unreachable("another ingest process works on this spool; give each its own RADRELAY_SPOOL") from error
        shutil.rmtree(self.incoming)
        self.incoming.mkdir()
        for each in self.sealing.iterdir():
            with suppress(OSError):  # only those that were dropped but for the folder itself are empty
                each.rmdir()
        sync_folder(self.folder)

    def close(self) -> None:
        os.close(self.lock)

    def receive(self) -> Incoming:
        """Begin to receive one instance; raises `Full` while the disk has no room to spare."""
        self.check_room()
        with translated():
            return Incoming(self)

    def check_room(self, size: int = 0) -> None:
        """Raise `Full` while the disk has no room to spare for so many bytes."""
        with translated():
            if shutil.disk_usage(self.folder).free < self.reserve_bytes + size:
                raise Full("the spool's disk is at its reserve; sealing makes room, then sending works again")

    def keep(self, file: Path, head: Head, sha256: str, study: Key, arrival: Callable[[], Arrival]) -> None:
        """Give a whole, synced file its place; durable on return. The same instance twice is one file."""
        name = f"{hashlib.sha256(head.sop_instance_uid.encode()).hexdigest()[:UID_HASH]}-{sha256}"
        with self.moving:
            folder = self._batch(study, arrival)
            descriptor = os.open(folder, os.O_RDONLY)
            if (folder / name).exists():
                file.unlink()
                os.utime(folder)
            else:
                file.rename(folder / name)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _batch(self, study: Key, arrival: Callable[[], Arrival]) -> Path:
        """The study's open batch; a new one appears in one step, with its arrival in it."""
        folder = self.open_ / study
        if not folder.exists():
            fresh = self.incoming / study
            fresh.mkdir(exist_ok=True)
            write_durably(fresh / ARRIVAL, arrival().model_dump_json().encode())
            sync_folder(fresh)
            fresh.rename(folder)
            sync_folder(self.open_)
        return folder

    def waiting(self) -> dict[Key, datetime]:
        """The studies that are still open, and when each last got an instance."""
        found = {}
        for each in self.open_.iterdir():
            with suppress(FileNotFoundError):  # it was claimed this moment
                found[each.name] = datetime.fromtimestamp(each.stat().st_mtime, UTC)
        return found

    def claimed(self) -> set[Key]:
        """The studies that are being sealed."""
        return {each.name for each in self.sealing.iterdir()}

    def arrival(self, study: Key) -> Arrival:
        """What was known when the study's batch began, being sealed or open; `FileNotFoundError` if it is neither."""
        for folder in (self.sealing, self.open_, self.sealing):  # it may move from open to sealing while we look
            with suppress(FileNotFoundError):
                return Arrival.model_validate_json((folder / study / ARRIVAL).read_bytes())
        raise FileNotFoundError(study)

    def claim(self, study: Key) -> None:
        """Close the open batch: instances from now on begin the next one. The last batch must have been dropped."""
        with self.moving:
            (self.open_ / study).rename(self.sealing / study)
        sync_folder(self.sealing)
        sync_folder(self.open_)

    def batch(self, study: Key) -> list[Spooled]:
        """The claimed instances, in the order they came."""
        files = [path for path in (self.sealing / study).iterdir() if path.name != ARRIVAL]
        found = [Spooled(path, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        return sorted(found, key=lambda each: (each.arrived, each.path.name))

    def drop(self, study: Key) -> None:
        """Forget a claimed batch: it is sealed elsewhere. The arrival goes last, so that a crash can repeat this."""
        folder = self.sealing / study
        for each in self.batch(study):
            each.path.unlink()
        (folder / ARRIVAL).unlink(missing_ok=True)
        folder.rmdir()
        sync_folder(self.sealing)


class Incoming:
    """One instance on its way in: written and hashed piece by piece, then kept or discarded."""

    def __init__(self, spool: Spool) -> None:
        self.spool, self.size, self.hash = spool, 0, hashlib.sha256()
        descriptor, name = mkstemp(dir=spool.incoming)
        self.path, self.file = Path(name), os.fdopen(descriptor, "wb")

    def write(self, piece: bytes | memoryview) -> None:
        """Add a piece; raises `Full` when the disk is, `TooLarge` when the instance is."""
        self.size += len(piece)
        if self.size > self.spool.limit_bytes:
            raise TooLarge(f"an instance is at most {self.spool.limit_bytes} bytes here")
        self.hash.update(piece)
        with translated():
            self.file.write(piece)

    def finish(self) -> Head:
        """Bring all of it to stable storage and read its head; raises `Invalid` unless it is a whole DICOM file."""
        with translated():
            self.file.flush()
            head = read_head(self.path)
            os.fsync(self.file.fileno())
            self.file.close()
        return head

    def keep(self, head: Head, study: Key, arrival: Callable[[], Arrival]) -> None:
        """Make it part of the study's open batch; on return it may be acknowledged."""
        with translated():
            self.spool.keep(self.path, head, self.hash.hexdigest(), study, arrival)

    def discard(self) -> None:
        """Remove what is left, if it was not kept."""
        with suppress(OSError):
            self.file.close()
        self.path.unlink(missing_ok=True)
