"""A batch of originals becomes a batch of de-identified packs, instance by instance, in bounded memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain import Quarantined, Words
from radrelay_anonymize.domain.cases import Batch
from radrelay_anonymize.domain.identity import Identity
from radrelay_anonymize.instance import Copy, deidentified, who
from radrelay_shared.errors import Invalid
from radrelay_shared.events import StudyReceived
from radrelay_shared.packs import (
    Manifest,
    PackedSeries,
    PackPart,
    manifest_key,
    metadata_key,
    pack_key,
    read_instance,
    write_manifest,
    write_metadata,
    write_pack,
)


@dataclass
class Work:
    """One batch under way. The same batch gives the same bytes under the same keys, however often it is done."""

    context: AnonymizeContext
    event: StudyReceived
    originals: Manifest
    identity: Identity
    words: Words
    copies: list[Copy] = field(default_factory=list)  # of the series under way, without their bytes' neighbours
    reasons: list[str] = field(default_factory=list)
    quarantined: int = 0
    modalities: set[str] = field(default_factory=set)
    body_parts: set[str] = field(default_factory=set)

    async def run(self) -> Batch:
        """Write packs, metadata and manifest of all that may leave; count and name what may not."""
        event, blobs = self.event, self.context.blobs
        series = [
            packed
            for number, each in enumerate(self.originals.series, 1)
            if (packed := await self._series(each, number)) is not None
        ]
        facts = {"quarantined": self.quarantined, "reasons": tuple(sorted(set(self.reasons)))}
        if not series:
            return Batch.model_validate({"batch": event.batch, **facts})
        manifest = Manifest(
            study=event.study, batch=event.batch, study_instance_uid=self.study_instance_uid, series=tuple(series)
        )
        key = manifest_key(event.study, event.batch)
        await write_manifest(blobs, key, manifest)
        return Batch.model_validate(
            {
                "batch": event.batch,
                "released": manifest.instance_count,
                "manifest": key,
                "study_instance_uid": self.study_instance_uid,
                "modalities": tuple(sorted(self.modalities)),
                "body_parts": tuple(sorted(self.body_parts)),
                **facts,
            }
        )

    async def _series(self, original: PackedSeries, number: int) -> PackedSeries | None:
        """One series' pack and metadata; None if nothing of it may leave."""
        study, batch, blobs = self.event.study, self.event.batch, self.context.blobs
        self.copies = []
        pack, metadata = pack_key(study, batch, number), metadata_key(study, batch, number)
        instances = await write_pack(blobs, pack, self._parts(original))
        if not instances:
            await blobs.delete(pack)
            return None
        await write_metadata(blobs, metadata, [copy.metadata for copy in self.copies])
        first = self.copies[0]
        self.study_instance_uid = first.study_instance_uid
        self.modalities.update(copy.modality for copy in self.copies)
        self.body_parts.update(copy.body_part for copy in self.copies if copy.body_part)
        return PackedSeries(
            series_instance_uid=first.series_instance_uid,
            modality=first.modality,
            pack=pack,
            metadata=metadata,
            instances=tuple(instances),
        )

    async def _parts(self, original: PackedSeries) -> AsyncIterator[PackPart]:
        secret, site = self.context.tenant_secret, self.event.site
        for instance in original.instances:
            data = await read_instance(self.context.originals, original, instance)
            outcome = await self.context.compute(deidentified, data, secret, site, self.identity, self.words)
            if isinstance(outcome, Quarantined):
                self.quarantined += 1
                self.reasons += outcome.reasons
                continue
            self.copies.append(replace(outcome, part=replace(outcome.part, content=b"")))
            yield outcome.part


async def identify(context: AnonymizeContext, originals: Manifest) -> tuple[Identity, Words]:
    """The study's patient, from its first readable instance, and words of identity from every series.

    Raises `Invalid` if nothing at all can be read.
    """
    identity, words = None, Words()
    for series in originals.series:
        for instance in series.instances:
            found = await context.compute(who, await read_instance(context.originals, series, instance))
            if found:
                identity, words = identity or found[0], words | found[1]
                break
    if identity is None:
        raise Invalid("no instance of the batch can be read")
    return identity, words
