"""Whole uploads become instances, one after the other, as if each had been sent alone.

A crash in the middle begins again from the first file: what is in the spool or sealed already is known there.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from radrelay_ingest.context import Delivery, IngestContext, Sender
from radrelay_ingest.domain.uploads import Outcome, Upload
from radrelay_ingest.uploads.archive import Entry, opened
from radrelay_ingest.uploads.protocol import Busy
from radrelay_ingest.uploads.receiving import exclusively, expiry
from radrelay_shared.errors import NotFound, Permanent
from radrelay_shared.events import Key
from radrelay_shared.telemetry import PROPAGATOR

log = logging.getLogger("radrelay.ingest")

AT_ONCE = 2


async def unpack(context: IngestContext) -> None:
    """Unpack every upload that is whole, and forget what has expired, until cancelled."""
    slots = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as tasks:
        while True:
            context.uploaded.clear()
            for upload in await asyncio.to_thread(context.uploads.all):
                if upload.due(context.clock()):  # the others belong to whoever is writing them
                    tasks.create_task(_look_after(context, upload, slots))
            with suppress(TimeoutError):
                async with asyncio.timeout(context.settings.upload_sweep_seconds):
                    await context.uploaded.wait()


async def _look_after(context: IngestContext, upload: Upload, slots: asyncio.Semaphore) -> None:
    try:
        with exclusively(context, upload.id):
            upload = await asyncio.to_thread(context.uploads.get, upload.id)  # another look may have ended since
            if upload.state == "unpacking":
                async with slots:
                    await _unpack(context, upload)
            elif upload.due(context.clock()):
                await asyncio.to_thread(context.uploads.drop, upload)
    except (Busy, NotFound):
        return
    except Exception as error:  # whatever it is, the upload stays and is tried again
        log.warning("an upload cannot be unpacked now; it stays and is tried again", exc_info=error)


async def _unpack(context: IngestContext, upload: Upload) -> None:
    parent = PROPAGATOR.extract({"traceparent": upload.traceparent} if upload.traceparent else {})
    with context.telemetry.span("unpack", parent=parent):
        outcome = await asyncio.to_thread(taken, context, upload)
        done = upload.model_copy(update={"outcome": outcome, "expires_at": expiry(context)})
        await asyncio.to_thread(context.uploads.finish, done)


def taken(context: IngestContext, upload: Upload) -> Outcome:
    """Store each file of the upload; a file that can never be taken is named by its place. Blocks, for threads."""
    delivery, outcome = Delivery(context, Sender(upload.site, upload.traceparent)), Outcome()
    try:
        with opened(context.uploads.content(upload)) as entries:
            for entry in entries:
                try:
                    outcome = outcome.with_stored(stored(delivery, entry))
                except Permanent as error:
                    outcome = outcome.with_failed(entry.number, error.detail)
    except Permanent as error:  # the zip itself
        return outcome.with_failed(1, error.detail)
    finally:
        delivery.end()
    return outcome


def stored(delivery: Delivery, entry: Entry) -> Key:
    """Bring one file into the spool; the key of its study. Raises `Invalid`, `TooLarge`, `Full`."""
    incoming = delivery.context.spool.receive()
    try:
        with entry.pieces() as pieces:
            for piece in pieces:
                incoming.write(piece)
        return delivery.keep(incoming, incoming.finish())
    finally:
        incoming.discard()
