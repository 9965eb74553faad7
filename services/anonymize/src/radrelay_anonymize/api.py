"""The vault: identity for those who deliver it, every access written down; and what waits for a person."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain.cases import Case
from radrelay_anonymize.domain.identity import unseal
from radrelay_shared.audit import record, records
from radrelay_shared.errors import NotFound
from radrelay_shared.http import context_of
from radrelay_shared.ports import Eq
from radrelay_shared.security import Principal, Role, require

router = APIRouter(prefix="/vault", tags=["vault"])
Ctx = Annotated[AnonymizeContext, Depends(context_of)]
StudyKey = Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9-]+$")]


class Request(BaseModel):
    """Whose identity is needed, and what for."""

    model_config = ConfigDict(extra="forbid")
    study: StudyKey
    purpose: Literal["delivery"]


@router.post("/reidentify")
async def reidentify(
    request: Request, caller: Annotated[Principal, require(Role.SERVICE)], context: Ctx
) -> dict[str, Any]:
    """The identity of a study, for a service that delivers to the hospital which owns the patient."""
    case = await context.store.read(Case, request.study)
    if case is None:
        raise NotFound("the vault does not know this study")
    caller.must_see(case.site, "study of this key")
    await record(context.store, caller, "reidentify", request.study, request.purpose)
    identity = unseal(context.vault_key, case.study, case.sealed)
    return {"study": case.study, "site": case.site, **identity.model_dump()}


@router.get("/audit")
async def audit(
    caller: Annotated[Principal, require(Role.AUDITOR)],
    context: Ctx,
    study: Annotated[str, Query(max_length=64, pattern=r"^[a-z0-9-]+$")],
) -> list[dict[str, Any]]:
    """Who asked for a study's identity, when and what for."""
    case = await context.store.read(Case, study)
    caller.must_see(case.site if case else "", "study of this key")
    return [each.model_dump(mode="json") for each in await records(context.store, study)]


@router.get("/quarantine")
async def quarantine(
    caller: Annotated[Principal, require(Role.ASSISTANT, Role.OPERATOR)],
    context: Ctx,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[dict[str, Any]]:
    """Studies of which something waits for a person, with the reasons; the instances lie among the originals."""
    held = await context.store.find(Case, (Eq("held", True),), limit=limit)
    return [
        {"study": case.study, "site": case.site, "batches": [each.model_dump() for each in case.batches]}
        for case in held
        if caller.sees(case.site)
    ]
