"""Files that are meant to hurt whoever reads them, made from one tiny image whose every identity is a canary."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset
from pydicom.uid import JPEGBaseline8Bit

CANARY, CANARY_UID = "Qzxcanary", "1.2.826.0.1.3680043.8.498.777"
COPIED = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "StudyDate", "PatientAge",
    "BitsAllocated", "SamplesPerPixel", "PhotometricInterpretation",
)  # fmt: skip
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PROCEDURES, PIXEL_DATA = 0x00081032, 0x7FE00010
UNDEFINED = 0xFFFFFFFF
LONG = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])
IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN, JPEG = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", str(JPEGBaseline8Bit)
)  # fmt: skip


def element(tag: int, vr: str, value: bytes, length: int | None = None, *, implicit: bool = False) -> bytes:
    """One element (PS3.5 §7.1) that says it is `length` bytes long, however many there are."""
    length = len(value) if length is None else length
    group, number = tag >> 16, tag & 0xFFFF
    if implicit or tag >> 16 == ITEM >> 16:
        return struct.pack("<HHI", group, number, length & UNDEFINED) + value
    if vr in LONG:
        return struct.pack("<HH2sHI", group, number, vr.encode(), 0, length & UNDEFINED) + value
    return struct.pack("<HH2sH", group, number, vr.encode(), length & 0xFFFF) + value


def image() -> FileDataset:
    """The tiny image as a data set: 2 x 2 pixels."""
    source = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    made = FileDataset(None, {}, file_meta=source.file_meta, preamble=bytes(128))
    for keyword in COPIED:
        made[keyword] = source[keyword]
    made.PatientName, made.PatientID, made.AccessionNumber = f"{CANARY}^Ann", f"{CANARY}-0815", f"{CANARY}4711"
    made.SpecificCharacterSet, made.SliceThickness, made.Rows, made.Columns = "ISO_IR 100", "1.25", 2, 2
    made.PixelData = bytes(8)
    return made


def encoded(dataset: FileDataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def split(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Preamble and meta; elements up to Study Date; those from Accession Number on, for both are in every image."""
    start = 144 + int.from_bytes(data[140:144], "little")
    at = data.index(struct.pack("<HH", 0x0008, 0x0050), start)
    return data[:start], data[start:at], data[at:]


META, BEFORE, AFTER = split(encoded(image()))
PIXELS_AT = AFTER.index(struct.pack("<HH", 0x7FE0, 0x0010))
BODY = AFTER[:PIXELS_AT]  # without pixels


def with_syntax(syntax: str) -> bytes:
    """Preamble and a file meta that claims this transfer syntax."""
    dataset = image()
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    pydicom.filewriter.write_file_meta_info(buffer, dataset.file_meta)
    return bytes(128) + b"DICM" + buffer.getvalue()


def with_element(raw: bytes) -> bytes:
    """The image with an element in place of its Procedure Code Sequence, which stands behind Modality."""
    at = BODY.index(struct.pack("<HH", 0x0010, 0x0010))
    return META + BEFORE + BODY[:at] + raw + AFTER[at:]


def with_charset(raw: bytes) -> bytes:
    return META + BEFORE.replace(element(0x00080005, "CS", b"ISO_IR 100"), raw) + AFTER


def with_pixels(raw: bytes, syntax: str = EXPLICIT) -> bytes:
    return with_syntax(syntax) + BEFORE + BODY + raw


def fragments(*frames: bytes, table: bytes = b"", end: bytes | None = None) -> bytes:
    """Encapsulated pixel data (PS3.5 §A.4)."""
    items = b"".join(element(ITEM, "", each) for each in (table, *frames))
    closing = element(SEQUENCE_END, "", b"") if end is None else end
    return element(PIXEL_DATA, "OB", b"", UNDEFINED) + items + closing


def nested(depth: int, inner: bytes, *, undefined: bool = False) -> bytes:
    """Procedure codes in procedure codes."""
    for _ in range(depth):
        if undefined:
            item = element(ITEM, "", b"", UNDEFINED) + inner + element(ITEM_END, "", b"")
            inner = element(PROCEDURES, "SQ", b"", UNDEFINED) + item + element(SEQUENCE_END, "", b"")
        else:
            inner = element(PROCEDURES, "SQ", element(ITEM, "", inner))
    return inner


NAME = element(0x00100010, "PN", f"{CANARY}^Jo ".encode())


def too_long() -> Iterator[tuple[str, bytes]]:
    """Lengths that lead out of what they are in: of a value, an item and a sequence, at every depth."""
    for depth in range(9):
        for by in (1, 2, 0x100, 0x7000):
            value = element(0x00100010, "PN", CANARY.encode() + b" ", len(CANARY) + 1 + by)
            yield (
                f"a value {by} too long, {depth} deep",
                with_element(nested(depth, value))[: -8 if not depth else None],
            )
        for by in (2, 0x1000, 0x7FFFFFFF, 0xFFFFFF00):
            item = element(ITEM, "", NAME, len(NAME) + by)
            yield f"an item {by} too long, {depth} deep", with_element(nested(depth, element(PROCEDURES, "SQ", item)))
            sequence = element(PROCEDURES, "SQ", element(ITEM, "", NAME), len(NAME) + 8 + by)
            yield f"a sequence {by} too long, {depth} deep", with_element(nested(depth + 1, sequence))


VRS = (
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OD", "OF", "OL", "OV", "OW", "PN",
    "SH", "SL", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN", "UR", "US", "UT", "UV",
)  # fmt: skip
SLOW = ("AT", "CS", "DS", "IS", "PN")  # of which a reader makes an object a value


def huge(vr: str, *, in_order: bool) -> bytes:
    """A million values in one element, in implicit encoding, where every VR may be so long."""
    dataset = image()
    dataset.file_meta.TransferSyntaxUID = IMPLICIT
    start, before, after = split(encoded(dataset))
    at = 0
    tags = {pydicom.datadict.dictionary_VR(tag): tag for tag in sorted(pydicom.datadict.DicomDictionary, reverse=True)
            if 0x00080000 < tag < 0x7F000000 and pydicom.datadict.dictionary_VM(tag) != "1"}  # fmt: skip
    tag = tags.get(vr, 0x00100010)
    while in_order and (head := struct.unpack_from("<HHI", after, at))[0] << 16 | head[1] < tag:
        at += 8 + head[2]
    return start + before + after[:at] + element(tag, vr, b"1\\" * 1_000_000, implicit=True) + after[at:]


def bomb(size: int) -> bytes:
    """So many zeros, deflated."""
    pack = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = bytes(1 << 20)
    packed = b"".join(pack.compress(block) for _ in range(size >> 20))
    return with_syntax(DEFLATED) + packed + pack.flush()


ENDLESS = element(PROCEDURES, "SQ", b"", UNDEFINED) + element(ITEM, "", b"", UNDEFINED)

# What nobody may read.
UNREADABLE: dict[str, Callable[[], bytes]] = {
    **{name: partial(bytes, data) for name, data in too_long()},
    "ten thousand sequences, each in the one before": lambda: with_element(ENDLESS * 10_000),
    "a sequence without end": lambda: with_element(ENDLESS),
    "seventeen levels, whole": lambda: with_element(nested(18, NAME)),
    "seventeen levels of undefined length, whole": lambda: with_element(nested(18, NAME, undefined=True)),
    "a million empty items": lambda: with_element(element(PROCEDURES, "SQ", element(ITEM, "", b"") * 1_000_000)),
    "a million elements": lambda: with_element(element(0x00104000, "LT", b"") * 1_000_000),
    "a value of four gigabytes, it says": lambda: with_element(element(0x00104000, "UT", b"short", 0xFFFFFFFE)),
    "a deflate bomb": lambda: bomb(320 << 20),
    "a deflate stream that is none": lambda: with_syntax(DEFLATED) + b"\xff" * 1000,
    "pixels that are cut": lambda: with_pixels(element(PIXEL_DATA, "OW", bytes(5), 8)),
    "fragments without end": lambda: with_pixels(fragments(bytes(64), end=b""), JPEG),
    "a fragment longer than the file": lambda: with_pixels(
        element(PIXEL_DATA, "OB", b"", UNDEFINED) + element(ITEM, "", b"") + element(ITEM, "", bytes(8), 0x7FFFFFFE),
        JPEG,
    ),
    "a fragment that is an element": lambda: with_pixels(fragments(bytes(8), end=NAME), JPEG),
    "an offset table that points behind the frames": lambda: with_pixels(
        fragments(bytes(64), table=struct.pack("<I", 0x7FFFFFFF)), JPEG
    ),
    "an offset table that points into a frame": lambda: with_pixels(
        fragments(bytes(64), bytes(64), table=struct.pack("<II", 0, 33)), JPEG
    ),
    "an offset table of three bytes": lambda: with_pixels(fragments(bytes(64), table=b"\0\0\0"), JPEG),
    "no fragment at all": lambda: with_pixels(
        element(PIXEL_DATA, "OB", b"", UNDEFINED) + element(SEQUENCE_END, "", b""), JPEG
    ),
    "fragments that say native": lambda: with_pixels(fragments(bytes(64))),
    "native pixels that say JPEG": lambda: with_syntax(JPEG) + BEFORE + AFTER,
}  # fmt: skip

# What may be refused with whatever reason, or leave as a clean copy; but never with a canary, nor with a crash.
ODD: dict[str, Callable[[], bytes]] = {
    **{f"a million values of {vr}": partial(huge, vr, in_order=True) for vr in VRS},
    **{f"a million values of {vr}, out of order": partial(huge, vr, in_order=False) for vr in SLOW},
    "sixteen megabytes of names": lambda: with_element(element(0x00081070, "UN", f"{CANARY}\\".encode() * 1_600_000)),
    "a million character sets": lambda: with_charset(element(0x00080005, "UC", b"ISO_IR 100\\" * 1_000_000)),
    "five thousand character sets": lambda: with_charset(element(0x00080005, "CS", b"ISO 2022 IR 87\\" * 4_000)),
    "an unknown character set": lambda: with_charset(element(0x00080005, "CS", b"ISO_IR 666")),
    "a character set of escapes": lambda: with_charset(element(0x00080005, "CS", b"\x1b$B\\\x1b(J ")),
    "escapes that never end": lambda: with_element(element(0x00081030, "LO", b"\x1b$B" + b"\x1b" * 61)),
    "UTF-16 in a Latin character set": lambda: with_element(element(0x00081030, "LO", CANARY.encode("utf-16-le"))),
    "a second patient's name": lambda: with_element(NAME),
    "a thousand patient's names": lambda: with_element(NAME * 1000),
    "elements backwards": lambda: META + BODY[PIXELS_AT:] + NAME + BEFORE + AFTER,
    "group 0002 in the data set": lambda: with_element(element(0x00020016, "AE", CANARY.encode() + b" ")),
    "commands in the data set": lambda: META + element(0x00000600, "AE", CANARY.encode() + b" ") + BEFORE + AFTER,
    "file-set elements in the data set": lambda: (
        META + element(0x00041130, "CS", CANARY.upper().encode()) + BEFORE + AFTER
    ),
    "item delimiters where none belong": lambda: with_element(
        element(ITEM_END, "", b"") + element(SEQUENCE_END, "", b"")
    ),
    "elements behind the pixels": lambda: META + BEFORE + AFTER + NAME,
    "a name in the preamble": lambda: CANARY.encode().ljust(128) + META[128:] + BEFORE + AFTER,
    "explicit that says implicit": lambda: with_syntax(IMPLICIT) + BEFORE + AFTER,
    "explicit that says big endian": lambda: with_syntax(BIG_ENDIAN) + BEFORE + AFTER,
    "explicit that says deflated": lambda: with_syntax(DEFLATED) + BEFORE + AFTER,
    "a transfer syntax of its own": lambda: with_syntax(CANARY_UID) + BEFORE + AFTER,
    "a transfer syntax that is no UID": lambda: with_syntax(CANARY) + BEFORE + AFTER,
    "an image that refers to itself": lambda: with_element(
        element(0x00081140, "SQ", element(ITEM, "", element(0x00081155, "UI", image().SOPInstanceUID.encode())))
    ),
    "rows and columns of the largest image": lambda: with_element(element(0x00280010, "US", b"\xff\xff")),
    "a billion frames": lambda: with_element(element(0x00280008, "IS", b"1000000000")),
    "a VR that nobody knows": lambda: with_element(struct.pack("<HH2sH", 0x0010, 0x1000, b"ZZ", 10) + CANARY.encode()),
    "a name that says it is a number": lambda: with_element(element(0x00101020, "PN", CANARY.encode() + b" ")),
    "a length of odd bytes": lambda: with_element(element(0x00104000, "LT", CANARY.encode())),
    "group 0002 that leads out of the file": lambda: META[:140] + b"\xff\xff\xff\x7f" + META[144:] + BEFORE,
    "empty": lambda: META,
}  # fmt: skip
CASES = UNREADABLE | ODD
