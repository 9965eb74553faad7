"""How storage follows who stands how to a study, and shares a study's sight with the patient's earlier ones."""

from __future__ import annotations

from functools import partial

from radrelay_shared.envelope import Envelope
from radrelay_shared.events import Event
from radrelay_storage.context import StorageContext
from radrelay_storage.domain import Study, related
from radrelay_storage.priors.api import studies_of
from radrelay_storage.priors.ranking import is_prior
from radrelay_storage.relations import FOLLOWED, Relations


async def follow(envelope: Envelope[Event], context: StorageContext) -> None:
    """Do what the event's row says; a study that is not here any more has nothing to see."""
    event = envelope.data

    def change(relations: Relations) -> Relations:
        return FOLLOWED[type(event)](relations, envelope)

    study = await context.store.change(Study, event.study, partial(related, change=change), because=envelope)
    if study:
        await share(study, context)


async def share(study: Study, context: StorageContext) -> None:
    """Let whoever sees a study see its priors, and whoever sees a later one see it as their prior.

    Both sides write first and look for the other then, so that of two that come at once one finds the other.
    """
    for other in await studies_of(context, study.site, study.keys.get("PatientID", "")):
        for prior, later in ((other, study), (study, other)):
            seen = partial(through, later=later)
            if is_prior(later, prior) and related(prior, seen):
                await context.store.change(Study, prior.study, partial(related, change=seen))


def through(relations: Relations, later: Study) -> Relations:
    return relations.through(later.study, later.relations.sight)
