"""What the storage benchmark reads: a CT series in any number of slices, and thousands of small studies to search."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from radrelay_shared.aggregate import Decision
from radrelay_shared.events import StudyAnonymized
from radrelay_shared.packs import (
    Manifest,
    PackPart,
    manifest_key,
    pack_key,
    write_manifest,
    write_series,
)
from radrelay_shared.service import Runtime
from radrelay_shared.testing import deliver
from radrelay_storage.attributes import Level, element, kept, one_of, searchable, tag
from radrelay_storage.domain import Study, StudyBatch

SIDE = 512
TODAY = datetime(2026, 1, 1, tzinfo=UTC)
SMALL_FILE = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel")


@dataclass(frozen=True)
class Ct:
    """One study of one series, by the key that RadRelay knows it by."""

    key: str
    study: str
    slices: int

    @property
    def series(self) -> str:
        return f"{self.study}.1"

    @property
    def path(self) -> str:
        return f"/studies/{self.study}/series/{self.series}"

    @property
    def pack(self) -> str:
        return pack_key(self.key, 1, 1)

    def frame(self, number: int) -> str:
        return f"{self.path}/instances/{self.series}.{number}/frames/1"

    def images(self) -> Iterator[Dataset]:
        """Slices of 512 x 512 in explicit VR little endian, 0.5 MB each, of noise."""
        draw = random.Random(1)
        found = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
        found.Rows = found.Columns = SIDE
        found.StudyInstanceUID, found.SeriesInstanceUID = self.study, self.series
        for number in range(1, self.slices + 1):
            found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = f"{self.series}.{number}"
            found.InstanceNumber, found.PixelData = number, draw.randbytes(2 * SIDE * SIDE)
            yield found


CT_300 = Ct("st-1", "2.25.1", 300)
CT_1000 = Ct("st-2", "2.25.2", 1000)


def encoded(image: Dataset) -> bytes:
    out = BytesIO()
    image.save_as(out, enforce_file_format=True)
    return out.getvalue()


async def store_ct(runtime: Runtime, ct: Ct) -> None:
    """The series as anonymize leaves it, announced by its event."""
    blobs, metadata = runtime.context.blobs, []

    async def parts() -> AsyncIterator[PackPart]:
        for image in ct.images():
            kept_of = Dataset({each.tag: each for each in image if each.keyword != "PixelData"})
            metadata.append({key: e for key, e in kept_of.to_json_dict().items() if "InlineBinary" not in e})
            meta = image.file_meta
            yield PackPart(image.SOPInstanceUID, image.SOPClassUID, meta.TransferSyntaxUID, encoded(image))

    key, series = manifest_key(ct.key, 1), await write_series(blobs, ct.key, 1, 1, parts(), metadata)
    assert series is not None
    await write_manifest(blobs, key, Manifest(study=ct.key, batch=1, study_instance_uid=ct.study, series=(series,)))
    facts = {"site": "clinic-a", "study": ct.key, "jurisdiction": "US-MT", "batch": 1, "manifest": key}
    when = {"received_at": TODAY, "completed_at": TODAY, "study_instance_uid": ct.study, "instances": ct.slices}
    await deliver(runtime, StudyAnonymized(**facts, **when, modalities=("CT",)))


# ── studies to search ────────────────────────────────────────────────────────────────────────────────


def values_of(number: int) -> dict[str, str]:
    """A study of a day of the last two years, in one of five modalities."""
    modality = ("CT", "MR", "DX", "US", "CR")[number % 5]
    day = TODAY - timedelta(minutes=number * 50)
    return {
        "StudyDate": f"{day:%Y%m%d}",
        "StudyTime": f"{day:%H%M%S}",
        "AccessionNumber": f"A{number}",
        "PatientID": f"P-{number}",
        "PatientSex": "O",
        "StudyInstanceUID": f"2.25.{10_000_000 + number}",
        "StudyDescription": f"{modality} of something",
        "Modality": modality,
        "PatientName": f"ANON^{number}",
    }


def one_study(number: int) -> Study:
    """The study as storage's domain would leave it, of one of four sites."""
    values = values_of(number)
    uid, modality, name = values["StudyInstanceUID"], values.pop("Modality"), values.pop("PatientName")
    attributes = {tag(keyword): element(keyword, value) for keyword, value in values.items()}
    attributes[tag("PatientName")] = {"vr": "PN", "Value": [{"Alphabetic": name}]}
    return Study(
        site=f"clinic-{'abcd'[number % 4]}",
        study=f"st-{number + 10}",
        study_instance_uid=uid,
        received_at=TODAY - timedelta(minutes=number * 50),
        modalities=(modality,),
        body_parts=("HEAD",),
        attributes=kept(attributes, Level.STUDY),
        keys=searchable(attributes, Level.STUDY) | {"ModalitiesInStudy": one_of([modality])},
        batches=(StudyBatch(batch=1, manifest="none", series=(f"{uid}.1",), instances=100),),
        instances=100,
    )


def put(study: Study) -> Callable[[Study | None], Decision[Study]]:
    return lambda _: Decision(study)


def one_small_file(number: int) -> bytes:
    """The same study for a server that has no other way in: one tiny instance."""
    found = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    image = Dataset({each.tag: each for each in found if each.keyword in (*SMALL_FILE, "SOPClassUID")})
    image.file_meta, image.PhotometricInterpretation = found.file_meta, "MONOCHROME2"
    for keyword, value in values_of(number).items():
        setattr(image, keyword, value)
    image.SeriesInstanceUID, image.SOPInstanceUID = f"{image.StudyInstanceUID}.1", f"{image.StudyInstanceUID}.1.1"
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.Rows = image.Columns = 2
    image.PixelData = bytes(8)
    return encoded(image)
