"""`radrelay custody verify`: every checkpoint, then every study, until one does not hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from radrelay.client import Client

STUDY_SECONDS = 3600  # reading a very large study again may take that long


async def verdicts(caller: Client, study: str | None) -> AsyncIterator[dict[str, Any]]:
    """What the storage service finds, subject by subject; of one study only, if it is named."""
    if study is not None:
        yield await verdict(caller, study)
        return
    last = (await caller.call("GET", "/custody/checkpoints/last"))["number"]
    for number in range(1, last + 1):
        yield await verdict(caller, f"checkpoints/{number}")
    after = ""
    while page := await caller.call("GET", "/custody", params={"after": after}):
        for each in page:
            yield await verdict(caller, each)
        after = page[-1]


async def verdict(caller: Client, subject: str) -> dict[str, Any]:
    found: dict[str, Any] = await caller.call("POST", f"/custody/{subject}/verify", timeout=STUDY_SECONDS)
    return found


async def first_broken(caller: Client, study: str | None) -> tuple[int, dict[str, Any] | None]:
    """How many subjects were looked at, and the first that does not hold."""
    looked = 0
    async for each in verdicts(caller, study):
        looked += 1
        if each["broken"]:
            return looked, each
    return looked, None
