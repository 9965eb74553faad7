"""The custody ledger: from receipt to delivery, and one flipped byte anywhere is found and named."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydicom.dataset import Dataset

from radrelay_shared.events import (
    ModelAsked,
    ReportDelivered,
    ReportFinalized,
    StudyAnonymized,
    StudyQuarantined,
    StudyReceived,
    StudyUpdated,
)
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import client, deliver, running, until
from radrelay_storage.context import StorageContext
from radrelay_storage.custody.checkpoints import Checkpoint, Signer, cover
from radrelay_storage.main import SERVICE

KEY, RETIRED = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
PACK, MANIFEST, METADATA = "st-1/000001/0001.pack", "st-1/000001/manifest.json", "st-1/000001/0001.json.gz"
FRAME = "/dicom-web/studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.2/frames/1"

Pack = Callable[..., Awaitable[StudyAnonymized]]
Image = Callable[..., Dataset]


@pytest.fixture
async def ct(watched: Runtime, pack: Pack, image: Image) -> Runtime:
    """A CT of two slices was received, copied and stored."""
    images = [image("CT_small.dcm", 1), image("CT_small.dcm", 1, number=2)]
    event = await pack(watched, images)
    await deliver(watched, received(event))
    await deliver(watched, event)
    return watched


def received(event: StudyAnonymized, kind: type[StudyReceived] = StudyReceived) -> StudyReceived:
    facts = event.model_dump(include={"site", "study", "jurisdiction", "completed_at", "received_at", "batch"})
    return kind(
        **facts,
        manifest=f"st-1/{event.batch:06d}/manifest.json",
        manifest_sha256="0a" * 32,
        instances=2,
        size=79_000,
        modalities=("CT",),
        basis="quiet-period",
    )


async def entries(runtime: Runtime, study: str = "st-1") -> list[dict[str, Any]]:
    async with client(runtime, Role.AUDITOR) as auditor:
        found: list[dict[str, Any]] = (await auditor.get(f"/custody/{study}")).json()["entries"]
    return found


async def kinds(runtime: Runtime) -> list[str]:
    return [entry["kind"] for entry in await entries(runtime)]


async def verified(runtime: Runtime, what: str = "st-1") -> dict[str, Any]:
    async with client(runtime, Role.OPERATOR) as operator:
        answer = await operator.post(f"/custody/{what}/verify")
    verdict: dict[str, Any] = answer.json()
    return verdict


async def sign(runtime: Runtime) -> int:
    return await cover(runtime.context.store, key_of(runtime))


def key_of(runtime: Runtime) -> Signer:
    assert isinstance(runtime.context, StorageContext)
    assert runtime.context.signer is not None
    return runtime.context.signer


async def flip(runtime: Runtime, key: str, offset: int) -> None:
    content = bytearray(await runtime.context.blobs.read(key))
    content[offset] ^= 0x01
    await runtime.context.blobs.put(key, bytes(content))


async def rewrite(runtime: Runtime, collection: str, document: str, **changes: Any) -> None:
    """What somebody with the database's password can do."""
    found = await runtime.documents.get(collection, document)
    assert found is not None
    await runtime.documents.save(collection, document, found.state | changes, revision=found.revision)


# ── the chain ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_study_s_way_from_receipt_to_delivery_is_one_chain(ct: Runtime) -> None:
    report: dict[str, Any] = {"site": "clinic-a", "study": "st-1", "report": "rp-1", "version": 1}
    signed = {"workitem": "wi-1", "radiologist": "dr-silva", "content": "reports/rp-1/1.json", "sha256": "0b" * 32}
    await deliver(ct, ReportFinalized(**report, **signed))
    await deliver(ct, ReportDelivered(**report, endpoint="ep-1", webhook_id="wh-1", attempts=2))
    found = await entries(ct)
    assert [(each["kind"], each["who"]) for each in found] == [
        ("received", "test"),
        ("sealed", "test"),
        ("de-identified", "test"),
        ("stored", "test"),
        ("reported", "dr-silva"),
        ("delivered", "test"),
    ]
    assert found[1]["facts"] == {"batch": 1, "manifest": MANIFEST, "manifest_sha256": "0a" * 32}
    assert found[5]["facts"] == {"attempts": 2, "endpoint": "ep-1", "version": 1}


async def test_anyone_can_check_the_proof_with_sha256_and_ed25519_alone(ct: Runtime) -> None:
    """From an instance's bytes to the signature, as the proof's own words say it is done."""
    assert await sign(ct) == 4
    async with client(ct, Role.SITE, sites=("clinic-a",)) as clinic:
        proof = (await clinic.get("/custody/st-1")).json()
        instance = (await clinic.get("/custody/st-1/instances/2.25.1.1.2")).json()
    manifest = await ct.context.blobs.read(instance["manifest"])
    assert hashlib.sha256(manifest).hexdigest() == instance["manifest_sha256"]
    packed = json.loads(manifest)["series"][0]["instances"][1]
    content = await ct.context.blobs.read(PACK, start=packed["offset"], length=packed["length"])
    assert hashlib.sha256(content).hexdigest() == packed["sha256"] == instance["sha256"]
    entry = proof["entries"][instance["entry"] - 1]
    assert entry["facts"]["manifest_sha256"] == instance["manifest_sha256"]
    for number, each in enumerate(proof["entries"]):
        body = {name: value for name, value in each.items() if name not in ("sha256", "covered")}
        assert sha256_of(body) == each["sha256"]
        assert each["previous"] == (proof["entries"][number - 1]["sha256"] if number else "0" * 64)
    (checkpoint,) = proof["checkpoints"]
    last = proof["entries"][-1]
    assert sha256_of({"study": "st-1", "number": 4, "sha256": last["sha256"]}) in checkpoint["heads"]
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(proof["public_keys"][checkpoint["key"]]))
    signature = base64.b64decode(checkpoint.pop("signature"))
    key.verify(signature, json.dumps(checkpoint, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def sha256_of(body: dict[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


async def test_an_event_that_comes_twice_is_one_entry(watched: Runtime, pack: Pack, image: Image) -> None:
    event = await pack(watched, [image("CT_small.dcm", 1)])
    await deliver(watched, event)
    await deliver(watched, event)
    assert await kinds(watched) == ["de-identified", "stored"]


async def test_what_was_quarantined_and_what_came_late_is_in_the_chain_too(
    ct: Runtime, pack: Pack, image: Image
) -> None:
    held = StudyQuarantined(site="clinic-a", study="st-1", batch=2, reasons=("burned-in",), instances=1)
    late = await pack(ct, [image("CT_small.dcm", 1, number=3)], batch=2)
    await deliver(ct, received(late, StudyUpdated))
    await deliver(ct, held)
    await deliver(ct, late)
    assert (await kinds(ct))[4:] == ["received", "sealed", "quarantined", "de-identified", "stored"]
    assert (await verified(ct))["batches"] == 2


async def test_a_reading_is_noted_once_per_caller_study_and_hour(
    ct: Runtime, watch: Any, assign: Callable[..., Awaitable[None]]
) -> None:
    """A stack of slices is one line, before the first of them; the next hour and the next reader are another."""
    await assign(ct, "key:dr-silva")
    await assign(ct, "key:m-1", kind=ModelAsked)
    async with (
        client(ct, Role.RADIOLOGIST, subject="dr-silva") as silva,
        client(ct, Role.MODEL, subject="m-1") as model,
    ):
        for _ in range(3):
            assert (await silva.get(FRAME)).status_code == 200
        assert (await model.get("/dicom-web/studies/2.25.1/metadata")).status_code == 200
        watch.now += timedelta(hours=1)
        assert (await silva.get(FRAME)).status_code == 200
        assert (await silva.get("/dicom-web/studies/2.25.99/metadata")).status_code == 404
    served = [(each["who"], each["at"][:13]) for each in await entries(ct) if each["kind"] == "served"]
    assert served == [
        ("key:dr-silva", "2025-03-01T08"),
        ("key:m-1", "2025-03-01T08"),
        ("key:dr-silva", "2025-03-01T09"),
    ]


async def test_a_search_is_not_a_reading(ct: Runtime) -> None:
    async with client(ct, Role.ASSISTANT) as radiologist:
        assert len((await radiologist.get("/dicom-web/studies/2.25.1/instances")).json()) == 2
    assert "served" not in await kinds(ct)


@pytest.mark.parametrize(
    ("role", "sites", "status"),
    [
        (Role.SITE, ("clinic-a",), 200),
        (Role.SITE, ("clinic-b",), 404),
        (Role.ASSISTANT, ("clinic-a",), 200),
        (Role.OPERATOR, ("*",), 200),
        (Role.AUDITOR, ("*",), 200),
        (Role.RADIOLOGIST, ("*",), 403),
        (Role.REFERRER, ("*",), 403),
        (Role.MODEL, ("*",), 403),
        (Role.SERVICE, ("*",), 403),
    ],
)
async def test_the_proof_is_for_its_owner_and_for_who_watches(
    ct: Runtime, role: Role, sites: tuple[str, ...], status: int
) -> None:
    async with client(ct, role, sites=sites) as caller:
        assert (await caller.get("/custody/st-1")).status_code == status
        assert (await caller.get("/custody/st-1/instances/2.25.1.1.1")).status_code == status


# ── what is flipped is found and named ───────────────────────────────────────────────────────────────


async def test_an_untouched_study_holds(ct: Runtime) -> None:
    await sign(ct)
    assert await verified(ct) == {"subject": "st-1", "entries": 4, "batches": 1, "uncovered": 0, "broken": None}
    assert (await verified(ct, "checkpoints/1"))["broken"] is None


@pytest.mark.parametrize(
    ("key", "offset", "broken"),
    [
        (PACK, 400, f"object {PACK}: SOP instance 2.25.1.1.1 is not as it was stored"),
        (PACK, -1, f"object {PACK}: SOP instance 2.25.1.1.2 is not as it was stored"),
        (METADATA, 30, f"object {METADATA}: the metadata is not as it was stored"),
        (MANIFEST, 60, f"object {MANIFEST}: the manifest is not the one in the ledger"),
    ],
)
async def test_one_flipped_byte_of_an_object_is_named(ct: Runtime, key: str, offset: int, broken: str) -> None:
    await flip(ct, key, offset)
    assert (await verified(ct))["broken"] == broken


async def test_a_pack_that_was_cut_lengthened_or_lost_is_named(ct: Runtime) -> None:
    blobs, whole = ct.context.blobs, await ct.context.blobs.read(PACK)
    await blobs.put(PACK, whole[:-1])
    assert (await verified(ct))["broken"] == f"object {PACK}: it ends before SOP instance 2.25.1.1.2"
    await blobs.put(PACK, whole + b"\0")
    assert (await verified(ct))["broken"] == f"object {PACK}: it is longer than it was"
    await blobs.delete(PACK)
    assert (await verified(ct))["broken"] == f"object {PACK}: it, or its metadata, is missing"


async def test_one_changed_entry_is_named(ct: Runtime) -> None:
    await rewrite(ct, "custody", "st-1.000002", who="nobody")
    assert (await verified(ct))["broken"] == "entry 2 (sealed) was changed: its hash is not that of its text"


async def test_a_chain_that_was_forged_to_the_end_is_named_by_its_checkpoint(ct: Runtime) -> None:
    """Every hash is right again, but the old head was signed."""
    await sign(ct)
    before = "0" * 64
    for number in range(1, 5):
        found = await ct.documents.get("custody", f"st-1.{number:06d}")
        assert found is not None
        body = {name: found.state[name] for name in found.state if name not in ("sha256", "covered", "trace")}
        body |= {"who": "nobody", "previous": before}
        before = sha256_of(body)
        await rewrite(ct, "custody", f"st-1.{number:06d}", **body, sha256=before)
    assert (await verified(ct))["broken"] == "checkpoint 1 signed another chain than the one that is there"
    assert (await verified(ct, "checkpoints/1"))["broken"] == (
        "entry 4 of st-1, signed by checkpoint 1, is missing or replaced"
    )


async def test_entries_that_were_taken_away_are_named(ct: Runtime) -> None:
    await sign(ct)
    last = await ct.documents.get("custody", "st-1.000004")
    assert last is not None
    await ct.documents.delete("custody", "st-1.000004", revision=last.revision)
    assert (await verified(ct))["broken"] == "checkpoint 1 signed another chain than the one that is there"
    first = await ct.documents.get("custody", "st-1.000001")
    assert first is not None
    await ct.documents.delete("custody", "st-1.000001", revision=first.revision)
    assert (await verified(ct))["broken"] == "entry 1 is missing"


@pytest.mark.parametrize(
    "change", [{"at": "2025-03-01T08:00:00.001+00:00"}, {"signature": "AAAA"}, {"key": "0000000000000000"}]
)
async def test_one_changed_checkpoint_is_named(ct: Runtime, change: dict[str, Any]) -> None:
    await sign(ct)
    await rewrite(ct, "checkpoints", "000000001", **change)
    broken = "checkpoint 1 was changed, or signed with a key that is not known here"
    assert (await verified(ct))["broken"] == broken
    assert (await verified(ct, "checkpoints/1"))["broken"] == broken


async def test_a_checkpoint_that_was_exchanged_is_named_by_the_next_one(ct: Runtime) -> None:
    """Even by somebody who has the key."""
    await sign(ct)
    async with client(ct, Role.ASSISTANT) as radiologist:
        await radiologist.get(FRAME)
    await sign(ct)
    first = await ct.context.store.read(Checkpoint, "000000001")
    assert first is not None
    other = key_of(ct).signed(first.model_copy(update={"at": "2024-01-01T00:00:00.000+00:00"}))
    await rewrite(ct, "checkpoints", "000000001", **other.model_dump())
    assert (await verified(ct, "checkpoints/1"))["broken"] is None
    assert (await verified(ct, "checkpoints/2"))["broken"] == "checkpoint 2 does not follow from checkpoint 1"


async def test_what_grew_since_the_last_checkpoint_is_signed_by_the_next(ct: Runtime) -> None:
    assert [await sign(ct), await sign(ct)] == [4, 0]
    async with client(ct, Role.ASSISTANT) as radiologist:
        await radiologist.get(FRAME)
    assert (await verified(ct))["uncovered"] == 1
    assert await sign(ct) == 1
    assert [each["covered"] for each in await entries(ct)] == [1, 1, 1, 1, 2]


async def test_a_retired_key_still_vouches(tmp_path: Path, ct: Runtime) -> None:
    """After a rotation the old key comes second; without it, its checkpoints are not believed."""
    await sign(ct)
    for keys, believed in ((f"{RETIRED}\n{KEY}", True), (RETIRED, False)):
        async with running(SERVICE, tmp_path, custody_key=keys, custody_checkpoint_seconds=3600) as (rotated, _):
            assert ((await verified(rotated))["broken"] is None) is believed


async def test_the_service_signs_by_itself(tmp_path: Path, pack: Pack, image: Image) -> None:
    async with running(SERVICE, tmp_path, custody_key=KEY, custody_checkpoint_seconds=0.01) as (signing, _):
        await deliver(signing, await pack(signing, [image("CT_small.dcm", 1)]))

        async def all_covered() -> bool:
            return not (await verified(signing))["uncovered"]

        await until(all_covered)
        assert (await verified(signing))["broken"] is None
