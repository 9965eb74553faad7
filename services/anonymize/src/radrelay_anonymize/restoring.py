"""A batch made again beside the damaged one: de-identification is deterministic, and the hash proves it."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from tempfile import TemporaryDirectory

from pydantic import SecretStr

from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain.cases import Batch, Case
from radrelay_shared.connect import connect_blobs
from radrelay_shared.errors import NotFound, Refused
from radrelay_shared.events import PackDamaged, StudyReceived
from radrelay_shared.packs import Manifest, read_manifest

Work = Callable[[AnonymizeContext, StudyReceived, Manifest], Awaitable[Batch]]


async def made_again(context: AnonymizeContext, event: PackDamaged, work: Work) -> None:
    """Overwrite the batch's objects with what its originals come to; raises `Refused` if that is anything else."""
    received = await received_as(context, event)
    originals = await read_manifest(context.originals, received.manifest)
    with TemporaryDirectory(prefix="radrelay-restore-") as folder:
        beside = copy.copy(context)
        beside.bucket = await connect_blobs(f"file:///{folder}", SecretStr(""), SecretStr(""))
        made = await work(beside, received, originals)
        if made.manifest_sha256 != event.manifest_sha256:
            raise Refused(
                f"batch {event.batch} of {event.study} does not come to the same bytes any more (its rules or its "
                "originals changed since); nothing was overwritten: restore its objects from a backup"
            )
        async for info in beside.blobs.list():
            await context.blobs.put(info.key, beside.blobs.stream(info.key))


async def received_as(context: AnonymizeContext, event: PackDamaged) -> StudyReceived:
    case = await context.store.read(Case, event.study)
    received = case.batch(event.batch).received if case else None
    if received is None or received.batch != event.batch:
        raise NotFound(f"how batch {event.batch} of {event.study} was received is not known; restore it from a backup")
    return received
