"""The running service, and batches as anonymize would pack them, of the images inside the pydicom package."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from radrelay_shared.events import Event, StudyAnonymized, StudyAssigned
from radrelay_shared.packs import (
    Manifest,
    PackPart,
    manifest_key,
    write_manifest,
    write_series,
)
from radrelay_shared.service import Runtime
from radrelay_shared.testing import Downstream, deliver, running
from radrelay_storage.main import SERVICE
from real_files import TEST_FILES

CUSTODY_KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
MORNING = datetime(2025, 3, 1, 8, 0, tzinfo=UTC)
NO_BULK = ("PixelData", "WaveformSequence")


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[tuple[Runtime, Downstream]]:
    async with running(SERVICE, tmp_path) as found:
        yield found


class Watch:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = MORNING

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def watched(tmp_path: Path, watch: Watch) -> AsyncIterator[Runtime]:
    """The service at a time of the test's own, with a key; what runs by the clock is left to the tests."""
    settings = {
        "custody_key": CUSTODY_KEY,
        "custody_checkpoint_seconds": 3600,
        "lifecycle_seconds": 3600,
        "scrub_bytes_per_second": 0,
    }
    async with running(SERVICE, tmp_path, clock=watch, **settings) as (found, _):
        yield found


@pytest.fixture(scope="session")
def image() -> Callable[..., Dataset]:
    """`image("CT_small.dcm", 1, series=2, number=3)`: that file as instance 2.25.1.2.3 of study 2.25.1."""

    def made(name: str, study: int, *, series: int = 1, number: int = 1, **changes: Any) -> Dataset:
        found = dcmread(TEST_FILES / name)
        found.StudyInstanceUID = f"2.25.{study}"
        found.SeriesInstanceUID = f"2.25.{study}.{series}"
        found.SOPInstanceUID = f"2.25.{study}.{series}.{number}"
        found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
        found.InstanceNumber, found.SeriesNumber = number, series
        for keyword, value in changes.items():
            setattr(found, keyword, value)
        return found

    return made


@pytest.fixture(scope="session")
def pack() -> Callable[..., Awaitable[StudyAnonymized]]:
    return write_batch


async def write_batch(
    runtime: Runtime, images: list[Dataset], *, site: str = "clinic-a", study: str = "st-1", batch: int = 1
) -> StudyAnonymized:
    """Write the images' packs, metadata and manifest; returns the event that announces them."""
    blobs, packed = runtime.context.blobs, []
    for number, (_, group) in enumerate(groupby(images, key=lambda each: str(each.SeriesInstanceUID)), 1):
        series = list(group)
        written = await write_series(blobs, study, batch, number, parts(series), [described(each) for each in series])
        assert written is not None
        packed.append(written)
    uid = str(images[0].StudyInstanceUID)
    key = manifest_key(study, batch)
    manifest = Manifest(study=study, batch=batch, study_instance_uid=uid, series=tuple(packed))
    sha256 = await write_manifest(blobs, key, manifest)
    return StudyAnonymized(
        site=site,
        study=study,
        jurisdiction="US-MT",
        received_at=MORNING,
        completed_at=MORNING,
        batch=batch,
        manifest=key,
        manifest_sha256=sha256,
        study_instance_uid=uid,
        instances=len(images),
        modalities=tuple(sorted({each.modality for each in packed})),
    )


@pytest.fixture(scope="session")
def assign() -> Callable[..., Awaitable[None]]:
    return say_of_reading


async def say_of_reading(
    runtime: Runtime, who: str, study: int = 1, kind: type[Event] = StudyAssigned, *, sequence: int = 1, **more: Any
) -> None:
    """What assignment, reporting or triage says of somebody and study 2.25.<study>."""
    facts = {"site": "clinic-a", "study": f"st-{study}", "study_instance_uid": f"2.25.{study}", "workitem": "wi-1"}
    offer = {"radiologist": who, "model": who, "until": MORNING, "due_at": MORNING, "reasons": (), "reason": "lapsed"}
    report = {"report": "rp-1", "version": sequence, "content": "rp-1/1", "sha256": "0" * 64}
    await deliver(runtime, kind(**facts | offer | report | more), sequence=sequence)


async def parts(images: list[Dataset]) -> AsyncIterator[PackPart]:
    for each in images:
        out = io.BytesIO()
        each.save_as(out)
        meta = each.file_meta
        yield PackPart(each.SOPInstanceUID, each.SOPClassUID, meta.TransferSyntaxUID, out.getvalue())


def described(image: Dataset) -> dict[str, Any]:
    """The image's DICOM JSON without bulk."""
    kept = Dataset({each.tag: each for each in image if each.keyword not in NO_BULK})
    found: dict[str, Any] = kept.to_json_dict()
    return {tag: each for tag, each in found.items() if "InlineBinary" not in each}
