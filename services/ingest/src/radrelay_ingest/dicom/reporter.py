"""Tells who asked for storage commitment, where they listen, until they have taken the answer."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial

from radrelay_ingest.commitments import verdict_on
from radrelay_ingest.context import IngestContext
from radrelay_ingest.dicom.commitment import tell
from radrelay_ingest.domain.commitments import Commitment, postponed, told
from radrelay_shared.errors import RadRelayError
from radrelay_shared.ports import Eq, Range

log = logging.getLogger("radrelay.ingest")

AT_ONCE = 50
PAUSES = (10.0, 60.0, 300.0, 3600.0)  # seconds between tries; the last one for ever


async def report_commitments(context: IngestContext) -> None:
    """Tell what is due until cancelled."""
    while True:
        context.committing.clear()
        try:
            where = (Eq("state", "due"), Range("next_at", high=context.clock().timestamp()))
            due = await context.store.find(Commitment, where, sort="next_at", limit=AT_ONCE)
            await asyncio.gather(*(_told(context, each) for each in due))
        except RadRelayError as error:
            log.warning("answers to storage commitment wait: documents cannot be read or written", exc_info=error)
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSES[0] * context.settings.retry_scale):
                await context.committing.wait()


async def _told(context: IngestContext, wish: Commitment) -> None:
    peer = context.site(wish.site).listener(wish.calling)
    if peer is not None:
        verdict = await verdict_on(context, wish)
        if await asyncio.to_thread(tell, peer, context.settings.dicom_ae_title, wish.transaction_uid, verdict):
            await context.store.change(Commitment, wish.id, told)
            return
    pause = PAUSES[min(wish.tries, len(PAUSES) - 1)] * context.settings.retry_scale
    until = context.clock().timestamp() + pause
    await context.store.change(Commitment, wish.id, partial(postponed, until=until))
