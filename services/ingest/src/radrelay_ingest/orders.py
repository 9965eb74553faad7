"""Taking orders, and matching them with studies, whichever comes first."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import partial
from typing import Any

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.fhir import read_order
from radrelay_ingest.domain.orders import Order, match, place
from radrelay_ingest.domain.studies import Study, answer
from radrelay_shared.errors import Conflict
from radrelay_shared.events import Key
from radrelay_shared.ports import Eq


async def take_order(context: IngestContext, site: str, message: bytes, document: Any) -> Key:
    """Keep the message and the order in it, durable on return; the same message again changes nothing.

    Raises `Invalid` with the path of the element that is missing or wrong.
    """
    request = read_order(document)
    key = context.order_key(site, request.accession_number)
    content = hashlib.sha256(message).hexdigest()
    with suppress(Conflict):  # it is kept already
        await context.originals.put(f"orders/{key}/{content}.json", message, if_absent=True)
    jurisdiction = context.site(site).jurisdiction
    placed = Order(order=key, site=site, jurisdiction=jurisdiction, content=content, request=request)
    await context.store.change(Order, key, partial(place, placed=placed))
    for study in await context.store.find(Study, [Eq("expects", key)]):
        await match_study(context, key, study.study)
    return key


async def match_study(context: IngestContext, order: Key, study: Key) -> None:
    """Tell the order and the sealed study of each other, if both are there.

    Each side is written before it looks for the other, so whichever is later finds the earlier. Idempotent.
    """
    found = await context.store.change(Order, order, partial(match, study=study))
    if found is not None:
        await context.store.change(Study, study, partial(answer, order=found))
