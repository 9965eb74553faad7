"""Stored pixels in another form: decoded frames, and whole instances as explicit VR little endian (PS3.5 §8, §A.2)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.pixels.utils import get_nr_frames, pack_bits
from pydicom.uid import UID, ExplicitVRLittleEndian

from radrelay_shared.errors import NotFound
from radrelay_storage.decoders import decodable, decoder
from radrelay_storage.frames import UNREADABLE
from radrelay_storage.problems import NotAcceptable

Array = Any  # a numpy array: rows x columns, or rows x columns x 3

WORDS = {"OW": "u2", "OF": "u4", "OL": "u4", "OD": "u8", "OV": "u8"}  # what endianness means for bulk


def decode(file: BinaryIO, header: Dataset, index: int | None, *, raw: bool = False) -> Array:
    """The stored values of frame `index` from 0, or of all; colour as RGB unless `raw`. Blocks: call it in a thread.

    Raises `NotAcceptable` if the pixels cannot be decoded here.
    """
    syntax = header.file_meta.TransferSyntaxUID
    if not decodable(syntax):
        raise NotAcceptable(f"pixels of transfer syntax {syntax} ({syntax.name}) cannot be decoded here")
    with readable(syntax):
        file.seek(0)
        source = dcmread(file) if syntax.is_deflated else file
        return pixel_array(source, index=index, raw=raw, decoding_plugin=decoder(syntax))


@contextmanager
def readable(syntax: UID) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise NotAcceptable(f"this instance's pixels ({syntax}, {syntax.name}) cannot be decoded here") from error


def plain_frame(file: BinaryIO, number: int) -> bytes:
    """Frame `number` (from 1) as explicit VR little endian has it, laid out as the instance's metadata says."""
    header = dcmread(file, stop_before_pixels=True)
    if number > get_nr_frames(header, warn=False):
        raise NotFound("this instance has no frame of that number")
    native = not header.file_meta.TransferSyntaxUID.is_encapsulated
    return plain(decode(file, header, number - 1, raw=native), header)


def frame_count(file: BinaryIO) -> int:
    """How many frames a whole DICOM file of any transfer syntax has. Blocks: call it in a thread."""
    return int(get_nr_frames(dcmread(file, stop_before_pixels=True), warn=False))


def plain(values: Array, header: Dataset) -> bytes:
    """Little-endian bytes of one or more frames."""
    if header.BitsAllocated == 1:
        return bytes(pack_bits(values))
    if header.SamplesPerPixel > 1 and header.get("PlanarConfiguration") == 1:
        values = np.moveaxis(values, -1, -3)
    return bytes(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())


def explicit(file: BinaryIO) -> bytes:
    """The whole instance as a file in explicit VR little endian; its UID stays. Blocks: call it in a thread.

    Raises `NotAcceptable` if its pixels cannot be decoded here.
    """
    dataset = dcmread(file)
    syntax = dataset.file_meta.TransferSyntaxUID
    with readable(syntax):
        if syntax.is_encapsulated:
            dataset.decompress(generate_instance_uid=False, decoding_plugin=decoder(syntax))
        if not syntax.is_little_endian:
            dataset = turned_around(dataset, file)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        out = io.BytesIO()
        dcmwrite(out, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return out.getvalue()


def turned_around(dataset: Dataset, file: BinaryIO) -> Dataset:
    """The dataset for the other endianness: pydicom turns all but words in bulk, and pixels."""
    for found in dataset.iterall():
        if found.VR in WORDS and found.value and found.keyword != "PixelData":
            swap(found)
    turned = Dataset({found.tag: found for found in dataset})  # one that remembers no encoding of its own
    turned.file_meta = dataset.file_meta
    if "PixelData" in turned:
        turned.PixelData = padded(plain(decode(file, dataset, None, raw=True), dataset))
        turned["PixelData"].VR = "OW"
    return turned


def padded(value: bytes) -> bytes:
    return value + b"\0" * (len(value) % 2)


def swap(found: DataElement) -> None:
    found.value = np.frombuffer(found.value, f">{WORDS[found.VR]}").astype(f"<{WORDS[found.VR]}").tobytes()


# ── other bulk ───────────────────────────────────────────────────────────────────────────────────────


def bulk_value(file: BinaryIO, path: str) -> bytes:
    """The bytes, little endian, of the element at `tag` or `tag.item.tag…`. Blocks: call it in a thread.

    Raises `NotFound` if there is no such element, or none of bulk.
    """
    tag, *rest = path.split(".")
    dataset: Dataset = dcmread(file, stop_before_pixels=True)
    try:
        for item, inner in zip(rest[::2], rest[1::2], strict=True):
            dataset, tag = dataset[int(tag, 16)].value[int(item) - 1], inner
        found = dataset[int(tag, 16)]
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise NotFound("this instance has no such element") from error
    if not isinstance(found.value, bytes):
        raise NotFound("this element is no bulk data; its value is in the metadata, if it may be seen")
    if found.VR in WORDS and not dataset.is_little_endian:
        swap(found)
    return bytes(found.value)
