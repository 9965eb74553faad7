"""What the suites over `Documents` write and ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from radrelay_shared.ports import Documents, Index, Message, Where

Open = Callable[[], Awaitable[Documents]]
ACCESSION = Index("studies", ("site", "accession"), unique=True)


def message(number: int, *, urgent: bool = False) -> Message:
    body = f'{{"study": {number}}}'.encode()
    return Message(f"event-{number}", "radrelay.study.received.v1", urgent, body, {"traceparent": "00-1-2-01"})


async def write(documents: Documents, states: dict[str, Any]) -> None:
    for key, state in states.items():
        await documents.save("studies", key, state, revision=0)


async def ids(documents: Documents, *where: Where, **how: Any) -> list[str]:
    return [found.id for found in await documents.find("studies", where, **how)]
