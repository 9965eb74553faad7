"""Bytes that may be too many to hold: of a file that is mapped, only what was looked at last is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from mmap import MADV_DONTNEED, mmap

PIECE, LARGE = 1 << 20, 32 << 20  # bytes; of what is larger only pieces are held
MOST_BY_PYDICOM = 256 << 20  # bytes that are read whole into objects

Data = bytes | mmap
Buffer = bytes | memoryview
Patch = tuple[int, bytes]  # where in the pixels' element other bytes have to stand, and which; no length changes


@dataclass(frozen=True)
class Output:
    """A copy as it goes out: everything before its pixels, and the pixels' whole element, often the original's.

    Who writes one may leave the pixels in `head`; the verifier finds them.
    """

    head: bytes
    pixels: Buffer = b""

    def __len__(self) -> int:
        return len(self.head) + len(self.pixels)

    def parted(self, pixels_at: int) -> Output:
        """With the pixels that begin there out of the head."""
        if len(self.pixels) or pixels_at == len(self.head):
            return self
        return Output(self.head[:pixels_at], memoryview(self.head)[pixels_at:])

    @cached_property
    def data(self) -> bytes:
        """All of it; only for what is known to be small."""
        return self.head + self.pixels


def views(output: Output) -> Iterator[memoryview]:
    """All of it in order, at most `PIECE` bytes at a time; each is to be used before the next one is asked for."""
    for part in (output.head, output.pixels):
        whole = memoryview(part)
        for start in range(0, len(whole), PIECE):
            yield whole[start : start + PIECE]
            let_go(part)


def in_pieces(output: Output) -> Iterator[bytes]:
    """As `views`, for whoever needs bytes of their own."""
    return map(bytes, views(output))


def let_go(data: Data | Buffer) -> None:
    """What was looked at need not stay in memory: it is read from the file when it is looked at again."""
    whole = data.obj if isinstance(data, memoryview) else data
    if isinstance(whole, mmap):
        whole.madvise(MADV_DONTNEED)
