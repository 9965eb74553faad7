"""One tenant, one patient, and files that ship inside pydicom."""

from __future__ import annotations

import io
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pydicom
import pydicom.data
import pytest
from pydicom.dataset import FileDataset

from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain import Context, Words, read
from radrelay_anonymize.main import SERVICE
from radrelay_shared.events import StudyAnonymized, StudyReceived, StudyUpdated
from radrelay_shared.packs import (
    Manifest,
    PackedSeries,
    PackPart,
    manifest_key,
    pack_key,
    read_instance,
    read_manifest,
    write_manifest,
    write_pack,
)
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import Downstream, client, deliver, running
from real_files import PYDICOM


@pytest.fixture
def context() -> Context:
    """Ten weeks back in time, under a fixed pseudonym; nothing is known from an order."""
    return Context(secret=b"tenant secret of these tests", pseudonym="RR-ABCDEFGHIJ", date_shift=-70, words=Words())


@pytest.fixture
def chest_ct() -> FileDataset:
    """GE's CT slice of 128 x 128 pixels, with private groups, two nested other patient IDs and padding at the end."""
    return read((PYDICOM / "test_files/CT_small.dcm").read_bytes())


@pytest.fixture
def report() -> FileDataset:
    """DCMTK's demonstration of structured reporting, with names, codes, measurements and references."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its UIDs are read lazily
        return read((PYDICOM / "test_files/test-SR.dcm").read_bytes())


# ── the service ──────────────────────────────────────────────────────────────────────────────────────

ZENOBIA = {
    "PatientName": "Quillfeather^Zenobia",
    "PatientID": "ZQ-778812",
    "IssuerOfPatientID": "BOZEMAN-MPI",
    "PatientBirthDate": "19510704",
    "PatientSex": "F",
    "AccessionNumber": "ACC-5551942",
    "ReferringPhysicianName": "Marlowe^Tess",
}
SECRETS: dict[str, Any] = {
    "tenant_secret": "tenant secret of these tests",
    "vault_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}
MORNING = datetime(2025, 3, 1, 8, 0, tzinfo=UTC)


def instance(number: int = 1, *, file: str = "CT_small.dcm", series: int = 1, study: int = 1, **tags: Any) -> bytes:
    """A file of pydicom's as instance `number` of Zenobia's study 1.2.3.`study`, or with other tags."""
    dataset = pydicom.dcmread(PYDICOM / "test_files" / file)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.3.{study}", f"1.2.3.{study}.{series}"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{study}.{series}.{number}"
    for keyword, value in (ZENOBIA | {"InstanceNumber": str(number)} | tags).items():
        setattr(dataset, keyword, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def uid_in(content: bytes) -> str:
    """The SOP Instance UID, as ingest would have read it; empty for what is no DICOM file."""
    try:
        return str(pydicom.dcmread(io.BytesIO(content), specific_tags=["SOPInstanceUID"]).get("SOPInstanceUID", ""))
    except Exception:  # noqa: BLE001  hostile bytes raise many kinds
        return ""


@dataclass
class Bench:
    """The service as it runs, what it told the others, and how ingest hands it a batch."""

    runtime: Runtime
    downstream: Downstream
    folder: Path

    @property
    def context(self) -> AnonymizeContext:
        found = self.runtime.context
        assert isinstance(found, AnonymizeContext)
        return found

    async def seal(
        self, *series: Sequence[bytes], study: str = "st-one", batch: int = 1, **facts: Any
    ) -> StudyReceived:
        """Pack the originals of a batch, series by series, and return the event that says so."""
        originals = self.context.originals
        packed = [await self._packed(study, batch, number, each) for number, each in enumerate(series, 1)]
        manifest = Manifest(study=study, batch=batch, study_instance_uid="1.2.3.1", series=tuple(packed))
        await write_manifest(originals, manifest_key(study, batch), manifest)
        said = {
            "site": "bozeman",
            "study": study,
            "order": "or-7",
            "jurisdiction": "US-MT",
            "received_at": MORNING,
            "completed_at": MORNING + timedelta(seconds=20),
            "batch": batch,
            "manifest": manifest_key(study, batch),
            "instances": manifest.instance_count,
            "size": manifest.total_bytes,
            "modalities": ("CT",),
            "basis": "quiet-period",
        }
        return (StudyReceived if batch == 1 else StudyUpdated).model_validate(said | facts)

    async def _packed(self, study: str, batch: int, number: int, files: Sequence[bytes]) -> PackedSeries:
        async def parts() -> AsyncIterator[PackPart]:
            for place, content in enumerate(files):
                yield PackPart(
                    uid_in(content) or f"1.2.3.1.{number}.{place}",
                    "1.2.840.10008.5.1.4.1.1.2",
                    "1.2.840.10008.1.2.1",
                    content,
                )

        key = pack_key(study, batch, number)
        instances = await write_pack(self.context.originals, key, parts())
        return PackedSeries(
            series_instance_uid=f"1.2.3.1.{number}", modality="CT", pack=key, instances=tuple(instances)
        )

    async def receive(self, *series: Sequence[bytes], **facts: Any) -> StudyReceived:
        """The batch is sealed, and anonymize has handled it."""
        event = await self.seal(*series, **facts)
        await deliver(self.runtime, event)
        return event

    async def released(self, event: StudyAnonymized) -> list[FileDataset]:
        """Every de-identified instance of the batch, in order; `packs` checks each against its hash."""
        blobs = self.context.blobs
        manifest = await read_manifest(blobs, event.manifest)
        return [
            read(await read_instance(blobs, series, each)) for series in manifest.series for each in series.instances
        ]

    async def identity(self, study: str, **sites: Any) -> httpx2.Response:
        """What the vault tells the service that delivers."""
        async with client(self.runtime, Role.SERVICE, subject="notification", **sites) as http:
            return await http.post("/vault/reidentify", json={"study": study, "purpose": "delivery"})


@pytest.fixture
def zenobia() -> Callable[..., bytes]:
    """Makes a DICOM file of Zenobia Quillfeather's; see `instance`."""
    return instance


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with running(SERVICE, tmp_path, **SECRETS) as (runtime, downstream):
        yield Bench(runtime, downstream, tmp_path)
