"""Studies that wait for a person: an assistant looks, and releases, corrects or rejects; all of it is written down."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from radrelay_ingest import reviews
from radrelay_ingest.callers import IngestDep
from radrelay_ingest.domain.orders import Order
from radrelay_ingest.domain.patients import Patient
from radrelay_ingest.domain.studies import Study
from radrelay_ingest.matches import orders_beside
from radrelay_shared.aggregate import Input
from radrelay_shared.audit import record, records
from radrelay_shared.errors import Invalid
from radrelay_shared.security import Principal, Role, require

router = APIRouter(prefix="/ingest/reviews", tags=["reviews"])

Assistant = Annotated[Principal, require(Role.ASSISTANT)]
Auditor = Annotated[Principal, require(Role.AUDITOR)]
StudyKey = Annotated[str, Path(pattern=r"^st-[a-z2-7]{1,64}$")]
OrderKey = Annotated[str, Field(pattern=r"^or-[a-z2-7]{1,64}$")]


class PatientIs(Input):
    """Whose images they really are."""

    id: str = Field(max_length=64)
    issuer: str = Field("", max_length=64)
    name: str = Field("", max_length=194)  # PN
    birth_date: str = Field("", pattern=r"^(\d{8})?$")
    sex: Literal["M", "F", "O", ""] = ""


class Verdict(Input):
    """What is to become of the study, and why: the reason stands in the audit record and names no patient."""

    verdict: Literal["release", "correct", "reject", "dismiss"]
    reason: str = Field(min_length=1, max_length=200)
    order: OrderKey | None = None  # that it answers; `release` without one: the order that it contradicts
    patient: PatientIs | None = None  # `correct` only
    without_order: bool = False  # it answers none


@router.get("")
async def list_reviews(
    context: IngestDep,
    caller: Annotated[Principal, require(Role.ASSISTANT, Role.OPERATOR)],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[dict[str, Any]]:
    """Studies that wait for a person, with the reasons; no identity."""
    return [_summary(study) for study in await reviews.waiting(context, caller, limit)]


@router.get("/{study}")
async def look(study: StudyKey, context: IngestDep, caller: Assistant, response: Response) -> dict[str, Any]:
    """What the images say beside what the orders say, identity and all."""
    found = await reviews.study_for(context, caller, study)
    await record(context.store, caller, "look", study, "review")
    response.headers["Cache-Control"] = "no-store"
    orders = await orders_beside(context, found)
    conflicts = [each.model_dump(mode="json") for each in found.conflicts]
    images = found.subject.model_dump() | {"study_instance_uid": found.study_instance_uid}
    return _summary(found) | {"images": images, "orders": [_beside(order) for order in orders], "conflicts": conflicts}


@router.get("/{study}/audit")
async def audit(study: StudyKey, context: IngestDep, caller: Auditor) -> list[dict[str, Any]]:
    """Who looked at the study or decided about it, when and why."""
    found = await reviews.study_for(context, caller, study)
    return [each.model_dump(mode="json") for each in await records(context.store, found.study)]


@router.post("/{study}")
async def decide(study: StudyKey, verdict: Verdict, context: IngestDep, caller: Assistant) -> dict[str, Any]:
    """Release it, correct whose it is or which order it answers, keep it back for good, or note that all is well."""
    found = await reviews.study_for(context, caller, study)
    order = await _order(context, found, verdict)
    await record(context.store, caller, verdict.verdict, study, verdict.reason)
    match verdict.verdict:
        case "release":
            return _summary(await reviews.release(context, found, order))
        case "correct":
            return _summary(await reviews.correct(context, found, _patient(verdict), order))
        case "reject":
            return _summary(await reviews.reject(context, found))
        case "dismiss":
            return _summary(await reviews.dismiss(context, found))


async def _order(context: IngestDep, study: Study, verdict: Verdict) -> Order | None:
    key = verdict.order or study.against or study.order
    return await reviews.order_for(context, study, key) if key and not verdict.without_order else None


def _patient(verdict: Verdict) -> Patient:
    if verdict.patient is None:
        raise Invalid("patient: say whose images they are")
    said = verdict.patient.model_dump()
    return Patient.model_validate(said | {"ids": [{"value": said["id"], "issuer": said["issuer"]}]})


def _summary(study: Study) -> dict[str, Any]:
    shown = {"study", "site", "received_at", "held", "against", "order", "basis", "notes", "decided"}
    return study.model_dump(mode="json", include=shown) | {"waiting": study.review, "batches": len(study.batches)}


def _beside(order: Order) -> dict[str, Any]:
    shown = {"accession", "placer", "status", "modality", "description", "scheduled", "laterality", "patient"}
    return {"order": order.order, **order.request.model_dump(mode="json", include=shown)}
