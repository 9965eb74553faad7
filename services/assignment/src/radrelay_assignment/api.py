from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import AwareDatetime, BaseModel

from radrelay_assignment import claims
from radrelay_assignment.context import AssignmentContext
from radrelay_assignment.domain import workitems
from radrelay_assignment.domain.radiologists import Profile, Radiologist
from radrelay_assignment.domain.workitems import UPS, Turn, Workitem, WorkitemState
from radrelay_shared.aggregate import Decision
from radrelay_shared.events import Prior, Priority
from radrelay_shared.http import context_of
from radrelay_shared.ports import Eq, In, Where
from radrelay_shared.security import EVERY_SITE, Operator, Principal, Role, require

router = APIRouter(tags=["assignment"])
Reader = Annotated[Principal, require(Role.RADIOLOGIST)]
Desk = Annotated[Principal, require(Role.OPERATOR, Role.ASSISTANT)]
Anyone = Annotated[Principal, require(Role.OPERATOR, Role.ASSISTANT, Role.RADIOLOGIST)]
Here = Annotated[AssignmentContext, Depends(context_of)]
RadiologistId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._:@|-]{1,128}$")]


class WorkitemView(BaseModel):
    """A workitem as radiologists and desks see it; `reasons` are triage's, then assignment's."""

    workitem: str
    study: str
    study_instance_uid: str
    site: str
    priority: Priority
    subspecialty: str
    due_at: AwareDatetime
    state: WorkitemState
    ups_state: str  # PS3.4 §CC.1.1
    radiologist: str | None
    offered_until: AwareDatetime | None
    lease_until: AwareDatetime | None
    stranded: bool
    addendum_by: str | None  # the signer, while there are images that came after the signature
    reasons: tuple[str, ...]
    priors: tuple[Prior, ...]  # earlier studies of the same patient, the best first
    history: tuple[Turn, ...]


@router.put("/radiologists/{radiologist}")
async def register(radiologist: RadiologistId, profile: Profile, _: Operator, context: Here) -> Radiologist:
    """Register a radiologist, or change what is registered; what waits is offered at once."""
    registered = Radiologist(id=radiologist, **dict(profile))
    await context.store.change(Radiologist, radiologist, lambda _: Decision(registered))
    context.dispatcher.nudge()
    return registered


@router.get("/radiologists")
async def list_radiologists(
    _: Desk, context: Here, limit: Annotated[int, Query(ge=1, le=1000)] = 100, offset: Annotated[int, Query(ge=0)] = 0
) -> list[Radiologist]:
    """Who is registered, by id."""
    return await context.store.find(Radiologist, sort="id", limit=limit, offset=offset)


@router.get("/worklist")
async def worklist(caller: Reader, context: Here) -> list[WorkitemView]:
    """The caller's own offers and claims, and what they signed and more images came of; the most urgent first."""
    own = [
        item
        for field in ("radiologist", "addendum_by")
        for item in await context.store.find(Workitem, [Eq(field, caller.subject)], sort="turn", limit=1000)
    ]
    return [view(item) for item in sorted(own, key=lambda item: item.turn) if caller.sees(item.site)]


@router.post(
    "/worklist/next", response_model=WorkitemView, responses={204: {"description": "Nothing to read for the caller"}}
)
async def claim_next(caller: Reader, context: Here) -> WorkitemView | Response:
    """Claim the caller's most urgent offer, or the most urgent waiting workitem they may read."""
    item = await claims.claim_next(caller, context)
    return view(item) if item else Response(status_code=204)


@router.get("/workitems")
async def list_workitems(
    caller: Desk,
    context: Here,
    state: WorkitemState | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> list[WorkitemView]:
    """The workitems of the caller's sites, the most urgent first."""
    where: list[Where] = [Eq("state", state)] if state else []
    if EVERY_SITE not in caller.sites:
        where.append(In("site", tuple(sorted(caller.sites))))
    return [view(item) for item in await context.store.find(Workitem, where, sort="turn", limit=limit, offset=offset)]


@router.get("/workitems/{workitem}")
async def read_workitem(workitem: str, caller: Anyone, context: Here) -> WorkitemView:
    """One workitem, who had it, and why."""
    return view(await claims.visible(workitem, caller, context))


@router.post("/workitems/{workitem}/claim")
async def claim(workitem: str, caller: Reader, context: Here) -> WorkitemView:
    """Take a workitem that is offered to the caller, or that waits and every rule lets them read."""
    await claims.visible(workitem, caller, context)
    radiologist = await claims.registered(caller, context)
    return view(await claims.claim(workitem, radiologist, context))


@router.post("/workitems/{workitem}/renew")
async def renew(workitem: str, caller: Reader, context: Here) -> WorkitemView:
    """Extend the caller's lease, counted from now."""
    await claims.visible(workitem, caller, context)
    until = context.clock() + context.settings.lease_lasts
    return view(await claims.act(workitem, context, lambda item: workitems.renew(item, caller.subject, until)))


@router.post("/workitems/{workitem}/release")
async def release(workitem: str, caller: Reader, context: Here) -> WorkitemView:
    """Give a claimed workitem back; others are asked first."""
    await claims.visible(workitem, caller, context)
    now = context.clock()
    return view(await claims.act(workitem, context, lambda item: workitems.release(item, caller.subject, now)))


@router.post("/workitems/{workitem}/decline")
async def decline(workitem: str, caller: Reader, context: Here) -> WorkitemView:
    """Turn an offer down; the caller is not asked about this study again."""
    await claims.visible(workitem, caller, context)
    now = context.clock()
    return view(await claims.act(workitem, context, lambda item: workitems.decline(item, caller.subject, now)))


def view(item: Workitem) -> WorkitemView:
    known: dict[str, Any] = dict(item)
    known |= {"workitem": item.id, "reasons": item.triage_reasons + item.reasons, "ups_state": UPS[item.state]}
    return WorkitemView(
        **known,
        offered_until=item.until if item.state == "offered" else None,
        lease_until=item.until if item.state == "claimed" else None,
    )
