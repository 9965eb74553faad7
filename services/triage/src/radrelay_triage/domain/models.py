"""Which models are asked to look at which studies, as a table: every row that fits asks its model, once."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from radrelay_shared.aggregate import Decision
from radrelay_shared.events import ModelAsked
from radrelay_triage.domain.contracts import EVERY_SITE
from radrelay_triage.domain.studies import Images, Study


class Asking(BaseModel):
    """One row: this model looks at studies like these. What is not named may be anything."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str  # the subject of its tokens; `key:` and the id of its API key
    site: str = EVERY_SITE
    modality: str | None = None
    body_part: str | None = None

    def fits(self, site: str, images: Images) -> bool:
        return (
            self.site in (EVERY_SITE, site)
            and (self.modality is None or self.modality in images.modalities)
            and (self.body_part is None or self.body_part in images.body_parts)
        )


def asking(decision: Decision[Study], rows: Sequence[Asking]) -> Decision[Study]:
    """The decision, and an event for each model that is asked for the first time."""
    study, images, triage = decision.state, decision.state.images, decision.state.triage
    if images is None or triage is None:
        return decision
    models = dict.fromkeys(row.model for row in rows if row.fits(study.site, images) and row.model not in study.asked)
    about = {"site": study.site, "study": study.study, "priority": triage.priority}
    events = [ModelAsked(**about, study_instance_uid=images.study_instance_uid, model=model) for model in models]
    return Decision(study.model_copy(update={"asked": (*study.asked, *models)}), (*decision.events, *events))
