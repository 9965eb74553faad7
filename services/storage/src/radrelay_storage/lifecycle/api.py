"""Legal holds, and purges that take two people."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from radrelay_shared.aggregate import Input
from radrelay_shared.errors import NotFound
from radrelay_shared.ports import Eq, Where
from radrelay_shared.security import Principal
from radrelay_storage.access import Ctx, StudyKey, may, own_sites
from radrelay_storage.context import StorageContext
from radrelay_storage.custody.hops import hop, moment
from radrelay_storage.domain import Study
from radrelay_storage.lifecycle import keeping as acts
from radrelay_storage.lifecycle.keeping import Hold, Keeping
from radrelay_storage.lifecycle.purge import approve, as_it_is, decide, note, proposal_hops
from radrelay_storage.rights import Act

router = APIRouter(tags=["lifecycle"])

Desk = Annotated[Principal, may(Act.HOLD)]
Anyone = Annotated[Principal, may(Act.KNOW)]
Deleter = Annotated[Principal, may(Act.DELETE)]
Matter = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="a reference, never a name")]
Reason = Literal["expired", "sent-by-mistake", "patient-request", "contract-ended", "test-data"]


class Wish(Input):
    """Why the study is to go."""

    reason: Reason


@router.put("/holds/{study}/{matter}")
async def hold(study: StudyKey, matter: Matter, caller: Desk, context: Ctx) -> Keeping:
    """Hold a study for a legal matter: until it is lifted, nothing and nobody purges the study."""
    await must_see(study, caller, context)
    now = context.clock()
    keeping = await decide(context, study, partial(acts.held, hold=Hold(matter=matter, by=caller.subject, at=now)))
    for each in keeping.holds:
        mark = f"held {each.matter} {moment(each.at)}"
        await note(context, keeping, hop("held", mark, each.at, each.by, matter=each.matter))
    return keeping


@router.delete("/holds/{study}/{matter}")
async def lift(study: StudyKey, matter: Matter, caller: Deleter, context: Ctx) -> Keeping:
    """Lift a hold."""
    await must_see(study, caller, context)
    now = context.clock()
    keeping = await decide(context, study, partial(acts.lifted, matter=matter))
    mark = f"hold-lifted {matter} {moment(now)}"
    await note(context, keeping, hop("hold-lifted", mark, now, caller.subject, matter=matter))
    return keeping


@router.get("/holds/{study}")
async def holds(study: StudyKey, caller: Anyone, context: Ctx) -> Keeping:
    """What holds a study, who wants it purged, or its tombstone."""
    await must_see(study, caller, context)
    return await as_it_is(context, study)


@router.get("/purges")
async def purges(
    caller: Anyone,
    context: Ctx,
    state: Literal["proposed", "purging", "purged"] = "proposed",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> list[Keeping]:
    """What is proposed, under way, or gone."""
    where: list[Where] = [Eq("state", state), *own_sites(caller)]
    return await context.store.find(Keeping, where, sort="study", limit=limit, offset=offset)


@router.post("/purges/{study}")
async def propose(study: StudyKey, wish: Wish, caller: Deleter, context: Ctx) -> Keeping:
    """Propose to purge a study. Another person has to approve it."""
    await must_see(study, caller, context)
    act = partial(acts.proposed, reason=wish.reason, by=caller.subject, at=context.clock())
    keeping = await decide(context, study, act)
    if keeping.proposal:
        await note(context, keeping, *proposal_hops(keeping.proposal))
    return keeping


@router.post("/purges/{study}/approve")
async def agree(study: StudyKey, caller: Deleter, context: Ctx) -> Keeping:
    """Agree to a purge. With two people for it, and no hold, originals, copies and identity are deleted for good."""
    await must_see(study, caller, context)
    return await approve(context, study, caller.subject)


@router.post("/purges/{study}/withdraw")
async def withdraw(study: StudyKey, caller: Deleter, context: Ctx) -> Keeping:
    """Take a proposal back."""
    await must_see(study, caller, context)
    now = context.clock()
    keeping = await decide(context, study, acts.withdrawn)
    mark = f"purge-withdrawn {moment(now)}"
    await note(context, keeping, hop("purge-withdrawn", mark, now, caller.subject))
    return keeping


async def must_see(study: str, caller: Principal, context: StorageContext) -> None:
    """Raise `NotFound` unless the study, or its tombstone, is of one of the caller's sites."""
    found = await context.store.read(Study, study) or await context.store.read(Keeping, study)
    if found is None or not caller.sees(found.site):
        raise NotFound("there is no study of this key for you here")
