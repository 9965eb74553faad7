"""Originals: locked where an operator says so, and deleted when two people decided so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import pytest

from radrelay_shared.errors import Refused
from radrelay_shared.events import StudyErased, StudyPurged, StudyReceived, StudyUpdated
from radrelay_shared.security import Role
from radrelay_shared.testing import deliver

Door = Callable[..., AbstractAsyncContextManager[Any]]
Slice = Callable[..., bytes]
HEADERS = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}


async def send(door: Any, instance: bytes) -> None:
    content = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + instance + b"\r\n--b--\r\n"
    async with door.as_(Role.SITE, "bozeman") as machine:
        answer = await machine.post("/ingest/dicom-web/studies", content=content, headers=HEADERS)
    assert answer.status_code == 200


async def keys(door: Any) -> list[str]:
    return [info.key async for info in door.context.originals.list()]


async def test_a_purged_study_s_originals_are_deleted_and_what_comes_later_is_a_new_batch(
    open_door: Door, ct_slice: Slice
) -> None:
    """The same slice once more is new then; the number of a purged batch is never used again."""
    async with open_door() as door:
        await send(door, ct_slice(1))
        [received] = await door.told(StudyReceived)
        await door.settled()
        purged = StudyPurged(
            site="bozeman", study=received.study, reason="sent-by-mistake", purged_at=datetime.now(UTC)
        )
        await deliver(door.runtime, purged)
        await deliver(door.runtime, purged)
        [erased, again] = await door.told(StudyErased, 2)
        assert (erased.what, erased.objects, again.objects) == ("originals", 3, 0)
        assert await keys(door) == []
        await send(door, ct_slice(1))
        [updated] = await door.told(StudyUpdated)
        await door.settled()
        assert (updated.batch, updated.instances) == (2, 1)
        await deliver(door.runtime, purged)
        batch = [f"{received.study}/000002/0001.pack", f"{received.study}/000002/manifest.json"]
        assert await keys(door) == [updated.words, *batch]


async def test_locked_originals_outlast_a_purge_that_comes_too_early(open_door: Door, ct_slice: Slice) -> None:
    """The event waits among the dead letters, and says until when."""
    async with open_door(originals_lock_days=30) as door:
        await send(door, ct_slice(1))
        [received] = await door.told(StudyReceived)
        await door.settled()
        for key in await keys(door):
            with pytest.raises(Refused, match="retained until"):
                await door.context.originals.delete(key)
        now = datetime.now(UTC)
        await deliver(
            door.runtime, StudyPurged(site="bozeman", study=received.study, reason="test-data", purged_at=now)
        )
        [letter] = await door.runtime.bus.dead_letters("ingest")
        assert "is retained until" in letter.reason
        assert len(await keys(door)) == 3
