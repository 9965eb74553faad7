"""What storage keeps in documents, and what runs beside its handlers and routes."""

from __future__ import annotations

import asyncio
import logging

from radrelay_shared.errors import RadRelayError
from radrelay_storage.context import StorageContext
from radrelay_storage.custody.chain import Link
from radrelay_storage.custody.checkpoints import Checkpoint, keep_covering
from radrelay_storage.derived.storing import settle_left_behind
from radrelay_storage.dimse.listener import serve_workstations
from radrelay_storage.domain import Series, Study
from radrelay_storage.lifecycle.keeping import Keeping
from radrelay_storage.lifecycle.purge import finish_purges, propose_expired
from radrelay_storage.scrub import Damage, Progress, scrub

log = logging.getLogger("radrelay.storage")


async def sign_checkpoints(context: StorageContext) -> None:
    """Checkpoints over the custody ledger, if there is a key to sign them with."""
    if context.signer is None:
        log.warning("RADRELAY_CUSTODY_KEY is not set: the custody ledger is chained, but no checkpoint signs it")
        await asyncio.Event().wait()
        return
    await keep_covering(context.store, context.signer, context.settings.custody_checkpoint_seconds)


async def fetch_ahead(context: StorageContext) -> None:
    await context.prefetch.run()


async def keep_or_let_go(context: StorageContext) -> None:
    """Finish what was broken off of stores and purges, and once in a while propose what the policy lets go."""
    proposed_at = None
    while True:
        try:
            await settle_left_behind(context)
            await finish_purges(context)
            today = context.clock().date()
            if proposed_at != today:
                await propose_expired(context, context.rules)
                proposed_at = today
        except RadRelayError as error:
            log.warning("retention is looked at again later: %s", error.detail)
        await asyncio.sleep(context.settings.lifecycle_seconds)


AGGREGATES = (Study, Series, Link, Checkpoint, Keeping, Progress, Damage)
TASKS = (sign_checkpoints, fetch_ahead, keep_or_let_go, serve_workstations, scrub)
