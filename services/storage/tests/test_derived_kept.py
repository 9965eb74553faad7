"""What is derived is kept like everything else: never lost, never doubled, in the ledger, purged with its study."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

import findings
from radrelay_shared.events import ModelAsked, PackDamaged, StudyAnonymized
from radrelay_shared.security import Principal, Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import Downstream, client, deliver, running, until
from radrelay_storage import domain
from radrelay_storage.context import StorageContext
from radrelay_storage.derived.judging import Derived
from radrelay_storage.derived.receiving import Coming
from radrelay_storage.derived.storing import written
from radrelay_storage.domain import Study
from radrelay_storage.main import SERVICE
from radrelay_storage.scrub import scrub_next

STUDY = "/dicom-web/studies/2.25.1"
MODEL = Principal("key:finder", frozenset({Role.MODEL}), frozenset({"clinic-a"}))


@pytest.fixture
def runtime(storage: tuple[Runtime, Downstream]) -> Runtime:
    return storage[0]


@pytest.fixture
async def slices(
    runtime: Runtime,
    pack: Callable[..., Awaitable[StudyAnonymized]],
    image: Callable[..., Dataset],
    assign: Callable[..., Awaitable[None]],
) -> list[Dataset]:
    """Two slices of a CT, which are stored, and which a model was asked about."""
    where = ([0, 0, 1], [0, 0, 2])
    found = [
        image("CT_small.dcm", 1, number=number, PatientID="RR-ONE", ImagePositionPatient=place)
        for number, place in enumerate(where, 1)
    ]
    await deliver(runtime, await pack(runtime, found))
    await assign(runtime, "key:finder", kind=ModelAsked)
    await runtime.relay.idle()
    return found


def context(runtime: Runtime) -> StorageContext:
    assert isinstance(runtime.context, StorageContext)
    return runtime.context


async def send(runtime: Runtime, made: Dataset) -> int:
    async with client(runtime, Role.MODEL, sites=("clinic-a",), subject="finder") as model:
        headers = {"Content-Type": "application/dicom"}
        return int((await model.post(STUDY, content=findings.encoded(made), headers=headers)).status_code)


async def ask(runtime: Runtime, method: str, path: str, who: str = "ana", **sent: Any) -> Any:
    async with client(runtime, Role.OPERATOR, subject=who) as operator:
        return await operator.request(method, path, **sent)


async def test_the_ledger_says_who_derived_what_and_proves_every_byte_of_it(
    runtime: Runtime, slices: list[Dataset]
) -> None:
    made = findings.segmentation(slices)
    assert await send(runtime, made) == 200
    last = (await ask(runtime, "GET", "/custody/st-1")).json()["entries"][-1]
    assert (last["kind"], last["who"], last["facts"]["instances"]) == ("derived", "key:finder", 1)
    proof = (await ask(runtime, "GET", "/custody/st-1/instances/2.25.1.901.1")).json()
    assert proof["sha256"] == hashlib.sha256(findings.encoded(made)).hexdigest()
    assert (await ask(runtime, "POST", "/custody/st-1/verify")).json()["broken"] is None
    key = last["facts"]["manifest"].replace("manifest.json", "0001.pack")
    whole = await runtime.context.blobs.read(key)
    await runtime.context.blobs.put(key, whole[:-1] + bytes([whole[-1] ^ 1]))
    assert key in (await ask(runtime, "POST", "/custody/st-1/verify")).json()["broken"]


async def test_the_scrubber_reads_it_again_and_asks_nobody_to_make_it_from_originals(
    tmp_path: Path,
    pack: Callable[..., Awaitable[StudyAnonymized]],
    image: Callable[..., Dataset],
    assign: Callable[..., Awaitable[None]],
) -> None:
    async with running(SERVICE, tmp_path, scrub_bytes_per_second=0) as (runtime, downstream):
        one = image("CT_small.dcm", 1)
        await deliver(runtime, await pack(runtime, [one]))
        await assign(runtime, "key:finder", kind=ModelAsked)
        assert await send(runtime, findings.report([one])) == 200
        last = (await ask(runtime, "GET", "/custody/st-1")).json()["entries"][-1]
        await runtime.context.blobs.put(last["facts"]["manifest"], b"damaged")
        runtime.context.settings = runtime.context.settings.model_copy(update={"scrub_bytes_per_second": 1 << 40})
        while await scrub_next(context(runtime)):
            pass
        await runtime.relay.idle()
        assert (await ask(runtime, "GET", "/custody/st-1")).json()["entries"][-1]["kind"] == "damaged"
        assert downstream.of(PackDamaged) == []


async def test_a_purge_takes_it_along(runtime: Runtime, slices: list[Dataset]) -> None:
    assert await send(runtime, findings.segmentation(slices)) == 200
    assert (await ask(runtime, "POST", "/purges/st-1", json={"reason": "test-data"})).status_code == 200
    assert (await ask(runtime, "POST", "/purges/st-1/approve", who="ben")).status_code == 200
    assert [info.key async for info in runtime.context.blobs.list("st-1/")] == []
    assert (await ask(runtime, "GET", "/dicom-web/series")).json() == []
    assert (await ask(runtime, "GET", f"{STUDY}/series/2.25.1.901")).status_code == 410
    assert await send(runtime, findings.segmentation(slices)) == 404


async def test_of_two_objects_of_one_name_that_come_at_once_one_is_stored(
    runtime: Runtime, slices: list[Dataset]
) -> None:
    made = [findings.report(slices) for _ in range(6)]
    for number, each in enumerate(made):
        each.ContentTime = f"{number:06d}"
    assert sorted(await asyncio.gather(*(send(runtime, each) for each in made))) == [200, 409, 409, 409, 409, 409]
    assert len((await ask(runtime, "GET", f"{STUDY}/series/2.25.1.902/instances")).json()) == 1


async def test_many_that_come_at_once_are_all_there(runtime: Runtime, slices: list[Dataset]) -> None:
    made = [findings.report(slices, number) for number in range(10, 18)]
    assert set(await asyncio.gather(*(send(runtime, each) for each in made))) == {200}
    (study,) = (await ask(runtime, "GET", "/dicom-web/studies")).json()
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([9], [10])


async def test_what_was_claimed_before_a_crash_is_there_after_it(
    tmp_path: Path, pack: Callable[..., Awaitable[StudyAnonymized]], image: Callable[..., Dataset]
) -> None:
    """The service dies between the claim and what makes it findable; nobody has to send it again."""
    one = image("CT_small.dcm", 1)
    async with running(SERVICE, tmp_path) as (runtime, _):
        await deliver(runtime, await pack(runtime, [one]))
        coming = Coming()
        coming.take(findings.encoded(findings.report([one])))
        study = await runtime.context.store.read(Study, "st-1")
        assert study is not None
        described = {"00080018": {"vr": "UI", "Value": ["2.25.1.902.1"]}}
        claim = await written(study, [Derived(coming.finish(), "SR", described)], MODEL, context(runtime))
        coming.file.close()
        await runtime.context.store.change(Study, "st-1", partial(domain.claimed, claim=claim, seen=study))
    async with running(SERVICE, tmp_path) as (runtime, _):

        async def both() -> bool:
            return len((await ask(runtime, "GET", f"{STUDY}/instances")).json()) == 2

        await until(both)
        assert (await ask(runtime, "GET", "/custody/st-1")).json()["entries"][-1]["kind"] == "derived"


async def test_late_images_and_derived_objects_do_not_lose_each_other(
    runtime: Runtime,
    slices: list[Dataset],
    pack: Callable[..., Awaitable[StudyAnonymized]],
    image: Callable[..., Dataset],
) -> None:
    late = await pack(runtime, [image("CT_small.dcm", 1, number=3, PatientID="RR-ONE")], batch=2)
    await asyncio.gather(deliver(runtime, late), send(runtime, findings.report(slices)))
    await runtime.relay.idle()
    (study,) = (await ask(runtime, "GET", "/dicom-web/studies")).json()
    assert (study["00080061"]["Value"], study["00201208"]["Value"]) == (["CT", "SR"], [4])
