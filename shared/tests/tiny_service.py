"""The smallest service, for a process of its own: counts orders, and notes what its handlers do in a file.

    python tiny_service.py FOLDER     settings come from RADRELAY_… variables

It is called triage, because that is who reads orders. While `FOLDER/wait` exists, handlers and requests wait;
while `FOLDER/mute` exists, nobody listens for orders.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends

from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.envelope import Envelope
from radrelay_shared.events import OrderReceived, ReportDelivered
from radrelay_shared.http import context_of
from radrelay_shared.security import Operator
from radrelay_shared.service import Context, Service, run

FOLDER = Path(sys.argv[1])
ORDER = OrderReceived(site="clinic-a", order="or-1", jurisdiction="US-MT")
router = APIRouter()


class Tally(Aggregate):
    collection: ClassVar[str] = "tallies"
    orders: int


def note(text: str) -> None:
    with (FOLDER / "notes").open("a") as notes:
        notes.write(f"{text}\n")


def counted(tally: Tally | None) -> Decision[Tally]:
    return Decision(Tally(orders=1 + (tally.orders if tally else 0)), [ORDER])


async def on_order_received(envelope: Envelope[OrderReceived], _: Context[Any]) -> None:
    note(f"began {envelope.data.order}")
    while (FOLDER / "wait").exists():
        await asyncio.sleep(0.02)
    note(f"handled {envelope.data.order}")


async def on_report_delivered(_: Envelope[ReportDelivered], __: Context[Any]) -> None:
    """A handler for a second type, so that the process listens even when muted."""


@router.post("/tiny/orders")
async def place(_: Operator, context: Annotated[Context[Any], Depends(context_of)]) -> dict[str, int]:
    """Durable before it is answered."""
    tally = await context.store.change(Tally, "all", counted)
    return {"orders": tally.orders if tally else 0}


@router.post("/tiny/slow")
async def slow(_: Operator, context: Annotated[Context[Any], Depends(context_of)]) -> dict[str, int]:
    """A request that is still under way when the process is told to stop."""
    note("began a request")
    while (FOLDER / "wait").exists():
        await asyncio.sleep(0.02)
    await context.store.change(Tally, "slow", lambda _: Decision(Tally(orders=1)))
    return {"done": 1}


LISTENING: dict[Any, Any] = {ReportDelivered: on_report_delivered}
if not (FOLDER / "mute").exists():
    LISTENING[OrderReceived] = on_order_received

if __name__ == "__main__":
    run(Service("triage", LISTENING, (OrderReceived,), aggregates=(Tally,), routers=(router,)))
