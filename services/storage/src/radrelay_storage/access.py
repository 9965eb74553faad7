"""Who is asking, and what of it they may do it to: the rights of `rights.py` as conditions and dependencies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Request

from radrelay_shared.errors import Forbidden, NotFound, RadRelayError
from radrelay_shared.http import context_of
from radrelay_shared.ports import Eq, Has, In, Where
from radrelay_shared.security import EVERY_SITE, Principal, Role, admit_as, require
from radrelay_storage.context import StorageContext
from radrelay_storage.custody.hops import hop, moment
from radrelay_storage.custody.ledger import record
from radrelay_storage.domain import Series, Study, related, series_key
from radrelay_storage.lifecycle.keeping import Keeping
from radrelay_storage.problems import Gone
from radrelay_storage.relations import opened
from radrelay_storage.rights import RIGHTS, Act, Relation, reader

READERS = tuple(RIGHTS[Act.LOOK])
SEEN_SECONDS = 2.0  # a viewer asks for a series' frames one by one; another process may have stored late ones
SERIES_LIMIT = 10_000  # of one study
FIRST_PAUSE, GROWTH = 0.01, 1.5  # s between looks for what is on its way here


def may(act: Act) -> Any:
    """A FastAPI dependency: the caller, who may do this to some studies."""
    return require(*RIGHTS[act])


Reader = Annotated[Principal, may(Act.LOOK)]
Ctx = Annotated[StorageContext, Depends(context_of)]
StudyKey = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$")]
Uid = Annotated[str, Path(max_length=64, description="a DICOM UID")]


# ── what a search is kept to ─────────────────────────────────────────────────────────────────────────


def own_sites(caller: Principal) -> list[Where]:
    """The condition that keeps a search to the caller's sites."""
    if EVERY_SITE in caller.sites:
        return []
    sites = tuple(sorted(caller.sites))
    return [Eq("site", sites[0]) if len(sites) == 1 else In("site", sites)]


def visible_to(caller: Principal) -> list[Where]:
    """The condition on studies that keeps a search to what the caller may look at."""
    bound = [Has("readers", reader(role, caller.subject))] if (role := bound_as(caller)) else []
    only = [Eq("study_instance_uid", caller.study)] if caller.study else []
    return [*own_sites(caller), *bound, *only]


def bound_as(caller: Principal) -> Role | None:
    """The role in which the caller sees single studies of their sites; None if they see all of them."""
    role = next((role for role in READERS if role in caller.roles), None)
    if role is None:
        raise Forbidden("none of your roles looks at images")
    return None if Relation.OWN_SITE in RIGHTS[Act.LOOK][role] else role


# ── one study ────────────────────────────────────────────────────────────────────────────────────────


async def visible_study(study: str, caller: Reader, context: Ctx) -> Study:
    """The study of this Study Instance UID; `NotFound` if there is none for this caller."""
    look = partial(look_for, study, caller, context)
    if found := await look():
        return found
    await must_not_be_purged(study, caller, context)
    key, now = (caller, study), monotonic()
    if (context.refused.get(key) or 0) < now:
        may_come = bound_as(caller) and caller.study in (None, study)
        if may_come and (found := await awaited(look, context.settings.claim_seconds)):
            return found
        await note_refusal(study, caller, context)
        context.refused.keep(key, monotonic() + SEEN_SECONDS)
    raise NotFound("there is no such study for you here; if you have just claimed it, ask again in a moment")


async def look_for(study: str, caller: Principal, context: StorageContext) -> Study | None:
    found = await context.store.find(Study, [Eq("study_instance_uid", study), *visible_to(caller)], limit=1)
    return found[0] if found else None


async def awaited(look: Callable[[], Awaitable[Study | None]], seconds: float) -> Study | None:
    """What comes within this time: assignment answers a claim before its event is here (ADR 0021)."""
    pause, deadline = FIRST_PAUSE, monotonic() + seconds
    while monotonic() < deadline:
        await asyncio.sleep(pause)
        if found := await look():
            return found
        pause *= GROWTH
    return None


async def must_not_be_purged(study: str, caller: Principal, context: StorageContext) -> None:
    """Raise `Gone` where one of the caller's sites had the study, for those who see all of a site."""
    where = [Eq("study_instance_uid", study), *own_sites(caller)]
    for each in [] if bound_as(caller) else await context.store.find(Keeping, where, limit=1):
        if each.purged:
            raise Gone(f"study {each.study} was purged on {each.purged.at:%Y-%m-%d}; its ledger says by whom and why")


async def note_reading(study: Uid, caller: Reader, context: Ctx) -> None:
    """Have it in the ledger that the caller reads this study, before the first byte; then not again for an hour."""
    key = (caller, study, this_hour(context))
    if context.noted.get(key) is None:
        found = await visible_study(study, caller, context)
        change = partial(related, change=partial(opened, subject=caller.subject))
        if change(found):
            await context.store.change(Study, found.study, change)
        await note(found, "served", caller, context)
        context.noted.keep(key, value=True)


async def note_refusal(study: str, caller: Principal, context: StorageContext) -> None:
    """The same of a study that is there, but not for this caller."""
    for each in await context.store.find(Study, [Eq("study_instance_uid", study)], limit=1):
        await note(each, "refused", caller, context)


async def note(study: Study, kind: Literal["served", "refused"], caller: Principal, context: StorageContext) -> None:
    mark = f"{kind} {caller.subject} {this_hour(context)}"
    made = hop(kind, mark, context.clock(), caller.subject, roles=sorted(caller.roles))
    await record(context.store, study.study, study.site, [made])


def this_hour(context: StorageContext) -> str:
    return moment(context.clock())[: len("2026-03-01T08")]


NOTED = [Depends(note_reading)]  # what a router of pixels and metadata depends on
VisibleStudy = Annotated[Study, Depends(visible_study)]


async def visible_series(study: Uid, series: Uid, caller: Reader, context: Ctx) -> Series:
    """The series of these UIDs, as it was at most `SEEN_SECONDS` ago; `NotFound` if there is none for this caller."""
    key, now = (caller, study, series), monotonic()
    known = context.seen.get(key)
    if known is not None and now < known[0]:
        return known[1]
    parent = await visible_study(study, caller, context)
    found = await context.store.read(Series, series_key(parent.study, series))
    if found is None:
        raise NotFound("this study has no such series")
    context.seen.keep(key, (now + SEEN_SECONDS, found))
    return found


async def series_for(request: Request, study: str, series: str) -> Series | None:
    """The same without the framework's way to it: None for whoever is to hear from there why not."""
    try:
        caller = await admit_as(request, READERS)
        await note_reading(study, caller, request.app.state.context)
        return await visible_series(study, series, caller, request.app.state.context)
    except RadRelayError:
        return None


VisibleSeries = Annotated[Series, Depends(visible_series)]


async def every_series(study: str, context: StorageContext) -> list[Series]:
    """The series of the study of this key."""
    return await context.store.find(Series, [Eq("study", study)], limit=SERIES_LIMIT)
