"""Endpoints of hospitals, and what became of each webhook."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from radrelay_notification import domain, signing
from radrelay_notification.domain import Delivery, Endpoint, NewEndpoint
from radrelay_notification.sender import NotificationContext
from radrelay_shared.aggregate import Decision
from radrelay_shared.errors import NotFound
from radrelay_shared.http import context_of
from radrelay_shared.ports import Eq, In, Where
from radrelay_shared.security import EVERY_SITE, Principal, Role, require

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

Owner = Annotated[Principal, require(Role.OPERATOR, Role.SITE)]
Reader = Annotated[Principal, require(Role.OPERATOR, Role.SITE, Role.ASSISTANT, Role.AUDITOR)]
Ctx = Annotated[NotificationContext, Depends(context_of)]
Id = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9_-]+$")]


@router.post("/endpoints", status_code=201)
async def register(new: NewEndpoint, caller: Owner, context: Ctx) -> dict[str, str]:
    """Register an endpoint; its secret is shown this once."""
    caller.must_see(new.site, "site of this name")
    endpoint = Endpoint(id=f"ep_{secrets.token_hex(8)}", secret=signing.new_secret(), **new.model_dump())
    await context.store.change(Endpoint, endpoint.id, lambda _: Decision(endpoint))
    return {"id": endpoint.id, "site": endpoint.site, "secret": endpoint.secret}


@router.get("/endpoints")
async def endpoints(caller: Owner, context: Ctx) -> list[dict[str, Any]]:
    """The caller's endpoints, without their secrets."""
    found = await context.store.find(Endpoint, of_sites(caller), limit=1000)
    return [endpoint.model_dump(exclude={"secret"}) for endpoint in found]


@router.delete("/endpoints/{endpoint_id}", status_code=204)
async def remove(endpoint_id: Id, caller: Owner, context: Ctx) -> Response:
    """Send nothing there any more; what waits for it is given up and stays listed."""
    endpoint = await context.store.read(Endpoint, endpoint_id)
    caller.must_see(endpoint.site if endpoint else "", "endpoint of this id")
    await context.store.change(Endpoint, endpoint_id, partial(domain.disabled, reason="removed by its owner"))
    return Response(status_code=204)


@router.get("/deliveries")
async def deliveries(
    caller: Reader, context: Ctx, study: Annotated[str | None, Query(max_length=64)] = None
) -> list[dict[str, Any]]:
    """The newest deliveries, of one study or of all the caller sees."""
    where = (*of_sites(caller), *((Eq("study", study),) if study else ()))
    found = await context.store.find(Delivery, where, sort="next_at", descending=True, limit=200)
    return [delivery.model_dump(mode="json") for delivery in found]


@router.get("/deliveries/{delivery_id}")
async def delivery(delivery_id: Id, caller: Reader, context: Ctx) -> dict[str, Any]:
    """One delivery with its attempts."""
    return (await visible(delivery_id, caller, context)).model_dump(mode="json")


@router.post("/deliveries/{delivery_id}/resend", status_code=202)
async def resend(delivery_id: Id, caller: Owner, context: Ctx) -> dict[str, str]:
    """Try again from the start, with the same webhook-id."""
    found = await visible(delivery_id, caller, context)
    await context.store.change(Delivery, found.id, partial(domain.resent, now=context.clock()))
    context.wake.set()
    return {"id": found.id, "state": "pending"}


async def visible(delivery_id: str, caller: Principal, context: Ctx) -> Delivery:
    found = await context.store.read(Delivery, delivery_id)
    if found is None:
        raise NotFound("there is no delivery of this id for you here")
    caller.must_see(found.site, "delivery of this id")
    return found


def of_sites(caller: Principal) -> tuple[Where, ...]:
    return () if EVERY_SITE in caller.sites else (In("site", tuple(sorted(caller.sites))),)
