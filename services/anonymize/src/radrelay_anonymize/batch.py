"""A batch of originals becomes a batch of de-identified packs, instance by instance, in bounded memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain import Quarantined, Words
from radrelay_anonymize.domain.around import words_around
from radrelay_anonymize.domain.cases import Batch, Held
from radrelay_anonymize.domain.identity import Identity
from radrelay_anonymize.domain.pieces import LARGE, Data
from radrelay_anonymize.domain.profile import Profile
from radrelay_anonymize.files import spooled
from radrelay_anonymize.instance import Copy, Facts, engine_context, made_copy, who
from radrelay_shared.errors import Invalid
from radrelay_shared.events import StudyReceived
from radrelay_shared.named import Named, read_named
from radrelay_shared.packs import (
    Manifest,
    PackedInstance,
    PackedSeries,
    PackPart,
    manifest_key,
    pour_instance,
    read_instance,
    write_manifest,
    write_series,
)

log = logging.getLogger("radrelay.anonymize")

MOST_WORDS = 20  # of a kind, in an event


@dataclass
class Work:
    """One batch under way. The same batch gives the same bytes under the same keys, however often it is done."""

    context: AnonymizeContext
    event: StudyReceived
    originals: Manifest
    identity: Identity
    words: Words
    profile: Profile
    study_instance_uid: str = ""
    modalities: set[str] = field(default_factory=set)
    body_parts: set[str] = field(default_factory=set)
    held: list[Held] = field(default_factory=list)
    vouched: bool = False  # a person has looked at these instances

    async def run(self) -> Batch:
        """Write packs, metadata and manifest of all that may leave; name what may not, with the reasons."""
        secret, site = self.context.tenant_secret, self.event.site
        self.engine = engine_context(secret, site, self.identity, self.words, self.profile, vouched=self.vouched)
        done = [await self._series(each, number) for number, each in enumerate(self.originals.series, 1)]
        series = tuple(each for each in done if each is not None)
        return Batch(
            batch=self.event.batch,
            released=sum(len(each.instances) for each in series),
            held=tuple(self.held),
            reasons=first_of({reason for each in self.held for reason in each.reasons}),
            **(await self._manifest(series) if series else {}),
            study_instance_uid=self.study_instance_uid,
            modalities=first_of(self.modalities),
            body_parts=first_of(self.body_parts),
            received=self.event,
        )

    async def _manifest(self, series: tuple[PackedSeries, ...]) -> dict[str, str]:
        study, batch = self.event.study, self.event.batch
        key = manifest_key(study, batch)
        manifest = Manifest(study=study, batch=batch, study_instance_uid=self.study_instance_uid, series=series)
        return {"manifest": key, "manifest_sha256": await write_manifest(self.context.blobs, key, manifest)}

    async def _series(self, original: PackedSeries, number: int) -> PackedSeries | None:
        """One series' pack and metadata; None if nothing of it may leave."""
        described: list[dict[str, Any]] = []
        parts = self._parts(original, number, described)
        return await write_series(self.context.blobs, self.event.study, self.event.batch, number, parts, described)

    async def _parts(
        self, original: PackedSeries, number: int, described: list[dict[str, Any]]
    ) -> AsyncIterator[PackPart]:
        for place, instance in enumerate(original.instances, 1):
            outcome = await self._copy(original, instance)
            if isinstance(outcome, Quarantined):
                self.held.append(Held(series=number, place=place, reasons=outcome.reasons))
            else:
                described.append(outcome.facts.metadata)
                self._note(outcome.facts)
                yield outcome.part

    def _note(self, facts: Facts) -> None:
        self.study_instance_uid = facts.study_instance_uid
        self.modalities.add(facts.modality)
        self.body_parts.update([facts.body_part] if facts.body_part else [])

    async def _copy(self, series: PackedSeries, instance: PackedInstance) -> Copy | Quarantined:
        async with self.context.room(self.event.priority):
            data = await original_of(self.context, series, instance)
            if data is None:
                return Quarantined(("hash-mismatch",))
            wash = self.context.washer(self.event.priority)
            return await asyncio.to_thread(made_copy, data, self.identity, self.engine, wash)


def first_of(found: set[str]) -> tuple[str, ...]:
    return tuple(sorted(found)[:MOST_WORDS])


async def original_of(context: AnonymizeContext, series: PackedSeries, instance: PackedInstance) -> Data | None:
    """The instance as it was received, from a file if it is large; None if these are no longer its bytes."""
    try:
        if instance.length > LARGE:
            return await spooled(partial(pour_instance, context.originals, series, instance))
        return await read_instance(context.originals, series, instance)
    except Invalid as error:
        log.error("an original was changed: %s", error.detail)  # noqa: TRY400  the text says it
        return None


async def identify(
    context: AnonymizeContext, event: StudyReceived, originals: Manifest, profile: Profile
) -> tuple[Identity, Words] | None:
    """The batch's patient, from its first readable instance, and words of identity from every series, order and clinic.

    None if nothing at all can be read. Raises as `read_named`: without what orders and clinic say no copy is made.
    """
    named = await read_named(context.originals, event.study, event.words) if event.words else Named()
    identity, words = None, words_around(named, profile)
    for series in originals.series:
        for instance in series.instances:
            async with context.room(event.priority):
                data = await original_of(context, series, instance)
                found = await asyncio.to_thread(who, data, profile) if data else None
            if found:
                identity, words = identity or found[0], words | found[1]
                break
    return (identity, words) if identity else None
