"""Evidence through the running service: what was promised is waited for, and the verdict travels with the study."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from io import BytesIO
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from jwt.api_jws import PyJWS
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, StudyRootQueryRetrieveInformationModelFind

from radrelay_ingest.domain.steps import Step
from radrelay_shared.aggregate import Decision
from radrelay_shared.dicom.asking import keep_answers
from radrelay_shared.events import StudyReceived, StudyUpdated
from radrelay_shared.security import Role
from radrelay_shared.testing import served, until

Door = Callable[..., AbstractAsyncContextManager[Any]]
Slice = Callable[..., bytes]

BOZEMAN = {"name": "Bozeman Clinic", "jurisdiction": "US-MT", "ae_titles": ["BOZEMAN"]}
SOON = {"quiet_seconds": 0.2, "stat_quiet_seconds": 0.05}
LATE = {"quiet_seconds": 3600, "stat_quiet_seconds": 3600}
UPLOAD = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


async def registered(door: Any, **site: Any) -> None:
    async with door.as_(Role.OPERATOR) as operator:
        answer = await operator.put("/ingest/sites/bozeman", json=BOZEMAN | site)
        assert answer.status_code == 200


async def sent(door: Any, content: bytes) -> None:
    async with door.as_(Role.SITE, "bozeman") as machine:
        headers = UPLOAD | {"Upload-Length": str(len(content))}
        answer = await machine.post("/ingest/uploads", content=content, headers=headers)
        assert answer.status_code == 201

        async def unpacked() -> bool:
            return bool((await machine.get(answer.headers["location"])).json()["state"] == "done")

        await until(unpacked)


async def stays_open(door: Any, seconds: float = 0.5) -> None:
    await asyncio.sleep(seconds)
    assert door.seen.of(StudyReceived) == []
    assert len(door.context.spool.waiting()) == 1


async def test_a_study_with_a_manifest_is_whole_with_its_last_slice_and_not_before(
    open_door: Door, ct_slice: Slice
) -> None:
    key = Ed25519PrivateKey.generate()
    slices = [ct_slice(number) for number in (1, 2)]
    listed = [
        f'{{"sop_instance_uid": "1.2.3.1.1.{number}", "sha256": "{hashlib.sha256(each).hexdigest()}"}}'
        for number, each in enumerate(slices, 1)
    ]
    manifest = f'{{"study_instance_uid": "1.2.3.1", "count": 2, "instances": [{", ".join(listed)}]}}'
    async with open_door() as door:
        await registered(door, **SOON, manifest_keys=[OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)])
        async with door.as_(Role.SITE, "bozeman") as machine:
            signed = PyJWS().encode(manifest.encode(), key, "EdDSA")
            assert (await machine.post("/ingest/manifests", content=signed)).status_code == 202
        await sent(door, slices[0])
        await stays_open(door)
    async with open_door() as door:  # a restart changes nothing
        await registered(door, **SOON, manifest_keys=[OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)])
        await stays_open(door)
        await sent(door, slices[1])
        [received] = await door.told(StudyReceived)
        assert (received.basis, received.confidence, received.instances) == ("manifest", "certain", 2)
        assert (received.expected, received.missing) == (2, 0)


async def test_what_was_promised_and_never_came_is_said_once_patience_is_over_and_what_comes_late_follows(
    open_door: Door, ct_slice: Slice
) -> None:
    async with open_door() as door:
        await registered(door, **SOON, patience_seconds=0.5)
        study = door.context.study_key("bozeman", "1.2.3.1")
        images = ("1.2.3.1.1.1", "1.2.3.1.1.2")
        step = Step(step="step-1", site="bozeman", study=study, status="COMPLETED", images=images)
        await door.context.store.change(Step, "step-1", lambda _: Decision(step))
        await sent(door, ct_slice(1))
        [received] = await door.told(StudyReceived)
        assert (received.basis, received.confidence) == ("quiet-period", "low")
        assert (received.expected, received.missing) == (2, 1)
        await sent(door, ct_slice(2))
        [updated] = await door.told(StudyUpdated)
        assert (updated.basis, updated.confidence, updated.missing) == ("mpps", "high", 0)


async def test_a_study_whose_header_counts_its_images_is_waited_for(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await registered(door, **SOON)
        await sent(door, ct_slice(1, NumberOfStudyRelatedInstances="2"))
        await stays_open(door)
        await sent(door, ct_slice(2, NumberOfStudyRelatedInstances="2"))
        [received] = await door.told(StudyReceived)
        assert (received.basis, received.confidence, received.expected) == ("instance-count", "high", 2)


async def test_a_quiet_scanner_that_keeps_its_association_is_waited_for(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await registered(door, **SOON)
        association = await asyncio.to_thread(associated, door.context.dicom_port)
        try:
            await asyncio.to_thread(association.send_c_store, data_set(ct_slice()))
            await stays_open(door)
        finally:
            await asyncio.to_thread(association.release)
        [received] = await door.told(StudyReceived)
        assert (received.basis, received.confidence, received.expected) == ("quiet-period", "moderate", None)


async def test_an_upload_over_a_weak_link_is_waited_for(open_door: Door, ct_slice: Slice) -> None:
    """One STOW-RS request, whose second part comes after more than a quiet period."""
    begins, ends = b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\n", b"\r\n--b--\r\n"
    async with open_door() as door:
        await registered(door, **SOON)

        async def slowly() -> AsyncIterator[bytes]:
            yield begins + ct_slice(1) + begins
            await until(door.context.spool.waiting)
            await stays_open(door)
            yield ct_slice(2) + ends

        async with served(door.runtime) as address, httpx2.AsyncClient(base_url=address, trust_env=False) as link:
            async with door.as_(Role.SITE, "bozeman") as machine:
                headers = machine.headers | {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
            answer = await link.post("/ingest/dicom-web/studies", content=slowly(), headers=headers, timeout=60)
        assert answer.status_code == 200
        [received] = await door.told(StudyReceived)
        assert (received.basis, received.instances) == ("quiet-period", 2)


def associated(port: int) -> Any:
    scanner = AE("BOZEMAN")
    scanner.add_requested_context(CTImageStorage)
    association = scanner.associate("127.0.0.1", port)
    keep_answers(association)
    return association


def data_set(content: bytes) -> Dataset:
    return dcmread(BytesIO(content))


@contextmanager
def archive(*counts: int) -> Iterator[int]:
    """A clinic's archive that answers C-FIND with these counts, one after the other; its port."""
    left = list(counts)

    def find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        answer = Dataset()
        answer.QueryRetrieveLevel, answer.StudyInstanceUID = "STUDY", event.identifier.StudyInstanceUID
        answer.NumberOfStudyRelatedInstances = left.pop(0) if len(left) > 1 else left[0]
        yield 0xFF00, answer

    entity = AE("ARCHIVE")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()


async def test_a_sender_that_has_more_is_waited_for(open_door: Door, ct_slice: Slice) -> None:
    with archive(2) as port:
        async with open_door() as door:
            await registered(door, **SOON, query={"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": port})
            await sent(door, ct_slice(1))
            await stays_open(door, 1)
            await sent(door, ct_slice(2))
            [received] = await door.told(StudyReceived)
            assert (received.basis, received.confidence, received.expected) == ("sender-count", "high", 2)


async def test_a_sender_that_does_not_answer_holds_nothing_up(open_door: Door, ct_slice: Slice) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        async with open_door() as door:
            port = silent.getsockname()[1]
            await registered(door, **SOON, query={"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": port})
            await sent(door, ct_slice(1))
            [received] = await door.told(StudyReceived)
            assert (received.basis, received.confidence) == ("quiet-period", "moderate")
