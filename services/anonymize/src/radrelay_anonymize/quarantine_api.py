"""What waits for a person: an assistant looks, and releases or rejects; each look and decision is written down."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from radrelay_anonymize.callers import Assistant, Ctx, Study, case_for
from radrelay_anonymize.domain.cases import Batch, Case, Held, Verdict
from radrelay_anonymize.domain.pieces import Output, in_pieces
from radrelay_anonymize.quarantine import decide, original
from radrelay_shared.aggregate import Input
from radrelay_shared.audit import record
from radrelay_shared.ports import Eq, In, Where
from radrelay_shared.security import EVERY_SITE, Principal, Role, require

router = APIRouter(prefix="/vault/quarantine", tags=["quarantine"])

PLACE = r"^[1-9]\d{0,6}\.[1-9]\d{0,6}\.[1-9]\d{0,6}$"  # batch, series, place in it
Place = Annotated[str, Field(pattern=PLACE)]
VERDICTS: dict[str, Verdict] = {"release": "released", "reject": "rejected"}


class Wish(Input):
    """What is to become of these instances."""

    verdict: Literal["release", "reject"]
    instances: Annotated[list[Place], Field(min_length=1, max_length=10_000)]


@router.get("")
async def quarantine(
    caller: Annotated[Principal, require(Role.ASSISTANT, Role.OPERATOR)],
    context: Ctx,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[dict[str, Any]]:
    """Studies of which something waits for a person, with the reasons; the instances lie among the originals."""
    held: list[Where] = [Eq("held", True)]
    if EVERY_SITE not in caller.sites:
        held.append(In("site", tuple(caller.sites)))
    return [_summary(case) for case in await context.store.find(Case, held, limit=limit)]


@router.get("/{study}")
async def of_study(study: Study, caller: Assistant, context: Ctx) -> dict[str, Any]:
    """Every instance of the study that was held, why, and what was decided."""
    return _details(await case_for(caller, study, context))


@router.get("/{study}/{place}", response_class=Response)
async def look(study: Study, place: Annotated[str, Path(pattern=PLACE)], caller: Assistant, context: Ctx) -> Response:
    """A held instance as it was received, identity and all."""
    case = await case_for(caller, study, context)
    await record(context.store, caller, "look", case.study, f"quarantine {place}")
    found = await original(context, case, *_numbers(place))
    headers = {"Cache-Control": "no-store", "Content-Length": str(len(found))}
    return StreamingResponse(in_pieces(Output(b"", memoryview(found))), media_type="application/dicom", headers=headers)


@router.post("/{study}")
async def judge(study: Study, wish: Wish, caller: Assistant, context: Ctx) -> dict[str, Any]:
    """Release instances, if a copy can be made that holds no identity but by chance, or reject them."""
    case = await case_for(caller, study, context)
    await record(context.store, caller, wish.verdict, case.study, f"quarantine {' '.join(wish.instances)}"[:1000])
    places: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for batch, series, place in map(_numbers, wish.instances):
        places[batch].add((series, place))
    for batch, chosen in sorted(places.items()):
        case = await decide(context, case, batch, frozenset(chosen), VERDICTS[wish.verdict])
    return _details(case)


def _numbers(place: str) -> tuple[int, int, int]:
    batch, series, number = re.findall(r"\d+", place)
    return int(batch), int(series), int(number)


def _summary(case: Case) -> dict[str, Any]:
    waiting = [each for batch in case.batches for each in batch.waiting]
    reasons = sorted({reason for each in waiting for reason in each.reasons})
    return {"study": case.study, "site": case.site, "waiting": len(waiting), "reasons": reasons}


def _details(case: Case) -> dict[str, Any]:
    instances = [_instance(batch, each) for batch in case.batches for each in batch.held]
    return {"study": case.study, "site": case.site, "instances": instances}


def _instance(batch: Batch, held: Held) -> dict[str, Any]:
    place = f"{batch.batch}.{held.series}.{held.place}"
    return {"instance": place, "reasons": held.reasons, "verdict": held.verdict}
