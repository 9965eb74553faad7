"""`Blobs` in a folder: one file per object, on any POSIX file system.

    objects/<key>    the bytes
    retained/<key>   until when the object is locked, ISO 8601
    incoming/        what is still being written, each file locked by its writer
    lock             held for the moment in which an object appears, vanishes or is retained

Several processes may share the folder. A key cannot also be another key's folder: `a` and `a/b` exclude each other.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from radrelay_shared.adapters.blobs import PIECE, blocks, check_key, check_prefix, check_range, in_threads
from radrelay_shared.errors import NO_ROOM, Conflict, Full, Invalid, NotFound, Refused, Unreachable
from radrelay_shared.ports import BlobInfo

_NO_SUCH_KEY = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class FileBlobs:
    """Objects under `root`; writes raise `Full` while less than `reserve` bytes would stay free on its disk."""

    def __init__(self, root: Path, *, reserve: int = 0) -> None:
        self._objects, self._retained, self._incoming = (root / name for name in ("objects", "retained", "incoming"))
        self._lock = root / "lock"
        self._reserve = reserve
        for folder in (self._objects, self._retained, self._incoming):
            folder.mkdir(parents=True, exist_ok=True)
        self._sweep()

    async def put(self, key: str, source: bytes | AsyncIterator[bytes], *, if_absent: bool = False) -> int:
        check_key(key)
        with _translated():
            draft = await asyncio.to_thread(self._draft)
        size = 0
        try:
            async for block in blocks(source, PIECE):
                size += len(block)
                with _translated():
                    await asyncio.to_thread(self._write, draft, block)
            with _translated():
                await asyncio.to_thread(self._publish, draft, key, if_absent=if_absent)
        finally:
            await asyncio.to_thread(_discard, draft)
        return size

    async def stream(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        check_key(key)
        check_range(start, length)
        left = length
        with self._found(key):
            file = _opened(
                self._objects / key, start
            )  # here and now, as it is closed: a cancelled hop would leave it open
            try:
                while piece := await asyncio.to_thread(file.read, PIECE if left is None else min(PIECE, left)):
                    left = None if left is None else left - len(piece)
                    yield piece
            finally:
                file.close()

    async def pour(
        self, key: str, take: Callable[[bytes], object], *, start: int = 0, length: int | None = None
    ) -> None:
        check_key(key)
        check_range(start, length)
        await asyncio.to_thread(self._pour, key, take, start, length)

    async def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        check_key(key)
        check_range(start, length)
        with self._found(key):
            return await asyncio.to_thread(_slice, self._objects / key, start, length)

    async def stat(self, key: str) -> BlobInfo | None:
        check_key(key)
        try:
            with self._found(key):
                return await asyncio.to_thread(self._info, key)
        except NotFound:
            return None

    async def list(self, prefix: str = "") -> AsyncIterator[BlobInfo]:
        folder = check_prefix(prefix)
        with _translated():
            async for info in in_threads(self._walk(self._objects / folder, prefix)):
                yield info

    async def delete(self, key: str) -> None:
        check_key(key)
        with _translated():
            await asyncio.to_thread(self._delete, key)

    async def retain(self, key: str, until: datetime) -> None:
        check_key(key)
        with self._found(key):
            await asyncio.to_thread(self._retain, key, until)

    async def healthy(self) -> None:
        with _translated():
            draft = await asyncio.to_thread(self._draft)
            try:
                await asyncio.to_thread(self._write, draft, b"healthy")
                await asyncio.to_thread(_sync, draft)
            finally:
                await asyncio.to_thread(_discard, draft)

    async def close(self) -> None:
        """Nothing stays open between calls."""

    # ── in threads ───────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock.open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _found(self, key: str) -> Iterator[None]:
        with _translated():
            try:
                yield
            except _NO_SUCH_KEY as error:
                if self._objects.is_dir():
                    raise NotFound(f"there is no object {key}") from error
                raise  # the whole folder is gone: a disk that is not mounted has not lost its objects

    def _pour(self, key: str, take: Callable[[bytes], object], start: int, length: int | None) -> None:
        end = None if length is None else start + length
        with self._found(key):
            file = _opened(self._objects / key, start)
        with file:
            while piece := self._piece(key, file, end):
                take(piece)

    def _piece(self, key: str, file: IO[bytes], end: int | None) -> bytes:
        with self._found(key):
            return file.read(PIECE if end is None else min(PIECE, end - file.tell()))

    def _draft(self) -> IO[bytes]:
        with self._locked():  # so that `_sweep` sees no draft before its writer has locked it
            draft: IO[bytes] = NamedTemporaryFile(dir=self._incoming, delete=False)  # noqa: SIM115  outlives this step
            fcntl.flock(draft, fcntl.LOCK_EX)
        return draft

    def _sweep(self) -> None:
        """Remove the drafts whose writers crashed: nobody holds their locks."""
        with self._locked():
            for path in self._incoming.iterdir():
                with suppress(BlockingIOError, FileNotFoundError), path.open("rb") as draft:
                    fcntl.flock(draft, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()

    def _write(self, draft: IO[bytes], block: bytes) -> None:
        if self._reserve and shutil.disk_usage(self._incoming).free < self._reserve + len(block):
            raise Full(f"less than {self._reserve} bytes would stay free; make room and it goes on")
        draft.write(block)

    def _publish(self, draft: IO[bytes], key: str, *, if_absent: bool) -> None:
        _sync(draft)
        target = self._objects / key
        with self._locked():
            if if_absent and target.exists():
                raise Conflict(f"{key} exists already")
            self._check_retention(key)
            _make_room(target, key)
            Path(draft.name).replace(target)
        _sync_folders(target.parent, self._objects)

    def _delete(self, key: str) -> None:
        target = self._objects / key
        with self._locked():
            self._check_retention(key)
            with suppress(*_NO_SUCH_KEY):
                target.unlink()
                (self._retained / key).unlink(missing_ok=True)
                for top, path in ((self._objects, target), (self._retained, self._retained / key)):
                    _prune(path.parent, top)
        _sync_folders(target.parent, self._objects)

    def _retain(self, key: str, until: datetime) -> None:
        note = self._retained / key
        with self._locked():
            self._info(key)
            until = max(until, self._retained_until(key))
            note.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=self._incoming, delete=False) as draft:
                draft.write(until.isoformat().encode())
                _sync(draft)
            Path(draft.name).replace(note)
        _sync_folders(note.parent, self._retained)

    def _retained_until(self, key: str) -> datetime:
        try:
            return datetime.fromisoformat((self._retained / key).read_text())
        except _NO_SUCH_KEY:
            return datetime.min.replace(tzinfo=UTC)

    def _check_retention(self, key: str) -> None:
        until = self._retained_until(key)
        if datetime.now(UTC) < until:
            raise Refused(f"{key} is retained until {until:%Y-%m-%d %H:%M:%S %Z}")

    def _info(self, key: str) -> BlobInfo:
        found = (self._objects / key).stat()
        if not stat.S_ISREG(found.st_mode):
            raise IsADirectoryError(key)
        return BlobInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def _walk(self, folder: Path, prefix: str) -> Iterator[BlobInfo]:
        """Objects by key: a folder sorts as its name with the slash, as the keys inside it do."""
        with suppress(FileNotFoundError, NotADirectoryError):  # another process pruned it
            for name in sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in os.scandir(folder)):
                key = (folder / name).relative_to(self._objects).as_posix()
                if name.endswith("/"):
                    if f"{key}/".startswith(prefix):
                        yield from self._walk(folder / name, prefix)
                elif key.startswith(prefix):
                    with suppress(FileNotFoundError):
                        yield self._info(key)


@contextmanager
def _translated() -> Iterator[None]:
    """Foreign errors as ours; messages name no paths."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise Full("the disk under the blob folder is full; make room and it goes on") from error
        raise Unreachable(f"the blob folder cannot be used: {error.strerror}") from error


def _opened(path: Path, start: int) -> IO[bytes]:
    file = path.open("rb")
    file.seek(start)
    return file


def _slice(path: Path, start: int, length: int | None) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(-1 if length is None else length)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _discard(draft: IO[bytes]) -> None:
    """Close it, and remove it unless it was published; a full disk may have bytes left that nobody needs."""
    with suppress(OSError):
        draft.close()
    Path(draft.name).unlink(missing_ok=True)


def _make_room(target: Path, key: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise Invalid(f"{key} would lie inside an object") from error
    if target.is_dir():
        raise Invalid(f"{key} is a folder of other objects")


def _prune(folder: Path, top: Path) -> None:
    """Remove the folders that hold nothing any more."""
    with suppress(OSError):
        while folder != top:
            folder.rmdir()
            folder = folder.parent


def _sync_folders(folder: Path, top: Path) -> None:
    """Make the names in this folder and in those above it durable; pruned ones need nothing."""
    for path in (folder, *folder.parents):
        with suppress(FileNotFoundError):
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        if path == top:
            return
