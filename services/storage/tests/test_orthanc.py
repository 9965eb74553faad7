"""Orthanc's DICOMweb plug-in as a client: it finds and fetches studies here, and stores what was derived from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydicom.dataset import Dataset

import findings
from radrelay_shared.events import ModelAsked, StudyAnonymized
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import PATIENCE_SECONDS, Downstream, client, deliver, served
from servers import Missing, cannot
from servers.orthanc import Orthanc

CT = {"PatientID": "RR-ONE", "PatientName": "RR-ONE", "PatientBirthDate": "", "AccessionNumber": "A-1"}


@dataclass
class Archive:
    """Somebody's Orthanc, which knows storage by DICOMweb as a model and as a stranger."""

    http: httpx2.AsyncClient
    slices: list[Dataset]

    async def ask(self, what: str, server: str = "radrelay", **body: Any) -> Any:
        """What the plug-in says of a request to RadRelay; None if it did not go well."""
        answer = await self.http.post(f"/dicom-web/servers/{server}/{what}", json=body)
        return answer.json() if answer.status_code == 200 else None

    async def keep(self, dataset: Dataset) -> str:
        """Give Orthanc a file; its own name for it."""
        answer = await self.http.post("/instances", content=findings.encoded(dataset))
        return str(answer.json()["ID"])


@pytest.fixture
async def archive(
    storage: tuple[Runtime, Downstream],
    pack: Callable[..., Awaitable[StudyAnonymized]],
    image: Callable[..., Dataset],
    assign: Callable[..., Awaitable[None]],
    tmp_path: Path,
) -> AsyncIterator[Archive]:
    """Two slices of a CT, and a cine loop in JPEG, are in storage; Orthanc is empty."""
    runtime, _ = storage
    slices = [
        image("CT_small.dcm", 1, number=number, ImagePositionPatient=[0, 0, number - 1], **CT) for number in (1, 2)
    ]
    cine = image("examples_ybr_color.dcm", 1, series=2, **CT)
    await deliver(runtime, await pack(runtime, [*slices, cine]))
    await assign(runtime, "key:finder", kind=ModelAsked)
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(served(runtime))
        keys = {
            "radrelay": client(runtime, Role.MODEL, sites=("clinic-a",), subject="finder").headers["authorization"],
            "elsewhere": client(runtime, Role.MODEL, sites=("clinic-b",), subject="other").headers["authorization"],
            "stranger": "Bearer rrk_nobody.knows",
        }
        known = {name: (f"{base}/dicom-web/", {"Authorization": key}) for name, key in keys.items()}
        try:
            orthanc = Orthanc(tmp_path / "orthanc", "ARCHIVE", dicomweb=known)
        except Missing as missing:
            raise cannot(missing) from missing
        await asyncio.to_thread(orthanc.start)
        stack.callback(orthanc.stop)
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=orthanc.url, timeout=PATIENCE_SECONDS))
        yield Archive(http, slices)


async def test_orthanc_finds_a_study_by_its_patient_and_nothing_elsewhere(archive: Archive) -> None:
    (study,) = await archive.ask("qido", Uri="/studies", Arguments={"00100020": "RR-ONE"})
    assert study["0020000D"]["Value"] == "2.25.1"
    assert await archive.ask("qido", "elsewhere", Uri="/studies", Arguments={}) == []
    series = await archive.ask("qido", Uri="/studies/2.25.1/series", Arguments={"Modality": "CT"})
    assert [each["0020000E"]["Value"] for each in series] == ["2.25.1.1"]
    assert len(await archive.ask("qido", Uri="/instances", Arguments={"StudyInstanceUID": "2.25.1"})) == 3
    assert await archive.ask("qido", "stranger", Uri="/studies", Arguments={}) is None


async def test_orthanc_fetches_a_study_as_it_is_stored(archive: Archive) -> None:
    assert await archive.ask("retrieve", Resources=[{"Study": "2.25.1"}], Synchronous=True) is not None
    kept = (await archive.http.get("/instances")).json()
    files = {(await archive.http.get(f"/instances/{each}/file")).content for each in kept}
    assert {findings.encoded(each) for each in archive.slices} < files
    assert len(files) == 3


async def test_orthanc_stores_what_was_derived_and_is_told_what_is_not_taken(archive: Archive) -> None:
    made = [
        await archive.keep(findings.segmentation(archive.slices)),
        await archive.keep(findings.report(archive.slices)),
    ]
    assert await archive.ask("stow", Resources=made, Synchronous=True) is not None
    series = await archive.ask("qido", Uri="/studies/2.25.1/series", Arguments={})
    assert sorted(each["00080060"]["Value"] for each in series) == ["CT", "SEG", "SR", "US"]
    assert await archive.ask("stow", Resources=made, Synchronous=True) is not None
    named = findings.report(archive.slices, number=6)
    named.PatientName = "Doe^Jane"
    assert await archive.ask("stow", Resources=[await archive.keep(named)], Synchronous=True) is None
