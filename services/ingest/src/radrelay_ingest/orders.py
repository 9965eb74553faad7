"""Taking orders: kept as they came, placed, and matched with the studies that are here already."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.fhir import read_order
from radrelay_ingest.domain.orders import Order, Request, place
from radrelay_ingest.matches import orders_numbered, reconsider, remember, studies_for
from radrelay_shared.events import Key
from radrelay_shared.ports import put_once

NUMBERS = ("accession", "placer", "filler")


async def take_order(context: IngestContext, site: str, message: bytes, document: Any) -> Key:
    """Keep a FHIR message and the order in it, durable on return; the same message again changes nothing.

    Raises `Invalid` with the path of the element that is missing or wrong.
    """
    request = read_order(document)
    content = await keep_message(context, site, message, "json")
    return await take(context, site, request, content)


async def keep_message(context: IngestContext, site: str, message: bytes, suffix: str) -> str:
    """Keep a message as it came, durable on return; its SHA-256."""
    content = hashlib.sha256(message).hexdigest()
    await put_once(context.originals, f"messages/{site}/{content}.{suffix}", message)
    return content


async def take(context: IngestContext, site: str, request: Request, content: str) -> Key:
    """Place the order, durable on return, and look for the studies that answer it."""
    if request.planned is None:
        request = request.model_copy(update={"ordered": context.clock().strftime("%Y%m%d%H%M%S+0000")})
    async with context.ordering[site]:
        key = await _key_of(context, site, request)
        jurisdiction = context.site(site).jurisdiction
        placed = Order(order=key, site=site, jurisdiction=jurisdiction, content=content, request=request)
        order = await context.store.change(Order, key, partial(place, placed=placed)) or placed
    for number in order.request.patient.ids:
        await remember(context, site, number, orders=(key,))
    for study in sorted(await studies_for(context, order)):
        await reconsider(context, study)
    return key


async def _key_of(context: IngestContext, site: str, request: Request) -> Key:
    """That of the order which has one of these numbers already, else a new one."""
    for kind in NUMBERS:
        number = getattr(request, kind)
        for known in await orders_numbered(context, site, kind, number.value) if number.value else ():
            if getattr(known.request, kind).means(number) and not _differ(known.request, request):
                return known.order
    kind = next(kind for kind in NUMBERS if getattr(request, kind).value)
    return context.order_key(site, kind, getattr(request, kind))


def _differ(one: Request, other: Request) -> bool:
    """One placer number may stand over several accession numbers, each an order of its own."""
    mine, theirs = one.accession, other.accession
    return bool(mine.value and theirs.value) and not mine.means(theirs)
