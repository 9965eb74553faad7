"""Uploads on the spool's disk: `<id>/upload.json` says how far it is, `<id>/content` has the bytes.

The offset is written after the bytes that it counts are on stable storage; what lies beyond it is overwritten. All
calls block, for threads.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from radrelay_ingest.disk import sync_folder, translated, write_durably
from radrelay_ingest.domain.uploads import Upload
from radrelay_shared.errors import NotFound, TooLarge

STATE, CONTENT = "upload.json", "content"


class Shelf:
    """All uploads of one process's spool."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> None:
        """Clear away what was being begun or dropped at a crash."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for each in self.folder.iterdir():
            if not (each / STATE).exists():
                shutil.rmtree(each)

    def begin(self, upload: Upload) -> None:
        """Remember a new upload, durable on return."""
        with translated():
            (self.folder / upload.id).mkdir()
            self.content(upload).touch()
            self.save(upload)
            sync_folder(self.folder)

    def save(self, upload: Upload) -> None:
        """Remember how far the upload is, in one step."""
        folder = self.folder / upload.id
        with translated():
            write_durably(folder / "new", upload.model_dump_json().encode())
            (folder / "new").replace(folder / STATE)
            sync_folder(folder)

    def get(self, key: str) -> Upload:
        """Raises `NotFound` if there is no such upload."""
        with suppress(FileNotFoundError):
            return Upload.model_validate_json((self.folder / key / STATE).read_bytes())
        raise NotFound("there is no such upload here; it may have expired: begin a new one")

    def all(self) -> list[Upload]:
        found = []
        for each in self.folder.iterdir():
            with suppress(NotFound):  # it was dropped this moment
                found.append(self.get(each.name))
        return found

    def content(self, upload: Upload) -> Path:
        return self.folder / upload.id / CONTENT

    def finish(self, upload: Upload) -> None:
        """Remember the outcome; the content is not needed any more."""
        self.save(upload)
        self.content(upload).unlink(missing_ok=True)

    def drop(self, upload: Upload) -> None:
        (self.folder / upload.id / STATE).unlink(missing_ok=True)  # first: without it, the rest is swept after a crash
        shutil.rmtree(self.folder / upload.id, ignore_errors=True)


class Chunk:
    """The next bytes of an upload: they count once `keep` returns, and not at all without it."""

    def __init__(self, shelf: Shelf, upload: Upload) -> None:
        self.shelf, self.upload, self.end = shelf, upload, upload.offset
        self.file = shelf.content(upload).open("r+b")
        self.file.seek(upload.offset)

    def write(self, piece: bytes) -> None:
        """Add a piece; raises `TooLarge` if the upload was said to be shorter, `Full` if the disk is."""
        if self.end + len(piece) > self.upload.length:
            raise TooLarge(f"the upload was said to have {self.upload.length} bytes; more came")
        with translated():
            self.file.write(piece)
        self.end += len(piece)

    def keep(self, upload: Upload) -> Upload:
        """Count what was written; `upload` is what else is to be remembered of it."""
        with translated():
            self.file.flush()
            os.fsync(self.file.fileno())
        kept = upload.model_copy(update={"offset": self.end})
        self.shelf.save(kept)
        return kept

    def close(self) -> None:
        with suppress(OSError):  # a full disk, said already
            self.file.close()
