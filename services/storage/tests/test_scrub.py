"""The scrubber finds what is bad, has it made again, and believes nothing unread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from radrelay_shared.events import PackDamaged, PackRestored, StudyAnonymized
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import client, deliver, running, until
from radrelay_storage.context import StorageContext
from radrelay_storage.main import SERVICE
from radrelay_storage.scrub import CURSOR, Progress, scrub_next

PACK = "st-2/000001/0001.pack"
FAST: dict[str, Any] = {"scrub_bytes_per_second": 1 << 40, "scrub_rest_seconds": 0, "lifecycle_seconds": 3600}


def context(runtime: Runtime) -> StorageContext:
    assert isinstance(runtime.context, StorageContext)
    return runtime.context


async def kinds(runtime: Runtime, study: str) -> list[str]:
    async with client(runtime, Role.AUDITOR) as auditor:
        entries: list[dict[str, Any]] = (await auditor.get(f"/custody/{study}")).json()["entries"]
    return [entry["kind"] for entry in entries]


async def test_a_bad_byte_is_found_told_and_mended(
    tmp_path: Path, pack: Callable[..., Awaitable[StudyAnonymized]], image: Callable[..., Dataset]
) -> None:
    """Told in every round until the batch was made again and read; the service itself does the reading."""
    async with running(SERVICE, tmp_path, scrub_bytes_per_second=0) as (runtime, _):
        for number in (1, 2):
            event = await pack(runtime, [image("CT_small.dcm", number)], study=f"st-{number}")
            await deliver(runtime, event)
    async with running(SERVICE, tmp_path, **FAST) as (runtime, downstream):
        blobs, store = runtime.context.blobs, runtime.context.store

        async def rounds() -> int:
            return (await store.read(Progress, CURSOR) or Progress()).rounds

        await until(rounds)
        assert downstream.of(PackDamaged) == []
        whole = await blobs.read(PACK)
        await blobs.put(PACK, whole[:-1] + bytes([whole[-1] ^ 1]))
        told = (await downstream.told(PackDamaged))[0]
        assert (told.study, told.batch, told.object) == ("st-2", 1, PACK)
        assert told.manifest_sha256 == event.manifest_sha256
        assert (await kinds(runtime, "st-1"), (await kinds(runtime, "st-2"))[-1]) == (
            ["de-identified", "stored"],
            "damaged",
        )
        again = PackRestored(site="clinic-a", study="st-2", batch=1, manifest_sha256=told.manifest_sha256)
        await deliver(runtime, again)
        assert "restored" not in await kinds(runtime, "st-2")
        await blobs.put(PACK, whole)
        await deliver(runtime, again)
        assert "restored" in await kinds(runtime, "st-2")  # and last, unless a look that began before ends after it


async def test_after_a_restart_the_round_goes_on_where_it_was(
    tmp_path: Path, pack: Callable[..., Awaitable[StudyAnonymized]], image: Callable[..., Dataset]
) -> None:
    async with running(SERVICE, tmp_path, scrub_bytes_per_second=0) as (runtime, _):
        for number in (1, 2):
            await deliver(runtime, await pack(runtime, [image("CT_small.dcm", number)], study=f"st-{number}"))
        runtime.settings = runtime.context.settings = runtime.settings.model_copy(update=FAST)
        assert await scrub_next(context(runtime))
    async with running(SERVICE, tmp_path, scrub_bytes_per_second=0) as (runtime, _):
        progress = await runtime.context.store.read(Progress, CURSOR)
        assert progress == Progress(after="st-1")
