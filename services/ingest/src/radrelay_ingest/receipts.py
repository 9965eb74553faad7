"""What was taken once has its effect once: the same message under the same name gets the same answer."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.receipts import Receipt, answered, begun

Answer = dict[str, Any]
Work = Callable[[], Awaitable[Answer]]
Final = Callable[[Answer], bool]


async def once(
    context: IngestContext,
    site: str,
    name: tuple[str, ...],
    body: bytes,
    work: Work,
    final: Final = bool,
) -> Answer:
    """The answer of `work`, or that of the first time; raises `Invalid` if the name stands for another body.

    After a crash in between `work` runs again, so it is idempotent by itself; a failure, or an answer that is not
    `final`, is not remembered.
    """
    key, sha256 = context.receipt_key(site, *name), hashlib.sha256(body).hexdigest()
    receipt = await context.store.change(Receipt, key, partial(begun, sha256=sha256))
    if receipt and receipt.answer is not None:
        return receipt.answer
    answer = await work()
    if final(answer):
        await context.store.change(Receipt, key, partial(answered, sha256=sha256, answer=answer))
    return answer
