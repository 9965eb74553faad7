"""Who may ask the vault, and of which studies."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path

from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain.cases import Case
from radrelay_shared.errors import NotFound
from radrelay_shared.http import context_of
from radrelay_shared.security import Principal, Role, require

Ctx = Annotated[AnonymizeContext, Depends(context_of)]
Service = Annotated[Principal, require(Role.SERVICE)]
Assistant = Annotated[Principal, require(Role.ASSISTANT)]
Auditor = Annotated[Principal, require(Role.AUDITOR)]
STUDY_KEY = r"^[a-z0-9-]{1,64}$"
Study = Annotated[str, Path(pattern=STUDY_KEY)]


async def case_for(caller: Principal, study: str, context: AnonymizeContext) -> Case:
    """The study's case; `NotFound` in the same words whether it is another site's or nobody's."""
    case = await context.store.read(Case, study)
    if case is None or not caller.sees(case.site):
        raise NotFound("there is no study of this key for you here")
    return case
