"""What hides beside the picture in compressed pixel data: comments, application segments, boxes, bytes after the end.

It is overwritten with zeros in place. No length changes, so offset tables stay true and the picture its very bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from radrelay_anonymize.domain.pieces import LARGE, Buffer, Patch, let_go
from radrelay_shared.errors import Invalid

ITEM, UNDEFINED = b"\xfe\xff\x00\xe0", b"\xff\xff\xff\xff"
HEADER = 12  # of an element of explicit VR and undefined length, as compressed pixel data always is (PS3.5 §A.4)

JPEG, CODESTREAM, JP2 = b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "
BEGINNINGS = (JPEG, CODESTREAM, JP2)

# JPEG and JPEG-LS (ITU-T T.81 table B.1). Of an application segment only what decoders go by stays: its first bytes.
MARKER, SOS, EOI = 0xFF, 0xDA, 0xD9
SPOKEN = frozenset({*range(0xE0, 0xF7), *range(0xF9, 0xFF)})  # F7 and F8 are JPEG-LS's own
DECODED_BY = {(0xE0, b"JFIF\0"): 12, (0xEE, b"Adobe"): 12, (0xE8, b"mrfx"): 5}
AFTER_SCAN = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")

FRAME_HEADER = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf\xf7]..(.)", re.DOTALL)

# JPEG 2000 (ITU-T T.800 annexes A and I)
J2K_COMMENT, SOT, SOD, EOC = 0xFF64, 0xFF90, 0xFF93, 0xFFD9
SIZE = re.compile(rb"\xff\x4f\xff\x51.{38}(.)", re.DOTALL)  # of the first component
NEEDED_BOXES = frozenset({b"jP  ", b"ftyp", b"jp2h"})

LONGEST_HEAD = 1 << 16
UNKNOWN = 32  # bits

Span = tuple[int, int]


def blanks(element: Buffer) -> Iterator[Patch]:
    """What has to stand in their place, in the element of compressed pixel data, frame by frame.

    Raises `Invalid` for a stream whose structure cannot be followed.
    """
    table, *fragments = _fragments(element)
    frames = list(_frames(element, fragments))
    yield from _restated(element, table, [frame[0][0] - 8 for frame in frames])
    for frame in frames:
        before = b"".join(element[start:end] for start, end in frame)
        stream = bytearray(before)
        _blank(stream)
        if stream != before:
            done = 0
            for start, end in frame:
                yield start, bytes(stream[done : (done := done + end - start)])
        let_go(element)


def precision(element: Buffer) -> int:
    """How many bits the coded samples may have: as the first frame says, and all of them where none says it."""
    start = _fragments(element)[1][0]
    stream = bytes(element[start : start + LONGEST_HEAD])
    if stream.startswith(JPEG):
        found = FRAME_HEADER.search(stream)
        return found[1][0] if found else UNKNOWN
    found = SIZE.search(stream)
    return (found[1][0] & 0x7F) + 1 if found else UNKNOWN


def _fragments(element: Buffer) -> list[Span]:
    """Start and end of the offset table and of each fragment."""
    found, at, held = [], HEADER, 0
    while element[at : at + 4] == ITEM:
        length = int.from_bytes(element[at + 4 : at + 8], "little")
        found.append((at + 8, at + 8 + length))
        at += 8 + length
        if at - held > LARGE:
            held = at
            let_go(element)
    if not found or at > len(element):
        raise Invalid("compressed pixel data without fragments")
    return found


def _frames(element: Buffer, fragments: list[Span]) -> Iterator[list[Span]]:
    """The fragments of each frame; coded data cannot look like the beginning of a stream."""
    frame: list[Span] = []
    each_is_one = bool(fragments) and not _begins(element, fragments[0])  # as in RLE
    for span in fragments:
        if frame and (each_is_one or _begins(element, span)):
            yield frame
            frame = []
        frame.append(span)
    if frame:
        yield frame


def _begins(element: Buffer, span: Span) -> bool:
    return bytes(element[span[0] : span[0] + len(JP2)]).startswith(BEGINNINGS)


def _restated(element: Buffer, table: Span, starts: list[int]) -> Iterator[Patch]:
    """An offset table says where the frames are, and nothing else."""
    start, end = table
    if start == end or not starts:
        return
    if end - start != 4 * len(starts):
        raise Invalid("an offset table of another length than its frames need")
    offsets = b"".join((each - end).to_bytes(4, "little") for each in starts)
    if element[start:end] != offsets:
        yield start, offsets


def _blank(stream: bytearray) -> None:
    try:
        if stream.startswith(JPEG):
            _jpeg(stream)
        elif stream.startswith(CODESTREAM):
            _codestream(stream, 0, len(stream))
        elif stream.startswith(JP2):
            _boxes(stream)
        else:
            _run_lengths(stream)
    except IndexError:
        raise Invalid("a compressed frame is cut off") from None


def _zero(stream: bytearray, start: int, end: int) -> None:
    end = min(end, len(stream))
    stream[start:end] = bytes(max(end - start, 0))


def _number(stream: bytearray, at: int, size: int = 2) -> int:
    if at + size > len(stream):
        raise Invalid("a compressed frame is cut off")
    return int.from_bytes(stream[at : at + size], "big")


def _jpeg(stream: bytearray) -> None:
    at = 2
    while at < len(stream):
        if stream[at] != MARKER:
            raise Invalid("no marker where a JPEG segment has to begin")
        marker = stream[at + 1]
        if marker == MARKER:  # fill
            at += 1
            continue
        if marker == EOI:
            return _zero(stream, at + 2, len(stream))
        end = at + 2 + _number(stream, at + 2)
        if marker in SPOKEN:
            kept = [
                size for (each, name), size in DECODED_BY.items() if (each, name) == (marker, _name(stream, at, name))
            ]
            _zero(stream, at + 4 + sum(kept), end)
        at = _after_scan(stream, end) if marker == SOS else end
    return None


def _name(stream: bytearray, at: int, like: bytes) -> bytes:
    return bytes(stream[at + 4 : at + 4 + len(like)])


def _after_scan(stream: bytearray, at: int) -> int:
    found = AFTER_SCAN.search(stream, at)
    return found.start() if found else len(stream)


def _codestream(stream: bytearray, at: int, limit: int) -> None:
    """Comments of the main header and of each tile-part's, and what follows the end."""
    at, tile_part = at + 2, 0
    while at < limit:
        marker = _number(stream, at)
        if marker == EOC:
            return _zero(stream, at + 2, limit)
        if marker == SOD:
            at = tile_part or limit
            continue
        end = at + 2 + _number(stream, at + 2)
        if marker == SOT:
            length = _number(stream, at + 6, 4)
            tile_part = at + length if length else _last_tile_part(stream, limit)
            if tile_part <= end:
                raise Invalid("a tile-part that is shorter than its own header")
        elif marker == J2K_COMMENT:
            _zero(stream, at + 6, end)
        elif marker >> 8 != MARKER:
            raise Invalid("no marker where a JPEG 2000 segment has to begin")
        at = end
    return None


def _last_tile_part(stream: bytearray, limit: int) -> int:
    """One that does not say its length reaches to the end of the codestream; coded data holds no marker above FF8F."""
    return stream.rfind(EOC.to_bytes(2, "big"), 0, limit) % (limit + 1)


def _boxes(stream: bytearray) -> None:
    at = 0
    while at + 8 <= len(stream):
        length, kind = _number(stream, at, 4), bytes(stream[at + 4 : at + 8])
        head = 16 if length == 1 else 8
        size = _number(stream, at + 8, 8) if length == 1 else length or len(stream) - at
        if size < head:
            raise Invalid("a JP2 box that is shorter than its own header")
        end = min(at + size, len(stream))
        if kind == b"jp2c":
            _codestream(stream, at + head, end)
        elif kind not in NEEDED_BOXES:
            stream[at + 4 : at + 8] = b"free"
            _zero(stream, at + head, end)
        at = end
    _zero(stream, at, len(stream))


def _run_lengths(stream: bytearray) -> None:
    """RLE (PS3.5 annex G): offsets of segments that there are not."""
    segments = int.from_bytes(stream[:4], "little")
    if not 1 <= segments <= 15 or len(stream) < 64:  # noqa: PLR2004  §G.5
        raise Invalid("compressed pixel data of no kind that is known")
    _zero(stream, 4 + 4 * segments, 64)
