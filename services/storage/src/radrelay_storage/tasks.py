"""What storage keeps in documents, and what runs beside its handlers and routes."""

from __future__ import annotations

import asyncio
import logging

from radrelay_storage.context import StorageContext
from radrelay_storage.custody.chain import Link
from radrelay_storage.custody.checkpoints import Checkpoint, keep_covering
from radrelay_storage.domain import Series, Study

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


AGGREGATES = (Study, Series, Link, Checkpoint)
TASKS = (sign_checkpoints, fetch_ahead)
