"""The vault's routes: identity for those who deliver it, the way back for results, purging; all of it written down."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from radrelay_anonymize.callers import STUDY_KEY, Auditor, Ctx, Service, Study, case_for
from radrelay_anonymize.domain.cases import Case, purge_wished
from radrelay_anonymize.results import restored_result
from radrelay_anonymize.vault import cases_of_patient, current_identity, left_under, purge
from radrelay_shared.aggregate import Input
from radrelay_shared.audit import record, records
from radrelay_shared.bodies import collected
from radrelay_shared.errors import Refused
from radrelay_shared.security import Operator

router = APIRouter(prefix="/vault", tags=["vault"])
MOST_RESULT = 256 << 20  # bytes of a result that comes back
StudyKey = Annotated[str, Field(pattern=STUDY_KEY)]
DICOM = {
    "requestBody": {
        "required": True,
        "content": {"application/dicom": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class Look(Input):
    """Whose identity is needed, and what for."""

    study: StudyKey
    purpose: Literal["delivery"]


class Purge(Input):
    """What is to be forgotten: a study, or all that its patient has at this site."""

    study: StudyKey
    scope: Literal["study", "patient"]


@router.post("/reidentify")
async def reidentify(look: Look, caller: Service, context: Ctx, response: Response) -> dict[str, Any]:
    """The identity of a study, for a service that delivers to the hospital which owns the patient."""
    case = await case_for(caller, look.study, context)
    await record(context.store, caller, "reidentify", case.study, look.purpose)
    identity = await current_identity(context, case)
    response.headers["Cache-Control"] = "no-store"
    return {"study": case.study, "site": case.site, **identity.model_dump()}


@router.post("/results/{study}", openapi_extra=DICOM, response_class=Response)
async def reidentify_result(study: Study, request: Request, caller: Service, context: Ctx) -> Response:
    """A result that was made from the study's copies (SR, SEG, presentation state), under the patient's own name."""
    case = await case_for(caller, study, context)
    await record(context.store, caller, "reidentify-result", case.study, "delivery")
    found = await restored_result(context, case, await collected(aiter(request.stream()), MOST_RESULT))
    return Response(found, media_type="application/dicom", headers={"Cache-Control": "no-store"})


@router.post("/purge")
async def forget(wish: Purge, caller: Operator, context: Ctx, response: Response) -> dict[str, list[str]]:
    """Destroy the way back for good, once a second operator asks for the same: 202 for the first, 200 for the second.

    Nobody can tell any more whose the copies are, or deliver by name.
    """
    case = await case_for(caller, wish.study, context)
    cases = [case] if wish.scope == "study" else await cases_of_patient(context, case)
    for each in cases:
        if each.on_legal_hold:
            raise Refused(f"{each.study} is under legal hold; nothing was purged: lift the hold first, or ask for less")
    wished = [each for each in cases if each.purge_wished_by in ("", caller.subject) and not each.purged]
    for each in wished or cases:
        await record(context.store, caller, "wish-purge" if wished else "purge", each.study, wish.scope)
        if wished:
            await context.store.change(Case, each.study, partial(purge_wished, who=caller.subject))
        else:
            await purge(context, each.study)
    if wished:
        response.status_code = 202
    return {"wished" if wished else "purged": [each.study for each in wished or cases]}


@router.get("/keys")
async def keys(_: Operator, context: Ctx) -> dict[str, Any]:
    """Which master key seals, and how many entries the others still open: one that opens none can be taken away."""
    left = [left_under(context, key) for key in context.keys.retired]
    return {
        "current": context.keys.current,
        "left": dict(zip(context.keys.retired, await asyncio.gather(*left), strict=True)),
    }


@router.get("/audit")
async def audit(caller: Auditor, context: Ctx, study: Annotated[str, Query(pattern=STUDY_KEY)]) -> list[dict[str, Any]]:
    """Who asked for a study's identity or decided about it, when and what for."""
    case = await case_for(caller, study, context)
    return [each.model_dump(mode="json") for each in await records(context.store, case.study)]
