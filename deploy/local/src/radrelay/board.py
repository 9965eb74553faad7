"""The board: which study is at which stage, from the events alone. Part of the all-in-one, not of the pipeline."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.envelope import Envelope
from radrelay_shared.events import EVENTS, Event, OrderReceived
from radrelay_shared.http import context_of
from radrelay_shared.ports import Index
from radrelay_shared.security import Principal, Role, require
from radrelay_shared.service import Context, Service


class Stage(BaseModel):
    model_config = ConfigDict(frozen=True)
    name: str  # "study.received"
    at: str


class Row(Aggregate):
    """One study's way so far: the first time of each event."""

    collection: ClassVar[str] = "board"
    indexes: ClassVar[tuple[Index, ...]] = (Index("board", ("first",)),)

    study: str
    site: str
    priority: str
    first: str
    stages: tuple[Stage, ...] = ()


async def on_event(envelope: Envelope[Event], context: Context[Any]) -> None:
    """Note the time; a late or repeated event never moves a stage."""
    if envelope.data.study:
        await context.store.change(Row, envelope.data.study, partial(noted, envelope=envelope), because=envelope)


def noted(row: Row | None, envelope: Envelope[Event]) -> Decision[Row]:
    at, stage = envelope.time.isoformat(), stage_of(envelope.type)
    row = row or Row(study=envelope.data.study, site=envelope.site, priority="", first=at)
    known = stage in {each.name for each in row.stages}
    stages = row.stages if known else (*row.stages, Stage(name=stage, at=at))
    return Decision(row.model_copy(update={"stages": stages, "priority": envelope.data.priority}))


def stage_of(event_type: str) -> str:
    """`radrelay.study.received.v1` → `study.received`."""
    return ".".join(event_type.split(".")[1:-1])


router = APIRouter(tags=["operations"])
Viewer = Annotated[Principal, require(Role.OPERATOR, Role.ASSISTANT, Role.AUDITOR)]


@router.get("/status")
async def status(
    caller: Viewer,
    context: Annotated[Context[Any], Depends(context_of)],
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> list[dict[str, Any]]:
    """The newest studies and their stages, by key."""
    rows = await context.store.find(Row, sort="first", descending=True, limit=limit)
    return [
        row.model_dump(exclude={"stages"}) | {"stages": {stage.name: stage.at for stage in row.stages}}
        for row in rows
        if caller.sees(row.site)
    ]


BOARD = Service(
    name="board",
    handlers={event: on_event for event in EVENTS.values() if event is not OrderReceived},
    emits=(),
    paths=("/status",),
    aggregates=(Row,),
    routers=(router,),
)
