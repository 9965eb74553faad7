"""What enters over HTTP: sites, studies (STOW-RS), manifests; and what an operator may look at."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse

from radrelay_ingest.callers import ActingSite, IngestDep, Viewer
from radrelay_ingest.context import IngestContext, Sender
from radrelay_ingest.domain.sites import REGISTER, Site, SiteName, Sites, register
from radrelay_ingest.domain.studies import Study
from radrelay_ingest.manifests import take_manifest
from radrelay_ingest.stow import Store
from radrelay_shared.aggregate import current_traceparent
from radrelay_shared.dicom.stow import BODY
from radrelay_shared.errors import NotFound
from radrelay_shared.events import Key
from radrelay_shared.ports import In
from radrelay_shared.security import EVERY_SITE, Operator

router = APIRouter(prefix="/ingest", tags=["ingest"])

StudyKey = Annotated[str, Path(pattern=r"^st-[a-z2-7]{1,64}$")]
StudyUid = Annotated[str, Path(pattern=r"^[0-9.]{1,64}$")]
JOSE = {"requestBody": {"required": True, "content": {"application/jose": {"schema": {"type": "string"}}}}}


@router.put("/sites/{name}")
async def put_site(name: SiteName, site: Site, context: IngestDep, _: Operator) -> Site:
    """Register a site, or change what is known of it; an AE title names one site only."""
    await context.store.change(Sites, REGISTER, partial(register, name=name, site=site))
    await context.refresh_sites()
    return site


@router.get("/sites")
async def get_sites(context: IngestDep, _: Operator) -> dict[str, Site]:
    """All registered sites."""
    return (await context.refresh_sites()).sites


@router.post("/dicom-web/studies", openapi_extra=BODY)
async def store_instances(request: Request, context: IngestDep, site: ActingSite) -> JSONResponse:
    """Store instances (PS3.18 §10.5): 200 if all are durable, 202 if some failed, 409 if none was stored."""
    return await _store(request, context, site, None)


@router.post("/dicom-web/studies/{study_instance_uid}", openapi_extra=BODY)
async def store_instances_of_study(
    request: Request, context: IngestDep, site: ActingSite, study_instance_uid: StudyUid
) -> JSONResponse:
    """As above; instances of other studies fail."""
    return await _store(request, context, site, study_instance_uid)


async def _store(request: Request, context: IngestContext, site: str, study_instance_uid: str | None) -> JSONResponse:
    store = Store(context, Sender(site, current_traceparent()), study_instance_uid)
    outcome = await store.run(aiter(request.stream()), request.headers.get("content-type", ""))
    return JSONResponse(outcome.dicom_json(), outcome.status, media_type="application/dicom+json")


@router.post("/manifests", status_code=202, openapi_extra=JOSE)
async def post_manifest(request: Request, context: IngestDep, site: ActingSite) -> dict[str, Any]:
    """Say what a study consists of, in a JWS (RFC 7515, EdDSA) by a key of the site's: it is whole once all is here."""
    study, manifest = await take_manifest(context, site, aiter(request.stream()))
    return {"study": study, "instances": manifest.count}


@router.get("/studies")
async def list_studies(
    context: IngestDep, caller: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[dict[str, Any]]:
    """Studies of the caller's sites: those still coming in, then those sealed last."""
    where = [] if caller.sees(EVERY_SITE) else [In("site", tuple(sorted(caller.sites)))]
    under_way = await asyncio.to_thread(_under_way, context)  # first: what is sealed meanwhile would be in neither
    sealed = await context.store.find(Study, where, sort="received_at", descending=True, limit=limit)
    fresh = [_fresh(study, site) for study, site in under_way.items() if caller.sees(site)]
    known = {study.study for study in sealed}
    return [*(each for each in fresh if each["study"] not in known), *(_known(each, under_way) for each in sealed)][
        :limit
    ]


@router.get("/studies/{study}")
async def get_study(study: StudyKey, context: IngestDep, caller: Viewer) -> dict[str, Any]:
    """One study as far as it has come; without identity."""
    under_way = await asyncio.to_thread(_under_way, context)
    found = await context.store.read(Study, study)
    site = found.site if found else under_way.get(study)
    if site is None:
        raise NotFound("there is no study for you here")
    caller.must_see(site, "study")
    return _known(found, under_way) if found else _fresh(study, site)


def _under_way(context: IngestContext) -> dict[Key, str]:
    """The studies in the spool, and whose they are."""
    found = {}
    for study in sorted(context.spool.waiting().keys() | context.spool.claimed()):  # in the order in which they move
        with suppress(FileNotFoundError):  # it was sealed this moment
            found[study] = context.spool.arrival(study).site
    return found


def _fresh(study: Key, site: str) -> dict[str, Any]:
    return {
        "study": study,
        "site": site,
        "state": "receiving",
        "batches": 0,
        "instances": 0,
        "repeats": 0,
        "conflicts": 0,
        "order": None,
        "notes": [],
    }


def _known(study: Study, under_way: dict[Key, str]) -> dict[str, Any]:
    return {
        "study": study.study,
        "site": study.site,
        "state": "receiving" if study.study in under_way else "sealed",
        "batches": len(study.batches),
        "instances": sum(batch.instances for batch in study.batches),
        "repeats": study.repeats,
        "conflicts": len(study.conflicts),
        "order": study.order,
        "notes": list(study.notes),
    }
