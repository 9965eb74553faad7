"""Who may see which studies: a caller's roles open the door, its sites say what is behind it."""

from __future__ import annotations

from time import monotonic
from typing import Annotated

from fastapi import Depends, Path, Request

from radrelay_shared.errors import NotFound, RadRelayError
from radrelay_shared.http import context_of
from radrelay_shared.ports import Eq, In, Where
from radrelay_shared.security import EVERY_SITE, Principal, Role, admit_as, require
from radrelay_storage.context import StorageContext
from radrelay_storage.custody.hops import hop, moment
from radrelay_storage.custody.ledger import record
from radrelay_storage.domain import Series, Study, series_key
from radrelay_storage.lifecycle.keeping import Keeping
from radrelay_storage.problems import Gone

READERS = (Role.RADIOLOGIST, Role.ASSISTANT, Role.REFERRER, Role.MODEL, Role.OPERATOR, Role.SITE)
SEEN_SECONDS = 2.0  # a viewer asks for a series' frames one by one; another process may have stored late ones
SERIES_LIMIT = 10_000  # of one study

Reader = Annotated[Principal, require(*READERS)]
Ctx = Annotated[StorageContext, Depends(context_of)]
StudyKey = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$")]
Uid = Annotated[str, Path(max_length=64, description="a DICOM UID")]


def own_sites(caller: Principal) -> list[Where]:
    """The condition that keeps a search to the caller's sites."""
    if EVERY_SITE in caller.sites:
        return []
    sites = tuple(sorted(caller.sites))
    return [Eq("site", sites[0]) if len(sites) == 1 else In("site", sites)]


def visible_to(caller: Principal) -> list[Where]:
    """The condition on studies and series that keeps a search to what the caller may see."""
    only = [Eq("study_instance_uid", caller.study)] if caller.study else []
    return [*own_sites(caller), *only]


async def visible_study(study: str, caller: Reader, context: Ctx) -> Study:
    """The study of this Study Instance UID; `NotFound` if there is none for this caller."""
    found = await context.store.find(Study, [Eq("study_instance_uid", study), *visible_to(caller)], limit=1)
    if not found:
        await must_not_be_purged(study, caller, context)
        raise NotFound("there is no such study for you here")
    return found[0]


async def must_not_be_purged(study: str, caller: Principal, context: StorageContext) -> None:
    """Raise `Gone` where one of the caller's sites had the study."""
    where = [Eq("study_instance_uid", study), *own_sites(caller)]
    for each in await context.store.find(Keeping, where, limit=1):
        if each.purged:
            raise Gone(f"study {each.study} was purged on {each.purged.at:%Y-%m-%d}; its ledger says by whom and why")


async def note_reading(study: Uid, caller: Reader, context: Ctx) -> None:
    """Have it in the ledger that the caller reads this study, before the first byte; then not again for an hour."""
    now = context.clock()
    key = (caller, study, moment(now)[: len("2026-03-01T08")])
    if context.noted.get(key) is None:
        found = await visible_study(study, caller, context)
        served = hop("served", f"served {caller.subject} {key[2]}", now, caller.subject, roles=sorted(caller.roles))
        await record(context.store, found.study, found.site, [served])
        context.noted.keep(key, value=True)


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
