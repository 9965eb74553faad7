"""Holds beat everything; two people purge; what is left is the proof."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from radrelay_shared.envelope import Envelope, unwrap
from radrelay_shared.events import Event, StudyAnonymized, StudyErased, StudyHeld, StudyPurged
from radrelay_shared.ports import Ack, Delivery
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import client, deliver
from radrelay_storage.context import StorageContext
from radrelay_storage.custody.checkpoints import cover
from radrelay_storage.lifecycle import purge

STUDY = "/dicom-web/studies/2.25.1"
INSTANCE = f"{STUDY}/series/2.25.1.1/instances/2.25.1.1.1"


@pytest.fixture
async def event(
    watched: Runtime, pack: Callable[..., Awaitable[StudyAnonymized]], image: Callable[..., Dataset]
) -> StudyAnonymized:
    """What said that a CT of a patient of 14 is here."""
    event = await pack(watched, [image("CT_small.dcm", 1, PatientAge="014Y")])
    await deliver(watched, event)
    await watched.relay.idle()
    return event


@pytest.fixture
def runtime(watched: Runtime, event: StudyAnonymized) -> Runtime:
    assert event.study == "st-1"
    return watched


def context(runtime: Runtime) -> StorageContext:
    assert isinstance(runtime.context, StorageContext)
    return runtime.context


async def ask(runtime: Runtime, who: str, method: str, path: str, **sent: Any) -> Any:
    async with client(runtime, Role.OPERATOR, subject=who) as operator:
        return await operator.request(method, path, **sent)


async def proposed(runtime: Runtime, who: str = "ana", reason: str = "sent-by-mistake") -> int:
    return int((await ask(runtime, who, "POST", "/purges/st-1", json={"reason": reason})).status_code)


async def approved(runtime: Runtime, who: str) -> int:
    return int((await ask(runtime, who, "POST", "/purges/st-1/approve")).status_code)


async def listening(runtime: Runtime, kind: type[Event]) -> list[Envelope[Any]]:
    """What comes of this kind from now on."""
    told: list[Envelope[Any]] = []

    async def consume(delivery: Delivery) -> Ack:
        told.append(unwrap(delivery.message))
        return Ack()

    assert runtime.bus is not None
    await runtime.bus.subscribe("others", [kind.type], consume)
    return told


async def acts(runtime: Runtime) -> list[tuple[str, str]]:
    """What the ledger has beyond receipt and storage: kind and who."""
    found = (await ask(runtime, "ana", "GET", "/custody/st-1")).json()["entries"]
    return [(each["kind"], each["who"].removeprefix("key:")) for each in found[2:]]


async def objects(runtime: Runtime) -> list[str]:
    return [info.key async for info in runtime.context.blobs.list("st-1/")]


async def test_a_purge_without_hold_passes_and_leaves_a_tombstone(runtime: Runtime) -> None:
    """Four eyes: then 410 for retrieval, nothing for a search, no object, and the proof."""
    assert (await ask(runtime, "ana", "GET", f"{INSTANCE}/frames/1")).status_code == 200
    assert (await proposed(runtime, "ana"), await approved(runtime, "ben")) == (200, 200)
    for path in (
        STUDY,
        f"{STUDY}/metadata",
        f"{STUDY}/series",
        INSTANCE,
        f"{INSTANCE}/frames/1",
        f"{INSTANCE}/rendered",
    ):
        gone = await ask(runtime, "ana", "GET", path)
        assert (gone.status_code, gone.json()["title"]) == (410, "Purged"), path
    wado = "/dicom-web/wado?requestType=WADO&studyUID=2.25.1&seriesUID=2.25.1.1&objectUID=2.25.1.1.1"
    assert (await ask(runtime, "ana", "GET", wado)).status_code == 410
    for level in ("studies", "series", "instances"):
        assert (await ask(runtime, "ana", "GET", f"/dicom-web/{level}")).json() == []
    assert await objects(runtime) == []
    assert await acts(runtime) == [
        ("served", "ana"),
        ("purge-proposed", "ana"),
        ("purge-approved", "ben"),
        ("deleted", "storage"),
    ]
    signer = context(runtime).signer
    assert signer is not None
    await cover(runtime.context.store, signer)
    verdict = (await ask(runtime, "ana", "POST", "/custody/st-1/verify")).json()
    assert verdict == {"subject": "st-1", "entries": 6, "batches": 0, "uncovered": 0, "broken": None}


async def test_a_purge_under_hold_fails_and_both_are_in_the_ledger(runtime: Runtime) -> None:
    """The hold came after the proposal, and still wins; lifted, the same approval passes."""
    assert await proposed(runtime, "ana") == 200
    assert (await ask(runtime, "cem", "PUT", "/holds/st-1/case-2025-17")).status_code == 200
    refused = await ask(runtime, "ben", "POST", "/purges/st-1/approve")
    assert (refused.status_code, "legal hold (case-2025-17)" in refused.json()["detail"]) == (409, True)
    assert (await ask(runtime, "ana", "GET", INSTANCE)).status_code == 200
    assert len(await objects(runtime)) == 3
    assert (await ask(runtime, "cem", "DELETE", "/holds/st-1/case-2025-17")).status_code == 200
    assert await approved(runtime, "ben") == 200
    assert await acts(runtime) == [
        ("purge-proposed", "ana"),
        ("held", "cem"),
        ("purge-refused", "ben"),
        ("served", "ana"),
        ("hold-lifted", "cem"),
        ("purge-approved", "ben"),
        ("deleted", "storage"),
    ]


async def test_one_person_cannot_purge_alone(runtime: Runtime) -> None:
    assert await approved(runtime, "ana") == 404
    assert await proposed(runtime, "ana") == 200
    assert await approved(runtime, "ana") == 403
    assert len(await objects(runtime)) == 3
    assert (await ask(runtime, "ben", "POST", "/purges/st-1/withdraw")).status_code == 200
    assert await approved(runtime, "ben") == 404


async def test_one_of_two_holds_that_is_lifted_leaves_the_other(runtime: Runtime) -> None:
    for matter in ("case-1", "case-2", "case-1"):
        await ask(runtime, "cem", "PUT", f"/holds/st-1/{matter}")
    await ask(runtime, "cem", "DELETE", "/holds/st-1/case-1")
    kept = (await ask(runtime, "ana", "GET", "/holds/st-1")).json()
    assert [hold["matter"] for hold in kept["holds"]] == ["case-2"]
    assert (await ask(runtime, "cem", "DELETE", "/holds/st-1/case-1")).status_code == 404
    assert [kind for kind, _ in await acts(runtime)] == ["held", "held", "hold-lifted"]


async def test_the_others_are_told_of_holds(runtime: Runtime) -> None:
    """What is held stays held until the last of them is lifted."""
    told = await listening(runtime, StudyHeld)
    for verb, matter in (("PUT", "case-1"), ("PUT", "case-2"), ("DELETE", "case-1"), ("DELETE", "case-2")):
        await ask(runtime, "cem", verb, f"/holds/st-1/{matter}")
    await runtime.relay.idle()
    in_order = sorted(told, key=lambda each: each.sequence)
    assert [each.data.held for each in in_order] == [True, True, True, False]


async def test_expiry_only_proposes_and_two_people_must_still_agree(runtime: Runtime, watch: Any) -> None:
    """A Montanan of 14: kept until 25, eleven years from now."""
    rules = context(runtime).rules
    watch.now += timedelta(days=365 * 11)
    assert await purge.propose_expired(context(runtime), rules) == 0
    watch.now += timedelta(days=4)
    assert await purge.propose_expired(context(runtime), rules) == 1
    assert await purge.propose_expired(context(runtime), rules) == 0
    listed = (await ask(runtime, "ana", "GET", "/purges")).json()
    assert [(each["study"], each["proposal"]["by"]) for each in listed] == [("st-1", "policy:us")]
    assert await approved(runtime, "ana") == 200
    assert len(await objects(runtime)) == 3
    assert (await approved(runtime, "ana"), await approved(runtime, "ben")) == (403, 200)
    assert await objects(runtime) == []


async def test_a_held_study_is_not_even_proposed(runtime: Runtime, watch: Any) -> None:
    await ask(runtime, "cem", "PUT", "/holds/st-1/case-1")
    watch.now += timedelta(days=365 * 50)
    assert await purge.propose_expired(context(runtime), context(runtime).rules) == 0


async def test_the_others_are_told_and_what_they_deleted_is_in_the_ledger(runtime: Runtime) -> None:
    told = await listening(runtime, StudyPurged)
    await proposed(runtime, "ana")
    await approved(runtime, "ben")
    await runtime.relay.idle()
    assert [each.type for each in told] == ["radrelay.study.purged.v1"]
    await deliver(runtime, StudyErased(site="clinic-a", study="st-1", what="originals", objects=2))
    await deliver(runtime, StudyErased(site="clinic-a", study="st-1", what="identity", objects=1))
    entries = (await ask(runtime, "ana", "GET", "/custody/st-1")).json()["entries"]
    deleted = [each["facts"] for each in entries if each["kind"] == "deleted"]
    assert deleted == [
        {"what": "copies", "objects": 3},
        {"what": "originals", "objects": 2},
        {"what": "identity", "objects": 1},
    ]


async def test_a_purge_that_broke_off_is_finished(runtime: Runtime, tmp_path: Path) -> None:
    """A lock on the pack was in the way: the study is hidden at once, and the rest goes as soon as it can."""
    await runtime.context.blobs.retain("st-1/000001/0001.pack", datetime.now(UTC) + timedelta(days=1))
    await proposed(runtime, "ana")
    assert await approved(runtime, "ben") == 409
    assert (await ask(runtime, "ana", "GET", INSTANCE)).status_code == 410
    assert "st-1/000001/0001.pack" in await objects(runtime)
    (tmp_path / "deidentified/retained/st-1/000001/0001.pack").unlink()  # as if the day were over
    await purge.finish_purges(context(runtime))
    assert await objects(runtime) == []
    assert [kind for kind, _ in await acts(runtime)] == ["purge-proposed", "purge-approved", "deleted"]


async def test_a_batch_that_is_delivered_again_after_its_purge_stays_purged(
    runtime: Runtime, event: StudyAnonymized
) -> None:
    await proposed(runtime, "ana")
    await approved(runtime, "ben")
    await deliver(runtime, event)
    assert (await ask(runtime, "ana", "GET", STUDY)).status_code == 410


@pytest.mark.parametrize(
    ("role", "sites", "statuses"),
    [
        (Role.OPERATOR, ("*",), (200, 200, 200)),
        (Role.OPERATOR, ("clinic-b",), (404, 404, 404)),
        (Role.ASSISTANT, ("clinic-a",), (200, 403, 403)),
        (Role.RADIOLOGIST, ("*",), (403, 403, 403)),
        (Role.SITE, ("clinic-a",), (403, 403, 403)),
        (Role.SERVICE, ("*",), (403, 403, 403)),
    ],
)
async def test_who_may_hold_lift_and_propose(
    runtime: Runtime, role: Role, sites: tuple[str, ...], statuses: tuple[int, int, int]
) -> None:
    async with client(runtime, role, sites=sites) as caller:
        found = (
            await caller.put("/holds/st-1/case-1"),
            await caller.delete("/holds/st-1/case-1"),
            await caller.post("/purges/st-1", json={"reason": "test-data"}),
        )
    assert tuple(each.status_code for each in found) == statuses


async def test_a_purged_study_of_another_site_is_not_even_gone(runtime: Runtime) -> None:
    await proposed(runtime, "ana")
    await approved(runtime, "ben")
    async with client(runtime, Role.ASSISTANT, sites=("clinic-b",)) as other:
        assert (await other.get(STUDY)).status_code == 404
