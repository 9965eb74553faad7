"""A study in the vault: its sealed identity, and what became of each batch."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.events import Event, StudyAnonymized, StudyFacts, StudyQuarantined, StudyReceived
from radrelay_shared.ports import Index

MOST_REASONS = 20  # in one event


class Batch(BaseModel):
    """What de-identifying one batch came to. `quarantined` counts instances; they stay among the originals."""

    model_config = ConfigDict(frozen=True)

    batch: int
    released: int = 0
    quarantined: int = 0
    reasons: tuple[str, ...] = ()
    manifest: str | None = None
    study_instance_uid: str = ""  # de-identified
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()


class Case(Aggregate):
    collection: ClassVar[str] = "cases"
    indexes: ClassVar[tuple[Index, ...]] = (Index("cases", ("site",)), Index("cases", ("held",)))

    study: str
    site: str
    sealed: str  # see `identity.seal`
    held: bool = False  # something of it is in quarantine
    batches: tuple[Batch, ...] = ()


def finished(case: Case | None, event: StudyReceived, batch: Batch, sealed: str) -> Decision[Case]:
    """Keep the first batch's identity, and tell what may go on and what may not."""
    case = case or Case(study=event.study, site=event.site, sealed=sealed)
    others = tuple(each for each in case.batches if each.batch != batch.batch)
    changes = {"batches": (*others, batch), "held": case.held or batch.quarantined > 0}
    return Decision(case.model_copy(update=changes), events_of(event, batch))


def events_of(event: StudyReceived, batch: Batch) -> tuple[Event, ...]:
    facts = event.model_dump(include=set(StudyFacts.model_fields))
    events: list[Event] = []
    if batch.manifest:
        shown = {"study_instance_uid", "modalities", "body_parts", "manifest"}
        details = batch.model_dump(include=shown) | {"instances": batch.released}
        events.append(StudyAnonymized.model_validate(facts | details))
    if batch.quarantined:
        held = {"reasons": batch.reasons[:MOST_REASONS], "instances": batch.quarantined}
        events.append(StudyQuarantined.model_validate(facts | held))
    return tuple(events)
