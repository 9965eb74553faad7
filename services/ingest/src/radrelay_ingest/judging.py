"""Judging whether a study is whole: the facts for `completeness.verdict`, from the spool, documents and originals."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.completeness import Basis, Claim, Confidence, Present, Wait, Whole, verdict
from radrelay_ingest.domain.evidence import Evidence, SenderCount
from radrelay_ingest.domain.orders import Status
from radrelay_ingest.domain.steps import Step, performed
from radrelay_ingest.domain.studies import Arrival, Study
from radrelay_ingest.manifests import manifest_of
from radrelay_ingest.matches import orders_numbered
from radrelay_ingest.packing import opened, sealed_before
from radrelay_ingest.segments import Spooled
from radrelay_shared.events import Key, Priority
from radrelay_shared.ports import In

AT_ONCE = 1000  # studies asked for in one query
MOST_STEPS = 10 * AT_ONCE


@dataclass
class Said:
    """All that was said of one study, beside what its images say."""

    evidence: Evidence | None
    steps: list[Step] = field(default_factory=list)

    @property
    def sender(self) -> SenderCount | None:
        return self.evidence.sender if self.evidence else None


class Judge:
    """Remembers what manifests list as long as their studies wait."""

    def __init__(self, context: IngestContext) -> None:
        self.context = context
        self.listed: dict[str, frozenset[str]] = {}  # SHA-256, by the manifest's key

    async def evidence(self, studies: Iterable[Key]) -> Mapping[Key, Said]:
        """What was said of these studies; those of which nothing was are left out."""
        keys, found = tuple(studies), dict[Key, Said]()
        for start in range(0, len(keys), AT_ONCE):
            where = [In("study", keys[start : start + AT_ONCE])]
            for evidence in await self.context.store.find(Evidence, where, limit=AT_ONCE):
                found[evidence.study] = Said(evidence)
            for step in await self.context.store.find(Step, where, limit=MOST_STEPS):
                found.setdefault(step.study, Said(None)).steps.append(step)
        given = {said.evidence.manifest.key for said in found.values() if said.evidence and said.evidence.manifest}
        self.listed = {key: hashes for key, hashes in self.listed.items() if key in given}
        return found

    async def judge(self, study: Key, last: datetime, said: Said | None) -> Whole | Wait:
        """Whether the study is whole now, by all that is known of it."""
        arrival = self.context.spool.arrival(study)
        site, now = self.context.site(arrival.site), self.context.clock()
        if said is None and not arrival.study_instances and now < (soonest := last + site.policy(Priority.STAT).quiet):
            return Wait(soonest)  # whatever its priority: no document needs to be read
        policy = site.policy(await expected_priority(self.context, arrival))
        claims = [each for each in await self._claims(arrival, said) if each]
        present = await self._present(study, last, claims)
        return verdict(claims, present, now, policy)

    async def sealed_as(self, study: Key) -> Whole:
        """The verdict on a batch that is closed: as it would be now, and low if it would be waited for."""
        files = self.context.spool.batch(study)
        last = max((each.arrived_at for each in files), default=self.context.clock())
        said = await self.evidence([study])
        found = await self.judge(study, last, said.get(study))
        return found if isinstance(found, Whole) else Whole(confidence=Confidence.LOW)

    async def _claims(self, arrival: Arrival, said: Said | None) -> list[Claim | None]:
        counted = arrival.study_instances
        in_header = Claim(Basis.INSTANCE_COUNT, counted) if counted else None
        if said is None:
            return [in_header]
        by_sender = Claim(Basis.SENDER_COUNT, said.sender.count) if said.sender and said.sender.count else None
        return [await self._manifest(said.evidence), performed(said.steps), in_header, by_sender]

    async def _manifest(self, evidence: Evidence | None) -> Claim | None:
        if evidence is None or (given := evidence.manifest) is None:
            return None
        if given.key not in self.listed:
            manifest = await manifest_of(self.context, evidence)
            self.listed[given.key] = frozenset(each.sha256 for each in manifest.instances) if manifest else frozenset()
        return Claim(Basis.MANIFEST, given.count, self.listed[given.key])

    async def _present(self, study: Key, last: datetime, claims: list[Claim]) -> Present:
        """Instances are looked at only where somebody says something of them."""
        delivering = self.context.delivering[study] > 0
        if not claims:
            return Present(frozenset(), 0, last, delivering)
        files = self.context.spool.batch(study)
        earlier = await sealed_before(self.context.originals, await self.context.store.read(Study, study))
        sealed = set(earlier.values())
        names = {each.sha256 for each in files} | sealed
        if any(each.basis is Basis.PERFORMED_STEPS for each in claims):
            names |= set(earlier) | set(await asyncio.to_thread(lambda: [sop_of(each) for each in files]))
        new = sum(each.sha256 not in sealed for each in files)
        return Present(frozenset(names), new + len(earlier), last, delivering)


@functools.lru_cache(maxsize=1 << 16)
def sop_of(file: Spooled) -> str:
    return opened(file).head.sop_instance_uid


async def expected_priority(context: IngestContext, arrival: Arrival) -> Priority:
    """The most urgent that an order with the study's accession number says; before the study is matched to any."""
    if not arrival.accession_number:
        return Priority.ROUTINE
    named = await orders_numbered(context, arrival.site, "accession", arrival.accession_number)
    said = {each.request.priority for each in named if each.request.status is not Status.CANCELLED}
    return next((each for each in Priority if each in said), Priority.ROUTINE)
