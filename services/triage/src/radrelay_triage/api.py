from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel

from radrelay_shared.errors import NotFound
from radrelay_shared.events import Priority
from radrelay_shared.http import context_of
from radrelay_shared.ports import In, Range, Where
from radrelay_shared.security import EVERY_SITE, Principal, Role, require
from radrelay_triage.context import TriageContext
from radrelay_triage.domain.studies import Clock, Study

router = APIRouter(prefix="/triage", tags=["triage"])
Caller = Annotated[Principal, require(Role.ASSISTANT, Role.OPERATOR, Role.RADIOLOGIST)]
Here = Annotated[TriageContext, Depends(context_of)]


class TriageView(BaseModel):
    """A study's decision, its reasons, and how its clock stands."""

    study: str
    site: str
    priority: Priority
    subspecialty: str
    reasons: tuple[str, ...]
    completed_at: AwareDatetime
    due_at: AwareDatetime
    clock: Clock
    signed_at: AwareDatetime | None


@router.get("/studies/{study}")
async def read_study(study: str, caller: Caller, context: Here) -> TriageView:
    """One study's decision, why, and its clock."""
    found = await context.store.read(Study, study)
    if found is None or found.triage is None:
        raise NotFound("there is no study for you here")
    caller.must_see(found.site, "study")
    return view(found)


@router.get("/studies")
async def list_studies(
    caller: Caller,
    context: Here,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> list[TriageView]:
    """The caller's triaged studies, those due first at the top."""
    where: list[Where] = [Range("triage.due_at", low="")]  # any text: those that are triaged
    if EVERY_SITE not in caller.sites:
        where.append(In("site", tuple(sorted(caller.sites))))
    found = await context.store.find(Study, where, sort="triage.due_at", limit=limit, offset=offset)
    return [view(study) for study in found]


def view(study: Study) -> TriageView:
    known: dict[str, Any] = {}
    for part in (study, study.images, study.triage):
        known |= part.model_dump() if part else {}
    return TriageView(**known, clock=study.clock)
