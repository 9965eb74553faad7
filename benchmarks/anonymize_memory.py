"""One long cine through the product: `-m benchmarks.anonymize_memory WAY BYTES FOLDER` prints the most memory it took.

WAY is `service`, a batch from object storage to a pack as anonymize runs it, or `folder`, the command `radrelay
anonymize` with one job. The copy has the cine's pixels, nothing above the bits stored, and no name, or this fails.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import resource
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage

from benchmarks.yardsticks import peak_kib
from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.main import SERVICE
from radrelay_shared.events import StudyAnonymized, StudyReceived
from radrelay_shared.packs import (
    Manifest,
    PackedInstance,
    PackedSeries,
    PackPart,
    manifest_key,
    pack_key,
    pour_instance,
    read_manifest,
    write_manifest,
    write_pack,
)
from radrelay_shared.ports import Blobs
from radrelay_shared.testing import deliver, running

SIDE, FRAME = 1024, 1024 * 1024 * 2  # pixels, bytes
NAME, UID = "QUILLFEATHER", "1.2.826.0.1.3680043.8.498.4711"
SECRETS: dict[str, Any] = {
    "tenant_secret": "tenant secret of this benchmark",
    "vault_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}
RADRELAY = Path(sys.executable).with_name("radrelay")
LIMIT = 600  # seconds


class Cine:
    """Frames of twelve bits, each another one, made as they are asked for; the first samples hold more above those."""

    def __init__(self, size: int) -> None:
        self.frames = size // FRAME
        shade = b"".join((value & 0xFFF).to_bytes(2, "little") for value in range(SIDE * 2))
        self.shades = shade * (FRAME // len(shade) + 1)

    def __iter__(self) -> Iterator[bytes]:
        """The file, in pieces of at most 1 MiB."""
        yield self._header() + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, self.frames * FRAME)
        for number, piece in enumerate(self.pixels()):
            yield piece if number else _with_more(piece)

    def pixels(self) -> Iterator[bytes]:
        for number in range(self.frames):
            start = number % SIDE * 2
            yield self.shades[start : start + FRAME // 2]
            yield self.shades[start + FRAME // 2 : start + FRAME]

    def _header(self) -> bytes:
        cine = FileDataset(None, Dataset(), preamble=bytes(128), file_meta=FileMetaDataset())
        cine.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        cine.SOPClassUID, cine.Modality = XRayAngiographicImageStorage, "XA"
        cine.SOPInstanceUID, cine.StudyInstanceUID, cine.SeriesInstanceUID = f"{UID}.1", f"{UID}.2", f"{UID}.3"
        cine.PatientName, cine.PatientID, cine.StudyDescription = f"{NAME}^Z", "ZQ-778812", f"Coronaries of {NAME}"
        cine.BurnedInAnnotation = "NO"  # or all its frames would be looked at, decoded
        cine.Rows = cine.Columns = SIDE
        cine.NumberOfFrames, cine.SamplesPerPixel, cine.PhotometricInterpretation = self.frames, 1, "MONOCHROME2"
        cine.BitsAllocated, cine.BitsStored, cine.HighBit, cine.PixelRepresentation = 16, 12, 11, 0
        buffer = io.BytesIO()
        dcmwrite(buffer, cine, enforce_file_format=True)
        return buffer.getvalue()


def _with_more(piece: bytes) -> bytes:
    """Something in the bits above the twelve that are stored."""
    return bytes(byte | 0xF0 if at % 2 else byte for at, byte in enumerate(piece[:64])) + piece[64:]


class Check:
    """Takes a copy in pieces: its last bytes are the cine's pixels, and its first ones name nobody."""

    def __init__(self, cine: Cine, length: int) -> None:
        self.left = length - cine.frames * FRAME  # of the header
        self.header, self.pixels, self.expected = b"", hashlib.sha256(), hashlib.sha256()
        for piece in cine.pixels():
            self.expected.update(piece)

    def take(self, piece: bytes) -> None:
        self.header += piece[: self.left]
        self.pixels.update(piece[self.left :])
        self.left = max(0, self.left - len(piece))

    def hold(self) -> None:
        assert NAME.encode() not in self.header, "the copy names the patient"
        assert b"RR-" in self.header, "the copy has no pseudonym"
        assert self.pixels.digest() == self.expected.digest(), "the copy has other pixels"


# ── ways ─────────────────────────────────────────────────────────────────────────────────────────────


def folder(cine: Cine, place: Path) -> int:
    """KiB that the largest process of the command took."""
    originals, copies = place / "in", place / "out"
    originals.mkdir()
    with (originals / "cine.dcm").open("wb") as file:
        file.writelines(cine)
    command = [str(RADRELAY), "anonymize", str(originals), str(copies), "--data", str(place / "data"), "--jobs", "1"]
    subprocess.run(command, check=True, timeout=LIMIT, stdout=sys.stderr)
    [copy] = copies.rglob("*.dcm")
    check = Check(cine, copy.stat().st_size)
    with copy.open("rb") as file:
        while piece := file.read(1 << 20):
            check.take(piece)
    check.hold()
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def service(cine: Cine, place: Path) -> int:
    """KiB that this process took at most."""
    return asyncio.run(_served(cine, place))


async def _served(cine: Cine, place: Path) -> int:
    async with running(SERVICE, place, **SECRETS) as (runtime, downstream):
        assert isinstance(runtime.context, AnonymizeContext)
        await deliver(runtime, await _sealed(runtime.context.originals, cine))
        [told] = downstream.of(StudyAnonymized)
        blobs = runtime.context.blobs
        [series] = (await read_manifest(blobs, told.manifest)).series
        [copy] = series.instances
        check = Check(cine, copy.length)
        await pour_instance(blobs, series, copy, check.take)
        check.hold()
        return peak_kib()  # rusage would count what the process that started this one took, too (getrusage(2))


async def _sealed(originals: Blobs, cine: Cine) -> StudyReceived:
    """The cine among the originals, as ingest leaves it there."""

    async def parts() -> AsyncIterator[PackPart]:
        yield PackPart(f"{UID}.1", XRayAngiographicImageStorage, ExplicitVRLittleEndian, iter(cine))

    study, key = "st-cine", pack_key("st-cine", 1, 1)
    instances: list[PackedInstance] = await write_pack(originals, key, parts())
    series = PackedSeries(series_instance_uid=f"{UID}.3", modality="XA", pack=key, instances=tuple(instances))
    manifest = Manifest(study=study, batch=1, study_instance_uid=f"{UID}.2", series=(series,))
    await write_manifest(originals, manifest_key(study, 1), manifest)
    now = datetime.now(UTC)
    return StudyReceived(
        site="bozeman",
        study=study,
        order="or-7",
        jurisdiction="US-MT",
        received_at=now,
        completed_at=now,
        batch=1,
        manifest=manifest_key(study, 1),
        instances=1,
        size=manifest.total_bytes,
        modalities=("XA",),
        basis="quiet-period",
    )


WAYS = {"folder": folder, "service": service}


def main(way: str, size: int, place: Path) -> None:
    started = time.perf_counter()
    taken = WAYS[way](Cine(size), place)
    print(
        json.dumps({"way": way, "mb": round(taken * 1024 / 1e6, 1), "seconds": round(time.perf_counter() - started, 1)})
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
