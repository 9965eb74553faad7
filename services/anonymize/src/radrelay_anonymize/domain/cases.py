"""A study in the vault: its sealed identity, and what became of each batch."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from radrelay_anonymize.domain.profile import Profile
from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.events import Event, StudyAnonymized, StudyFacts, StudyQuarantined, StudyReceived
from radrelay_shared.ports import Index


class Batch(BaseModel):
    """What de-identifying one batch came to. `quarantined` counts instances; they stay among the originals.

    Reasons, modalities and body parts are bounded by their maker, for they travel in events.
    """

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
    sealed: str = ""  # see `identity.seal`; empty until an instance could be read
    profile: Profile | None = None  # under which all its batches are de-identified
    held: bool = False  # something of it is in quarantine
    batches: tuple[Batch, ...] = ()


def identified(case: Case | None, study: str, site: str, sealed: str, profile: Profile) -> Decision[Case] | None:
    """Keep this identity, unless there is one."""
    if case is not None and case.sealed:
        return None
    case = case or Case(study=study, site=site)
    return Decision(case.model_copy(update={"sealed": sealed, "profile": profile}))


def finished(case: Case | None, event: StudyReceived, batch: Batch) -> Decision[Case]:
    """Note what the batch came to, and tell what may go on and what may not."""
    case = case or Case(study=event.study, site=event.site)
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
        held = {"reasons": batch.reasons, "instances": batch.quarantined}
        events.append(StudyQuarantined.model_validate(facts | held))
    return tuple(events)
