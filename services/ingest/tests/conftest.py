"""A real CT slice of pydicom's to send, given to patients and studies of the tests, and a front door to send it to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file

from radrelay_ingest.context import IngestContext
from radrelay_ingest.main import SERVICE
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import Downstream, client, running, until
from servers import free_ports

SITES = {
    "bozeman": {"name": "Bozeman Clinic", "jurisdiction": "US-MT", "ae_titles": ["BOZEMAN"]},
    "hamburg": {"name": "Praxis Hamburg", "jurisdiction": "DE", "ae_titles": ["HAMBURG"]},
}
PORTS = ("dicom_port", "dicom_tls_port", "mllp_port", "mllp_tls_port")  # settings, and where they are taken


def make_slice(number: int = 1, study: str = "1.2.3.1", accession: str = "ACC123", **tags: str) -> bytes:
    data_set = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, f"{study}.1"
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.{number}"
    data_set.InstanceNumber, data_set.AccessionNumber, data_set.PatientID = str(number), accession, "123456"
    data_set.PatientName = "DOE^JANE"
    for keyword, value in tags.items():
        setattr(data_set, keyword, value)
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    file = BytesIO()
    data_set.save_as(file)
    return file.getvalue()


@pytest.fixture(scope="session")
def ct_slice() -> Callable[..., bytes]:
    """Makes a DICOM file: slice `number` of a study's only series; further tags by keyword."""
    return make_slice


@dataclass
class FrontDoor:
    """Ingest as it runs, and what it told the services downstream."""

    runtime: Runtime
    seen: Downstream

    @property
    def context(self) -> IngestContext:
        found = self.runtime.context
        assert isinstance(found, IngestContext)
        return found

    def as_(self, role: Role, *sites: str) -> Any:
        """An HTTP client of this role."""
        return client(self.runtime, role, sites=sites or ("*",), subject=f"{role}-{'-'.join(sites)}")

    async def register(self, quiet: float, stat_quiet: float = 0.05) -> None:
        """Both clinics, with these quiet periods."""
        async with self.as_(Role.OPERATOR) as operator:
            for name, site in SITES.items():
                body = {**site, "quiet_seconds": quiet, "stat_quiet_seconds": stat_quiet}
                answer = await operator.put(f"/ingest/sites/{name}", json=body)
                assert answer.status_code == 200

    async def told(self, kind: type[Any], count: int = 1) -> list[Any]:
        """The events of this kind, once there are so many."""
        return await self.seen.told(kind, count)

    async def settled(self) -> None:
        """Until nothing is being sealed any more."""
        await until(lambda: not self.context.spool.claimed())

    async def emptied(self) -> None:
        """Until all that came is sealed."""
        await until(lambda: not self.context.spool.waiting())
        await self.settled()

    async def listens(self) -> None:
        """Until it does on every port that it was given."""
        given = [port for port in PORTS if getattr(self.context.settings, port) is not None]
        await until(lambda: all(getattr(self.context, port) for port in given))


@asynccontextmanager
async def opened(folder: Path, quiet: float = 0.2, **settings: Any) -> AsyncIterator[FrontDoor]:
    defaults: dict[str, Any] = {
        "identity_key": "0123456789abcdef",
        "spool": folder / "spool",
        "spool_reserve_bytes": 0,
        "spool_resume_bytes": 0,
        "spool_segment_bytes": 1 << 20,
        "spool_spare_segments": 1,
        "dicom_host": "127.0.0.1",
        "dicom_port": 0,
        "sweep_seconds": 0.02,
        "retry_scale": 0.02,
    }
    async with running(SERVICE, folder, **(defaults | settings)) as (runtime, seen):
        door = FrontDoor(runtime, seen)
        await door.listens()
        await door.register(quiet)
        yield door


@pytest.fixture
def open_door(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[FrontDoor]]:
    """Starts ingest in the test's folder: `async with open_door(quiet=0.2) as door`; a second time for a restart."""
    return partial(opened, tmp_path)


@pytest.fixture
def free_port() -> int:
    """A port on which nothing listens yet."""
    return free_ports(1)[0]
