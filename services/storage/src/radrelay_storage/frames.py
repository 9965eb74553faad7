"""Where an instance's frames lie in its file, so that a frame is one ranged read (PS3.5 §8.2, §A.4)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_fragmented_frames, parse_basic_offsets, parse_fragments
from pydicom.pixels.utils import get_expected_length, get_nr_frames

from radrelay_shared.errors import NotFound
from radrelay_storage.copies import Bytes
from radrelay_storage.problems import NotAcceptable

PIXEL_DATA = (0x7FE00008, 0x7FE00009, 0x7FE00010)
ITEM_HEADER = 8  # bytes: tag, length
# What pydicom raises for pixel data that is not as its header says.
UNREADABLE = (RuntimeError, NotImplementedError, ValueError, AttributeError, TypeError)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its fragments as (offset, length) in the instance's file, and the hash of its bytes."""

    fragments: tuple[tuple[int, int], ...]
    sha256: bytes

    @property
    def span(self) -> tuple[int, int]:
        """The run of the file, as (offset, length), that holds all fragments."""
        start, (last, length) = self.fragments[0][0], self.fragments[-1]
        return start, last + length - start

    @property
    def size(self) -> int:
        return sum(length for _, length in self.fragments)

    def cut(self, run: Bytes) -> Bytes:
        """The frame from its span's bytes, without the item headers between its fragments."""
        if len(self.fragments) == 1:
            return run
        start = self.fragments[0][0]
        return b"".join(run[offset - start : offset - start + length] for offset, length in self.fragments)

    def intact(self, frame: Bytes) -> bool:
        return hashlib.sha256(frame).digest() == self.sha256


def index_frames(file: BinaryIO) -> tuple[Frame, ...]:
    """All frames of a whole DICOM file, in order. Blocks: call it in a thread.

    Raises `NotFound` if the instance is no image, `NotAcceptable` if its frames cannot be told apart.
    """
    header = dcmread(file, stop_before_pixels=True)
    start = value_start(file, header)
    if start is None:
        raise NotFound("this instance has no pixel data")
    find = encapsulated if header.file_meta.TransferSyntaxUID.is_encapsulated else native
    try:
        return tuple(Frame(fragments, digest(file, fragments)) for fragments in find(file, start, header))
    except UNREADABLE as error:
        raise NotAcceptable("the frames of this instance cannot be told apart; retrieve the instance") from error


def value_start(file: BinaryIO, header: Dataset) -> int | None:
    """Where the pixel data's value starts in a little-endian file that was read up to that element."""
    here = file.tell()
    group, element = struct.unpack("<HH", file.read(4).ljust(4, b"\0"))
    if group << 16 | element not in PIXEL_DATA:
        return None
    implicit_vr, _ = header.original_encoding
    return here + (8 if implicit_vr else 12)


def native(_: BinaryIO, start: int, header: Dataset) -> Iterator[tuple[tuple[int, int], ...]]:
    """Frames of equal length, one after the other."""
    number = get_nr_frames(header, warn=False)
    bits = 8 * get_expected_length(header)
    if header.BitsAllocated == 1:
        bits = header.Rows * header.Columns * number
    length, rest = divmod(bits, 8 * number)
    if rest:
        raise ValueError("a frame does not end at a whole byte")
    return (((start + index * length, length),) for index in range(number))


def encapsulated(file: BinaryIO, start: int, header: Dataset) -> Iterator[tuple[tuple[int, int], ...]]:
    """Frames of one or more fragments, told apart by the offset table or, without one, by their ends."""
    file.seek(start)
    source: Any = file
    parse_basic_offsets(source)
    _, offsets = parse_fragments(source)
    positions = iter(offsets)
    file.seek(start)
    for frame in generate_fragmented_frames(source, number_of_frames=get_nr_frames(header, warn=False)):
        here = file.tell()
        yield tuple((next(positions) + ITEM_HEADER, len(fragment)) for fragment in frame)
        file.seek(here)


def digest(file: BinaryIO, fragments: tuple[tuple[int, int], ...]) -> bytes:
    whole = hashlib.sha256()
    for offset, length in fragments:
        file.seek(offset)
        fragment = file.read(length)
        if len(fragment) < length:
            raise ValueError("the pixel data ends early")
        whole.update(fragment)
    return whole.digest()
