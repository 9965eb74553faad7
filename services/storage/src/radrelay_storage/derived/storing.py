"""Storing what was taken: packs first, then a claim in the study's document, and from then on it will be there.

    written    the batch's pack, metadata and manifest, under a number made of the instances' hashes
    claimed    the study's document says that the batch is its own: the one atomic write, and what is acknowledged
    settled    its series can be found, the ledger has it, the study counts it

At most one batch of a study is claimed and not settled. Whoever comes next settles it first, and so does a task that
looks for what a crash left behind; all steps can be done again. Without a claim, there is nothing but objects that
nobody knows, which the same request overwrites when it comes again, and which go with the study.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import IO

from radrelay_shared.errors import NotFound, RadRelayError
from radrelay_shared.packs import (
    Manifest,
    PackPart,
    manifest_key,
    write_manifest,
    write_series,
)
from radrelay_shared.ports import Range
from radrelay_shared.security import Principal
from radrelay_storage import domain
from radrelay_storage.access import every_series
from radrelay_storage.context import StorageContext
from radrelay_storage.custody.hops import hop
from radrelay_storage.custody.ledger import record
from radrelay_storage.derived.judging import Derived
from radrelay_storage.domain import DERIVED, Claim, Series, Study, StudyBatch, series_key

log = logging.getLogger("radrelay.storage")

PIECE = 1 << 20
PAGE = 100


async def stored(study: Study, taken: Sequence[Derived], caller: Principal, context: StorageContext) -> bool:
    """Write, claim and settle; False if the study was changed since these were judged, so that they must be again."""
    claim = await written(study, taken, caller, context)
    after = await context.store.change(Study, study.study, partial(domain.claimed, claim=claim, seen=study))
    if after is None:
        await forget(claim, context)
        raise NotFound("the study was purged meanwhile")
    if after.claim != claim:
        return False
    await settle(study.study, context)
    return True


async def written(study: Study, taken: Sequence[Derived], caller: Principal, context: StorageContext) -> Claim:
    """The same instances make the same objects under the same keys, however often they come."""
    number = batch_number(taken)
    by_series = sorted(taken, key=lambda each: each.received.series_instance_uid)
    groups = [list(group) for _, group in groupby(by_series, key=lambda each: each.received.series_instance_uid)]
    made = [
        await write_series(context.blobs, study.study, number, place, _parts(group), [each.metadata for each in group])
        for place, group in enumerate(groups, 1)
    ]
    packed = tuple(each for each in made if each is not None)
    key = manifest_key(study.study, number)
    manifest = Manifest(study=study.study, batch=number, study_instance_uid=study.study_instance_uid, series=packed)
    batch = StudyBatch(
        batch=number,
        manifest=key,
        series=tuple(each.series_instance_uid for each in packed),
        instances=len(taken),
    )
    sha256 = await write_manifest(context.blobs, key, manifest)
    return Claim(batch=batch, manifest_sha256=sha256, by=caller.subject, at=context.clock())


def batch_number(taken: Sequence[Derived]) -> int:
    """Above all that anonymize will ever count to; 40 bits of what the batch consists of."""
    told = sorted(f"{each.received.sop_instance_uid} {each.received.sha256}" for each in taken)
    return DERIVED + int(hashlib.sha256("\n".join(told).encode()).hexdigest()[:10], 16)


async def _parts(taken: Sequence[Derived]) -> AsyncIterator[PackPart]:
    for each in taken:
        one = each.received
        yield PackPart(one.sop_instance_uid, one.sop_class_uid, one.transfer_syntax_uid, pieces(one.file))


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(PIECE):
        yield piece


async def forget(claim: Claim, context: StorageContext) -> None:
    """Delete what was written for a study that is gone."""
    folder = claim.batch.manifest.rpartition("/")[0]
    for key in [info.key async for info in context.blobs.list(f"{folder}/")]:
        await context.blobs.delete(key)


# ── from a claim to what can be found ────────────────────────────────────────────────────────────────


async def settle(key: str, context: StorageContext) -> Study | None:
    """Bring what the study claims to where searches find it; the study as it is then, None if there is none."""
    study = await context.store.read(Study, key)
    if study is None or study.claim is None:
        return study
    claim = study.claim
    found = await context.shelf.batch(claim.batch.manifest)
    for each in found:
        name = series_key(key, each.series_instance_uid)
        before = await context.store.read(Series, name)
        others = await context.shelf.uids(before) if before else {}
        await context.store.change(Series, name, partial(domain.store_series, stored=each, others=others, of=study))
    made = hop(
        "derived",
        f"derived {claim.batch.batch}",
        claim.at,
        claim.by,
        batch=claim.batch.batch,
        instances=claim.batch.instances,
        manifest=claim.batch.manifest,
        manifest_sha256=claim.manifest_sha256,
    )
    await record(context.store, key, study.site, [made])
    instances = sum(each.instances for each in await every_series(key, context))
    modalities = [each.modality for each in found]
    settling = partial(domain.settled, claim=claim, modalities=modalities, instances=instances)
    after = await context.store.change(Study, key, settling)
    context.seen.forget()
    return after


async def settle_left_behind(context: StorageContext) -> None:
    """Settle what a crash broke off after it was claimed."""
    for study in await context.store.find(Study, [Range("claim.batch.batch", low=DERIVED)], limit=PAGE):
        try:
            await settle(study.study, context)
        except RadRelayError as error:
            log.warning("derived objects of %s are settled later: %s", study.study, error.detail)
