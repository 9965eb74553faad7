"""Taking the bytes of an upload: what arrived counts, even of a request that broke off, but for a wrong checksum."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from starlette.requests import ClientDisconnect

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.uploads import Upload
from radrelay_ingest.uploads.protocol import Busy, Checksum, ChecksumMismatch, WrongOffset
from radrelay_ingest.uploads.shelf import Chunk
from radrelay_shared.aggregate import current_traceparent
from radrelay_shared.bodies import TooSlow, patiently
from radrelay_shared.errors import Full, TooLarge

UNFINISHED = 1000  # uploads a site may have under way


async def begin(context: IngestContext, site: str, length: int) -> Upload:
    """A new upload, durable on return; raises `TooLarge`, or `Full` if the disk could not hold it."""
    if length > context.settings.max_upload_bytes:
        raise TooLarge(f"an upload is at most {context.settings.max_upload_bytes} bytes here; send several")
    await asyncio.to_thread(context.spool.room.check, length)
    known = await asyncio.to_thread(context.uploads.all)
    if sum(each.site == site and not each.whole for each in known) >= UNFINISHED:
        raise Full(f"this site has {UNFINISHED} unfinished uploads; finish or delete some, or wait until they expire")
    upload = Upload(
        id=f"up-{secrets.token_hex(16)}",
        site=site,
        length=length,
        expires_at=expiry(context),
        traceparent=current_traceparent(),
    )
    await asyncio.to_thread(context.uploads.begin, upload)
    if upload.whole:
        context.uploaded.set()
    return upload


def expiry(context: IngestContext) -> datetime:
    return context.clock() + timedelta(hours=context.settings.upload_hours)


async def append(
    context: IngestContext, key: str, offset: int, body: AsyncIterator[bytes], checksum: Checksum | None
) -> Upload:
    """Add the body to the upload; raises `WrongOffset`, `ChecksumMismatch`, `Busy`, `TooLarge`, `TooSlow`, `Full`."""
    with exclusively(context, key):
        upload = await asyncio.to_thread(context.uploads.get, key)
        if offset != upload.offset:
            raise WrongOffset(f"the upload goes on at byte {upload.offset}")
        if upload.whole:
            return upload
        chunk = await asyncio.to_thread(Chunk, context.uploads, upload)
        try:
            upload = await _appended(context, chunk, body, checksum)
        finally:
            await asyncio.to_thread(chunk.close)
    if upload.whole:
        context.uploaded.set()
    return upload


async def _appended(
    context: IngestContext, chunk: Chunk, body: AsyncIterator[bytes], checksum: Checksum | None
) -> Upload:
    broken: Exception | None = None
    try:
        async for piece in patiently(body, context.settings.stow_timeout):
            await asyncio.to_thread(_write, chunk, piece, checksum)
    except (ClientDisconnect, TooSlow) as error:
        broken = error
    if checksum is not None and not checksum.holds:
        raise ChecksumMismatch("the bytes are not those of the checksum; send them again from the same offset")
    kept = await asyncio.to_thread(chunk.keep, chunk.upload.model_copy(update={"expires_at": expiry(context)}))
    if broken is not None:
        raise TooSlow(f"the body broke off; {kept.offset} bytes are kept") from broken
    return kept


def _write(chunk: Chunk, piece: bytes, checksum: Checksum | None) -> None:
    if checksum is not None:
        checksum.hash.update(piece)
    chunk.write(piece)


@contextmanager
def exclusively(context: IngestContext, key: str) -> Iterator[None]:
    """One writer per upload; raises `Busy` for the second, who comes again."""
    if key in context.uploading:
        raise Busy("another request is writing this upload; ask for its offset and go on from there")
    context.uploading.add(key)
    try:
        yield
    finally:
        context.uploading.discard(key)
