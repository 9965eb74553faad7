"""One request's instances, study by study: judged against what is there, and stored if nothing speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from radrelay_shared.dicom.stow import Failure, Outcome
from radrelay_shared.errors import Conflict, NotFound
from radrelay_shared.security import Principal
from radrelay_storage.access import visible_study
from radrelay_storage.context import StorageContext
from radrelay_storage.derived.judging import Derived, judged, kind_for, named_in, opened
from radrelay_storage.derived.receiving import Received, Reception
from radrelay_storage.derived.refusal import Reason, Refusal
from radrelay_storage.derived.storing import settle, stored
from radrelay_storage.derived.surroundings import Surroundings, surroundings_of, with_priors
from radrelay_storage.domain import Study

RACES = 20
MOST_OF_A_STUDY = 2000  # derived instances


async def take(reception: Reception, caller: Principal, only: str | None, context: StorageContext) -> None:
    """Each study's instances in turn; `only` is the study that the URL names."""
    received = sorted(reception.received, key=lambda each: each.study_instance_uid)
    for uid, group in groupby(received, key=lambda each: each.study_instance_uid):
        ours = list(group)
        try:
            study = await named_study(uid, only, caller, context)
            await store_in(study, ours, caller, reception.outcome, context)
        except Refusal as refusal:
            reception.outcome.failed += [Failure(each, refusal.reason, refusal.detail) for each in ours]


async def named_study(uid: str, only: str | None, caller: Principal, context: StorageContext) -> Study:
    if only not in (None, uid):
        raise Refusal(Reason.MISMATCH, "it is not of the study that the URL names")
    try:
        return await visible_study(uid, caller, context)
    except NotFound as error:
        raise Refusal(Reason.NOT_HERE, "there is no such study for you here") from error


async def store_in(
    study: Study, received: Sequence[Received], caller: Principal, outcome: Outcome, context: StorageContext
) -> None:
    """Judge what came against what is there, and store it; again if that was changed meanwhile."""
    for _ in range(RACES):
        current = await settle(study.study, context)
        if current is None:
            raise Refusal(Reason.NOT_HERE, "there is no such study for you here")
        judgement = Judgement(current, caller, context)
        await judgement.over(received)
        if not judgement.taken or await stored(current, judgement.taken, caller, context):
            outcome.stored += [*judgement.known, *(each.received for each in judgement.taken)]
            outcome.failed += judgement.failed
            return
    raise Conflict(f"{study.study} is changed by others all the time; send it again in a moment")


class Judgement:
    """One study's instances of a request, sorted into those that are there, that are taken, and that are not."""

    def __init__(self, study: Study, caller: Principal, context: StorageContext) -> None:
        self.study, self.caller, self.context = study, caller, context
        self.known: list[Received] = []
        self.taken: list[Derived] = []
        self.failed: list[Failure] = []

    async def over(self, received: Sequence[Received]) -> None:
        """In the order in which they came; a later one may refer to an earlier one."""
        around = await surroundings_of(self.study, self.caller.subject.removeprefix("key:"), self.context)
        for each in received:
            try:
                around = await self._one(each, around)
            except Refusal as refusal:
                self.failed.append(Failure(each, refusal.reason, refusal.detail))

    async def _one(self, each: Received, around: Surroundings) -> Surroundings:
        kind = kind_for(each, self.caller)
        if around.has(each):
            self.known.append(each)
            return around
        if sum(batch.instances for batch in self.study.derived) + len(self.taken) >= MOST_OF_A_STUDY:
            raise Refusal(Reason.NO_ROOM, f"this study has {MOST_OF_A_STUDY} derived objects already")
        compute = self.context.workers.compute
        dataset = await compute(opened, each)
        wider = await with_priors(around, self.study, await compute(named_in, dataset), self.context)
        self.taken.append(await compute(judged, each, dataset, kind, wider))
        return wider.with_one(each)
