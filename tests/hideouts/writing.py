"""DICOM files written byte by byte (PS3.5 §7), so that anything can be put anywhere, however unlawful."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from hostile.files import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, ITEM, ITEM_END, LONG, SEQUENCE_END, UNDEFINED

Elements = dict[int, bytes]  # by tag; a data set's bytes are theirs, in order


@dataclass(frozen=True)
class Encoding:
    """A transfer syntax, and how long sequences and items say they are."""

    syntax: str
    undefined: bool = False

    @property
    def implicit(self) -> bool:
        return self.syntax == IMPLICIT

    @property
    def order(self) -> str:
        return ">" if self.syntax == BIG_ENDIAN else "<"

    def element(self, tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
        """The element with its value filled up to an even length."""
        value += (b"\0" if vr in {"UI", "OB", "UN"} else b" ") * (len(value) % 2)
        length = len(value) if length is None else length
        group, number = tag >> 16, tag & 0xFFFF
        if self.implicit or group == ITEM >> 16:
            return struct.pack(f"{self.order}HHI", group, number, length) + value
        if vr in LONG:
            return struct.pack(f"{self.order}HH2sHI", group, number, vr.encode(), 0, length) + value
        return struct.pack(f"{self.order}HH2sH", group, number, vr.encode(), length) + value

    def sequence(self, tag: int, *items: Elements, vr: str = "SQ") -> bytes:
        if self.undefined:
            ends = [self.element(each, "", b"") for each in (ITEM_END, SEQUENCE_END)]
            content = b"".join(self.element(ITEM, "", b"", UNDEFINED) + joined(each) + ends[0] for each in items)
            return self.element(tag, vr, b"", UNDEFINED) + content + ends[1]
        return self.element(tag, vr, b"".join(self.element(ITEM, "", joined(each)) for each in items))

    @property
    def within_unknown(self) -> Encoding:
        """As items of a sequence of VR UN are encoded (PS3.5 §6.2.2)."""
        return replace(self, syntax=IMPLICIT)


def joined(elements: Elements) -> bytes:
    return b"".join(elements[tag] for tag in sorted(elements))


ENCODINGS = {
    "explicit": Encoding(EXPLICIT),
    "explicit, undefined lengths": Encoding(EXPLICIT, undefined=True),
    "implicit": Encoding(IMPLICIT),
    "implicit, undefined lengths": Encoding(IMPLICIT, undefined=True),
    "big endian": Encoding(BIG_ENDIAN, undefined=True),
    "deflated": Encoding(DEFLATED, undefined=True),
}

# A CT slice of 2 x 2 pixels.
ROOT = "1.2.826.0.1.3680043.8.498.777"
CT = "1.2.840.10008.5.1.4.1.1.2"
SLICE: tuple[tuple[int, str, str | int], ...] = (
    (0x00080005, "CS", "ISO_IR 100"),
    (0x00080016, "UI", CT),
    (0x00080018, "UI", f"{ROOT}.3"),
    (0x00080020, "DA", "20240304"),
    (0x00080060, "CS", "CT"),
    (0x00100020, "LO", "Q-4471-08"),
    (0x0020000D, "UI", f"{ROOT}.1"),
    (0x0020000E, "UI", f"{ROOT}.2"),
    (0x00280002, "US", 1),
    (0x00280004, "CS", "MONOCHROME2"),
    (0x00280010, "US", 2),
    (0x00280011, "US", 2),
    (0x00280100, "US", 16),
    (0x00280101, "US", 16),
    (0x00280102, "US", 15),
    (0x00280103, "US", 0),
)


def image(encoding: Encoding, name: str) -> Elements:
    """The slice of this patient."""
    found = {
        tag: encoding.element(
            tag, vr, value.encode("latin-1") if isinstance(value, str) else struct.pack(f"{encoding.order}H", value)
        )
        for tag, vr, value in (*SLICE, (0x00100010, "PN", name))
    }
    return found | {0x7FE00010: encoding.element(0x7FE00010, "OW", bytes(8))}


def file(encoding: Encoding, dataset: Elements, meta: Elements | None = None, preamble: bytes = b"") -> bytes:
    """Part 10 bytes (PS3.10 §7); `meta` are elements of group 0002 beside its own."""
    plain = Encoding(EXPLICIT)
    own = {0x00020001: ("OB", b"\0\1"), 0x00020002: ("UI", CT.encode()), 0x00020003: ("UI", f"{ROOT}.3".encode()),
           0x00020010: ("UI", encoding.syntax.encode())}  # fmt: skip
    group = joined({tag: plain.element(tag, *each) for tag, each in own.items()} | (meta or {}))
    start = plain.element(0x00020000, "UL", len(group).to_bytes(4, "little")) + group
    body = joined(dataset)
    return preamble.ljust(128, b"\0") + b"DICM" + start + (deflated(body) if encoding.syntax == DEFLATED else body)


def deflated(body: bytes) -> bytes:
    pack = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return pack.compress(body) + pack.flush()


def plain(data: bytes) -> bytes:
    """The file's bytes; of a deflated one, what is packed in them."""
    end = 144 + int.from_bytes(data[140:144], "little")
    if DEFLATED.encode() not in data[:end]:
        return data
    return data[:end] + zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[end:])


Build = Callable[[Encoding], Elements]
