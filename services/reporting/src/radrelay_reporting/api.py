"""Reports over HTTP, for the radiologist who holds the claim; reading them, for everyone who sees the site."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from radrelay_reporting import domain
from radrelay_reporting.domain import Addendum, Case, Draft, Publication, Status, Version, expected, found
from radrelay_reporting.fhir import diagnostic_report, encoded
from radrelay_shared.http import context_of
from radrelay_shared.security import Principal, Role, require
from radrelay_shared.service import Context

router = APIRouter(prefix="/reports", tags=["reports"])

Radiologist = Annotated[Principal, require(Role.RADIOLOGIST)]
Reader = Annotated[Principal, require(Role.RADIOLOGIST, Role.ASSISTANT, Role.OPERATOR, Role.AUDITOR)]
Ctx = Annotated[Context[Any], Depends(context_of)]
StudyKey = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9-]+$")]


@router.get("/{study}")
async def report(study: StudyKey, caller: Reader, context: Ctx) -> dict[str, Any]:
    """The report's draft, versions and deliveries; a draft only for its writer."""
    case = await visible(study, caller, context)
    hidden = {"assignment_sequence"} | (set() if case.holder == caller.subject else {"draft"})
    return case.model_dump(mode="json", exclude=hidden)


@router.put("/{study}")
async def draft(study: StudyKey, text: Draft, caller: Radiologist, context: Ctx) -> dict[str, str]:
    """Save what is written so far; nobody else sees it. 503 until the claim, just made, is known here."""
    await visible(study, caller, context, expected)
    await context.store.change(Case, study, partial(domain.drafted, radiologist=caller.subject, draft=text))
    return {"study": study, "status": "draft"}


@router.post("/{study}/preliminary")
async def preliminary(study: StudyKey, caller: Radiologist, context: Ctx) -> dict[str, Any]:
    """Publish the draft as a first answer."""
    case = await visible(study, caller, context)
    return await publish(case, domain.next_version(case, caller.subject, Status.PRELIMINARY, context.clock()), context)


@router.post("/{study}/sign")
async def sign(study: StudyKey, caller: Radiologist, context: Ctx) -> dict[str, Any]:
    """Publish the draft as the final report. It can only be added to from then on."""
    case = await visible(study, caller, context)
    if case.signed and case.latest and case.latest.radiologist == caller.subject:
        return receipt(case.published[-1], study)
    return await publish(case, domain.next_version(case, caller.subject, Status.FINAL, context.clock()), context)


@router.post("/{study}/addendum")
async def addendum(study: StudyKey, text: Addendum, caller: Radiologist, context: Ctx) -> dict[str, Any]:
    """Add to a signed report."""
    case = await visible(study, caller, context)
    return await publish(case, domain.next_addendum(case, caller.subject, text, context.clock()), context)


async def visible(study: str, caller: Principal, context: Ctx, there: Callable[[Case | None], Case] = found) -> Case:
    """The case, if the caller sees its site; otherwise as if it were not there."""
    case = there(await context.store.read(Case, study))
    caller.must_see(case.site, "study of this key")
    return case


async def publish(case: Case, version: Version, context: Context[Any]) -> dict[str, Any]:
    """Store the content first, under a key that names its hash, then publish in one atomic write."""
    content = encoded(diagnostic_report(case, version))
    digest = hashlib.sha256(content).hexdigest()
    key = f"reports/{case.study}/{version.number:04d}-{digest[:16]}.json"
    await context.blobs.put(key, content)
    publication = Publication(version=version, content=key, sha256=digest)
    await context.store.change(Case, case.study, partial(domain.publish, publication=publication))
    return receipt(publication, case.study)


def receipt(publication: Publication, study: str) -> dict[str, Any]:
    version = publication.version
    return {
        "study": study,
        "report": domain.report_key(study),
        "version": version.number,
        "status": version.status,
        "issued": version.issued,
    }
