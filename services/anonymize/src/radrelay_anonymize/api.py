"""The vault: identity for those who deliver it, every access written down; and what waits for a person."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain.cases import Case
from radrelay_anonymize.domain.identity import unseal
from radrelay_shared.audit import record, records
from radrelay_shared.errors import NotFound
from radrelay_shared.http import context_of
from radrelay_shared.ports import Eq, In, Where
from radrelay_shared.security import EVERY_SITE, Principal, Role, require

router = APIRouter(prefix="/vault", tags=["vault"])
Ctx = Annotated[AnonymizeContext, Depends(context_of)]
STUDY_KEY = r"^[a-z0-9-]{1,64}$"


class Request(BaseModel):
    """Whose identity is needed, and what for."""

    model_config = ConfigDict(extra="forbid")
    study: Annotated[str, Field(pattern=STUDY_KEY)]
    purpose: Literal["delivery"]


@router.post("/reidentify")
async def reidentify(
    request: Request, caller: Annotated[Principal, require(Role.SERVICE)], context: Ctx, response: Response
) -> dict[str, Any]:
    """The identity of a study, for a service that delivers to the hospital which owns the patient."""
    case = await case_for(caller, request.study, context)
    if not case.sealed:
        raise NotFound("the vault knows no identity of this study: no instance of it could be read")
    await record(context.store, caller, "reidentify", case.study, request.purpose)
    identity = unseal(context.vault_key, case.study, case.sealed)
    response.headers["Cache-Control"] = "no-store"
    return {"study": case.study, "site": case.site, **identity.model_dump()}


@router.get("/audit")
async def audit(
    caller: Annotated[Principal, require(Role.AUDITOR)],
    context: Ctx,
    study: Annotated[str, Query(pattern=STUDY_KEY)],
) -> list[dict[str, Any]]:
    """Who asked for a study's identity, when and what for."""
    case = await case_for(caller, study, context)
    return [each.model_dump(mode="json") for each in await records(context.store, case.study)]


@router.get("/quarantine")
async def quarantine(
    caller: Annotated[Principal, require(Role.ASSISTANT, Role.OPERATOR)],
    context: Ctx,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[dict[str, Any]]:
    """Studies of which something waits for a person, with the reasons; the instances lie among the originals."""
    held: list[Where] = [Eq("held", True)]
    if EVERY_SITE not in caller.sites:
        held.append(In("site", tuple(caller.sites)))
    cases = await context.store.find(Case, held, limit=limit)
    return [
        {"study": case.study, "site": case.site, "batches": [each.model_dump() for each in case.batches]}
        for case in cases
    ]


async def case_for(caller: Principal, study: str, context: AnonymizeContext) -> Case:
    """The study's case; `NotFound` in the same words whether it is another site's or nobody's."""
    case = await context.store.read(Case, study)
    if case is None or not caller.sees(case.site):
        raise NotFound("there is no study of this key for you here")
    return case
