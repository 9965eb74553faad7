"""Orthanc as the sender: it stores, asks whether it may delete, and is asked how much it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient

from radrelay_shared.events import StudyReceived
from radrelay_shared.security import Role
from radrelay_shared.testing import PATIENCE_SECONDS, served, until
from servers import Missing, cannot
from servers.orthanc import Orthanc

pytestmark = pytest.mark.external

Door = Callable[..., AbstractAsyncContextManager[Any]]
Slice = Callable[..., bytes]

BOZEMAN = {"name": "Bozeman Clinic", "jurisdiction": "US-MT", "ae_titles": ["BOZEMAN"]}
CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


@asynccontextmanager
async def archive(door: Any, folder: Path, *slices: bytes) -> AsyncIterator[AsyncClient]:
    """The clinic's Orthanc with these instances, known to the site's register as listener."""
    try:
        orthanc = Orthanc(folder / "orthanc", "BOZEMAN", door.context.dicom_port)
    except Missing as missing:
        raise cannot(missing) from None
    await asyncio.to_thread(orthanc.start)
    try:
        peer = {"ae_title": "BOZEMAN", "host": "127.0.0.1", "port": orthanc.dicom_port}
        site = BOZEMAN | {"listeners": [peer], "query": peer, "quiet_seconds": 0.5}
        async with door.as_(Role.OPERATOR) as operator:
            assert (await operator.put("/ingest/sites/bozeman", json=site)).is_success
        async with AsyncClient(base_url=orthanc.url, timeout=PATIENCE_SECONDS) as client:
            for each in slices:
                assert (await client.post("/instances", content=each)).is_success
            yield client
    finally:
        await asyncio.to_thread(orthanc.stop)


async def committed(client: AsyncClient, *instances: str) -> Any:
    """What Orthanc heard about these instances, once it has."""
    asked = {"DicomInstances": [[CT_STORAGE, uid] for uid in instances]}
    transaction = (await client.post("/modalities/radrelay/storage-commitment", json=asked)).json()["Path"]

    async def told() -> Any:
        found = (await client.get(transaction)).json()
        return found["Status"] != "Pending" and found

    return await until(told)


async def test_orthanc_sends_a_study_and_is_told_what_it_may_delete(
    open_door: Door, ct_slice: Slice, tmp_path: Path
) -> None:
    slices = [ct_slice(number) for number in (1, 2, 3)]
    async with open_door(quiet=3600) as door, archive(door, tmp_path, *slices) as client:
        [study] = (await client.get("/studies")).json()
        sent = (await client.post("/modalities/radrelay/store", json=study)).json()
        assert (sent["InstancesCount"], sent["FailedInstancesCount"]) == (3, 0)
        [received] = await door.told(StudyReceived)
        assert (received.instances, received.basis, received.expected) == (3, "sender-count", 3)
        kept = await committed(client, "1.2.3.1.1.1", "1.2.3.1.1.2", "1.2.3.1.1.3")
        assert (kept["Status"], len(kept["Success"])) == ("Success", 3)
        lacking = await committed(client, "1.2.3.1.1.1", "1.2.3.1.1.9")
        assert lacking["Status"] == "Failure"
        [failed] = lacking["Failures"]
        assert (failed["SOPInstanceUID"], failed["FailureReason"]) == ("1.2.3.1.1.9", 0x0112)


async def test_a_study_of_which_orthanc_has_more_is_waited_for(
    open_door: Door, ct_slice: Slice, tmp_path: Path
) -> None:
    slices = [ct_slice(number) for number in (1, 2)]
    async with open_door(quiet=3600) as door, archive(door, tmp_path, *slices) as client:
        first, second = (await client.get("/instances")).json()
        await client.post("/modalities/radrelay/store", json=first)
        await asyncio.sleep(1.5)
        assert door.seen.of(StudyReceived) == []
        await client.post("/modalities/radrelay/store", json=second)
        [received] = await door.told(StudyReceived)
        assert (received.instances, received.basis, received.confidence) == (2, "sender-count", "high")


async def test_orthancs_dicomweb_plug_in_sends_a_study_over_stow_rs(
    open_door: Door, ct_slice: Slice, tmp_path: Path
) -> None:
    async with open_door(quiet=0.05) as door, served(door.runtime) as base:
        known = {
            "ingest": (
                f"{base}/ingest/dicom-web/",
                {"Authorization": door.as_(Role.SITE, "bozeman").headers["authorization"]},
            )
        }
        try:
            orthanc = Orthanc(tmp_path / "orthanc", "BOZEMAN", dicomweb=known)
        except Missing as missing:
            raise cannot(missing) from None
        await asyncio.to_thread(orthanc.start)
        try:
            async with AsyncClient(base_url=orthanc.url, timeout=PATIENCE_SECONDS) as client:
                kept = [(await client.post("/instances", content=ct_slice(each))).json()["ID"] for each in (1, 2, 3)]
                wanted = {"Resources": kept, "Synchronous": True}
                sent = await client.post("/dicom-web/servers/ingest/stow", json=wanted)
                assert sent.status_code == 200, sent.text
        finally:
            await asyncio.to_thread(orthanc.stop)
        [received] = await door.told(StudyReceived)
        assert (received.site, received.instances) == ("bozeman", 3)
