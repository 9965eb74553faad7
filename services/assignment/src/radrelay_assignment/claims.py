"""What a radiologist does with workitems. Each act is one guarded write: of two who claim at once, one wins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from radrelay_assignment.context import AssignmentContext
from radrelay_assignment.dispatch import open_items
from radrelay_assignment.domain import workitems
from radrelay_assignment.domain.radiologists import Radiologist
from radrelay_assignment.domain.rules import PERMITS, RULES, has_room, objection
from radrelay_assignment.domain.workitems import Workitem
from radrelay_shared.aggregate import Decision
from radrelay_shared.errors import Forbidden, NotFound, Refused
from radrelay_shared.ports import Eq
from radrelay_shared.security import Principal

PAGE = 100


async def registered(caller: Principal, context: AssignmentContext) -> Radiologist:
    found = await context.store.read(Radiologist, caller.subject)
    if found is None:
        raise Forbidden("you are not registered as a radiologist here; an operator can do that")
    return found


async def visible(key: str, caller: Principal, context: AssignmentContext) -> Workitem:
    item = await context.store.read(Workitem, key)
    if item is None:
        raise NotFound("there is no workitem for you here")
    caller.must_see(item.site, "workitem")
    return item


async def act(
    key: str, context: AssignmentContext, decide: Callable[[Workitem], Decision[Workitem] | None]
) -> Workitem:
    """The workitem after the act; waiting ones are offered on at once."""

    def on_existing(item: Workitem | None) -> Decision[Workitem] | None:
        if item is None:
            raise NotFound("there is no workitem for you here")
        return decide(item)

    item = await context.store.change(Workitem, key, on_existing)
    context.dispatcher.nudge()
    if item is None:
        raise NotFound("there is no workitem for you here")
    return item


async def claim(key: str, radiologist: Radiologist, context: AssignmentContext) -> Workitem:
    """The radiologist's lease: of an offer of theirs, or of a waiting workitem that every rule lets them read.

    Raises `Refused` if it is somebody else's or read already, `Forbidden` with the rule that is against it.
    """
    now = context.clock()
    loads = await open_items(context.store, radiologist.id)

    def decide(item: Workitem) -> Decision[Workitem] | None:
        decision = workitems.claim(item, radiologist.id, now + context.settings.lease_lasts)
        against = objection(RULES if item.state == "waiting" else PERMITS, radiologist, item, now)
        if against and decision:
            raise Forbidden(f"this study is not for you: {against}")
        if item.state == "waiting" and not has_room(radiologist, item, loads):
            raise Refused(f"you have {radiologist.max_open} studies open; finish or release one first")
        return decision

    return await act(key, context, decide)


async def claim_next(caller: Principal, context: AssignmentContext) -> Workitem | None:
    """The caller's most urgent offer, or else the most urgent waiting workitem they may read; None if there is none."""
    radiologist = await registered(caller, context)
    async for item in candidates(radiologist, context):
        if not caller.sees(item.site):
            continue
        try:
            return await claim(item.id, radiologist, context)
        except (Refused, Forbidden):  # not for them, or gone meanwhile: the next one may be
            continue
    return None


async def candidates(radiologist: Radiologist, context: AssignmentContext) -> AsyncIterator[Workitem]:
    """Own offers, then what waits and breaks no rule; each the most urgent first."""
    mine = [Eq("radiologist", radiologist.id), Eq("state", "offered")]
    for item in await context.store.find(Workitem, mine, sort="turn", limit=PAGE):
        yield item
    now, loads, offset = context.clock(), await open_items(context.store, radiologist.id), 0
    while page := await context.store.find(Workitem, [Eq("state", "waiting")], sort="turn", limit=PAGE, offset=offset):
        for item in page:
            if objection(RULES, radiologist, item, now) is None and has_room(radiologist, item, loads):
                yield item
        offset += PAGE
