"""A study's priors, as they are now."""

from __future__ import annotations

from fastapi import APIRouter

from radrelay_shared.events import Prior
from radrelay_shared.ports import Eq
from radrelay_storage.access import Ctx, VisibleStudy
from radrelay_storage.context import StorageContext
from radrelay_storage.domain import Study
from radrelay_storage.priors.ranking import priors_of

router = APIRouter(prefix="/dicom-web", tags=["priors"])
MOST_STUDIES = 200  # of one patient that are looked at, the latest


@router.get("/studies/{study}/priors")
async def priors(study: VisibleStudy, context: Ctx) -> list[Prior]:
    """Earlier studies of the same patient, the one that compares best first, each with the reasons."""
    return list(priors_of(study, await studies_of(context, study.site, study.keys.get("PatientID", ""))))


async def studies_of(context: StorageContext, site: str, patient: str) -> list[Study]:
    """The patient's studies at a site, by pseudonym; none without one."""
    if not patient:
        return []
    where = [Eq("keys.PatientID", patient), Eq("site", site)]
    return await context.store.find(Study, where, sort="received_at", descending=True, limit=MOST_STUDIES)
