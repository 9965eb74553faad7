"""From the spool to object storage: new instances into packs, one per series; each in conflict into its own object."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.completeness import Whole
from radrelay_ingest.domain.studies import Arrival, Conflict, Harvest, Head, Study
from radrelay_ingest.domain.vocabulary import modality
from radrelay_ingest.instance import read_head
from radrelay_ingest.segments import Spooled
from radrelay_ingest.subjects import subject_of
from radrelay_shared.errors import Unreachable
from radrelay_shared.packs import (
    Manifest,
    PackedSeries,
    PackPart,
    manifest_key,
    manifest_sha256,
    pack_key,
    read_manifest,
    write_manifest,
    write_pack,
)
from radrelay_shared.ports import Blobs

UID_HASH = 32  # hex digits in a key


@dataclass(frozen=True, slots=True)
class Instance:
    head: Head
    file: Spooled


async def bring_in(
    context: IngestContext, arrival: Arrival, files: Sequence[Spooled], study: Study | None, whole: Whole
) -> Harvest:
    """Store what is new among the claimed files as the study's next batch, and keep what conflicts beside it.

    Doing it again writes the same keys with the same bytes.
    """
    batch = study.next_batch if study else 1
    known = await sealed_before(context.originals, study)
    instances = await asyncio.to_thread(lambda: [opened(file) for file in files])
    kept_aside = {each.other for each in study.conflicts} if study else set()
    new, conflicts = sift([each for each in instances if each.file.sha256 not in kept_aside], known)
    manifest = await pack(context.originals, arrival, batch, new)
    if new:
        await write_manifest(context.originals, manifest_key(arrival.study, batch), manifest)
    aside = [await set_aside(context.originals, arrival, each, first) for each, first in conflicts]
    return Harvest(
        jurisdiction=context.site(arrival.site).jurisdiction,
        completed_at=context.clock(),
        batch=batch,
        manifest=manifest_key(arrival.study, batch),
        manifest_sha256=manifest_sha256(manifest),
        instances=len(new),
        size=manifest.total_bytes,
        modalities=tuple(sorted({modality(each.head.modality) for each in new if each.head.modality})),
        subject=await asyncio.to_thread(lambda: subject_of([each.file for each in first_of_each_series(new)])),
        conflicts=tuple(aside),
        repeats=len(instances) - len(new) - len(conflicts) + context.spool.came_again(arrival.study),
        whole=whole,
    )


def opened(file: Spooled) -> Instance:
    with file.opened() as content:
        return Instance(read_head(content, file.size), file)


async def sealed_before(originals: Blobs, study: Study | None) -> dict[str, str]:
    """The SHA-256 of every instance in the study's earlier batches, by SOP Instance UID."""
    batches = [batch for batch in (study.batches if study else ()) if not batch.erased]
    manifests = [await read_manifest(originals, batch.manifest) for batch in batches]
    packed = (instance for manifest in manifests for series in manifest.series for instance in series.instances)
    return {instance.sop_instance_uid: instance.sha256 for instance in packed}


def sift(instances: Sequence[Instance], known: Mapping[str, str]) -> tuple[list[Instance], list[tuple[Instance, str]]]:
    """Those to seal, and those whose SOP Instance UID came before with other bytes, whose SHA-256 stands beside them.

    What is known is neither.
    """
    first, new, conflicts = dict(known), [], []
    for each in instances:
        uid, sha256 = each.head.sop_instance_uid, each.file.sha256
        if uid not in first:
            first[uid] = sha256
            new.append(each)
        elif first[uid] != sha256:
            conflicts.append((each, first[uid]))
    return new, conflicts


def first_of_each_series(instances: Sequence[Instance]) -> list[Instance]:
    return list({each.head.series_instance_uid: each for each in reversed(instances)}.values())[::-1]


async def pack(originals: Blobs, arrival: Arrival, batch: int, instances: Sequence[Instance]) -> Manifest:
    """One pack per series, both in the order they came."""
    by_series: dict[str, list[Instance]] = {}
    for each in instances:
        by_series.setdefault(each.head.series_instance_uid, []).append(each)
    series = [
        await pack_series(originals, pack_key(arrival.study, batch, number), members)
        for number, members in enumerate(by_series.values(), 1)
    ]
    return Manifest(
        study=arrival.study, batch=batch, study_instance_uid=arrival.study_instance_uid, series=tuple(series)
    )


async def pack_series(originals: Blobs, key: str, members: Sequence[Instance]) -> PackedSeries:
    packed = await write_pack(originals, key, parts(members))
    if [instance.sha256 for instance in packed] != [each.file.sha256 for each in members]:
        raise Unreachable("the spool's disk gave back other bytes than it was given; nothing of them goes on")
    head = members[0].head
    return PackedSeries(
        series_instance_uid=head.series_instance_uid, modality=head.modality, pack=key, instances=tuple(packed)
    )


async def parts(members: Sequence[Instance]) -> AsyncIterator[PackPart]:
    for each in members:
        head = each.head
        yield PackPart(head.sop_instance_uid, head.sop_class_uid, head.transfer_syntax_uid, each.file.pieces())


async def set_aside(originals: Blobs, arrival: Arrival, instance: Instance, first: str) -> Conflict:
    """Keep it among the originals, for a person to look at."""
    sop = hashlib.sha256(instance.head.sop_instance_uid.encode()).hexdigest()[:UID_HASH]
    key = f"conflicts/{arrival.study}/{sop}-{instance.file.sha256}.dcm"
    await write_pack(originals, key, parts([instance]))
    return Conflict(
        sop_instance_uid=instance.head.sop_instance_uid,
        first=first,
        other=instance.file.sha256,
        kept_as=key,
        arrived_at=instance.file.arrived_at,
    )
