"""What is in an upload: one DICOM file, or a zip of files. A zip is bounded before and while it is read."""

from __future__ import annotations

import errno
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import SEEK_END
from pathlib import Path
from struct import error as StructError  # noqa: N812  it is a class
from struct import unpack_from
from typing import IO

from radrelay_shared.errors import Invalid, TooLarge

MAX_DIRECTORY = 32 << 20  # bytes of a zip's central directory: some 300,000 files
MAX_RATIO = 100  # what is unpacked, against what came; blank images pack 30 to 1
SLACK = 1 << 26  # bytes that may be unpacked whatever the ratio
END_RECORD, END_RECORD_64 = b"PK\x05\x06", b"PK\x06\x06"  # PKWARE APPNOTE §4.3.16, §4.3.14
TAIL = 22 + 65_535 + 20 + 56  # bytes that both records, the locator between them and a comment can take
ENCRYPTED = 0x1
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an upload: its place, counted from 1, and how to open it."""

    number: int
    file: zipfile.ZipInfo | Path
    archive: zipfile.ZipFile | None = None

    @contextmanager
    def pieces(self) -> Iterator[Iterator[bytes]]:
        """Its bytes; raises `Invalid` if it is encrypted, packed in an unusual way, or damaged."""
        with damaged(), self._opened() as file:
            yield iter(lambda: file.read(PIECE), b"")

    def _opened(self) -> IO[bytes]:
        if isinstance(self.file, Path) or self.archive is None:
            return Path(str(self.file)).open("rb")
        if self.file.flag_bits & ENCRYPTED or self.file.compress_type not in PACKINGS:
            raise Invalid("the file is encrypted, or packed in another way than stored or deflated")
        return self.archive.open(self.file)


@contextmanager
def opened(path: Path) -> Iterator[list[Entry]]:
    """The files in an upload, but for folders and a DICOMDIR, which are made anew wherever they are needed."""
    if not is_zip(path):
        yield [Entry(1, path)]
        return
    check_directory(path)
    with damaged(), zipfile.ZipFile(path) as archive:
        files = [each for each in archive.infolist() if not each.is_dir()]
        check_ratio(sum(each.file_size for each in files), path.stat().st_size)
        yield [Entry(number, each, archive) for number, each in enumerate(files, 1) if not is_dicomdir(each.filename)]


def is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(132)
    return head.startswith(b"PK") and not head.endswith(b"DICM")


def is_dicomdir(name: str) -> bool:
    return name.rpartition("/")[2].upper() == "DICOMDIR"


def check_ratio(unpacked: int, packed: int) -> None:
    """Raise `TooLarge` for a zip that unpacks to far more than images can (a zip bomb)."""
    if unpacked > MAX_RATIO * packed + SLACK:
        raise TooLarge(f"the zip unpacks to more than {MAX_RATIO} times its size; send it in parts")


def check_directory(path: Path) -> None:
    """Raise `TooLarge` for more files than are read into memory at once."""
    with path.open("rb") as file:
        file.seek(-min(TAIL, file.seek(0, SEEK_END)), SEEK_END)
        tail = file.read(TAIL)
    at, at_64 = tail.rfind(END_RECORD), tail.rfind(END_RECORD_64)
    size = unpack_from("<I", tail, at + 12)[0] if 0 <= at <= len(tail) - 22 else 0
    if 0 <= at_64 <= len(tail) - 56:
        size = max(size if size != 0xFFFF_FFFF else 0, unpack_from("<Q", tail, at_64 + 40)[0])  # noqa: PLR2004  see there
    if size > MAX_DIRECTORY:
        raise TooLarge("the zip has too many files; send it in parts")


@contextmanager
def damaged() -> Iterator[None]:
    """What a zip's reader raises on damage is `Invalid`; a place before the file's beginning is a sign of it, too."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, StructError) as error:
        raise Invalid("the zip, or this file in it, is damaged") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise Invalid("the zip, or this file in it, is damaged") from error
