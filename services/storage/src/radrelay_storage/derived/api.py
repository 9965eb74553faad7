"""STOW-RS (PS3.18 §10.5) of derived objects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Request, Response

from radrelay_shared.dicom.stow import BODY
from radrelay_shared.errors import Full
from radrelay_shared.security import Principal
from radrelay_storage.access import Ctx, VisibleStudy, may
from radrelay_storage.context import StorageContext
from radrelay_storage.derived.receiving import Reception
from radrelay_storage.derived.taking import take
from radrelay_storage.nativexml import native
from radrelay_storage.negotiation import DICOM_XML, JSON_TYPES, single
from radrelay_storage.rights import Act

router = APIRouter(prefix="/dicom-web", tags=["STOW-RS"])

Maker = Annotated[Principal, may(Act.MAKE)]
ANSWERS = (*JSON_TYPES, DICOM_XML)
WAITING_SECONDS = 30


@router.post("/studies", openapi_extra=BODY)
async def store_instances(request: Request, caller: Maker, context: Ctx) -> Response:
    """Store derived objects: 200 if all are stored, 202 if some are not, 409 if none is."""
    return await store(request, caller, None, context)


@router.post("/studies/{study}", openapi_extra=BODY)
async def store_instances_of_study(request: Request, caller: Maker, study: VisibleStudy, context: Ctx) -> Response:
    """As above; objects of other studies fail."""
    return await store(request, caller, study.study_instance_uid, context)


async def store(request: Request, caller: Principal, only: str | None, context: StorageContext) -> Response:
    media_type = single(request.headers.get("accept"), ANSWERS, f"this is answered as {' or '.join(ANSWERS)}")
    async with room(context):
        reception = Reception(context.settings.derived_bytes)
        try:
            await reception.run(aiter(request.stream()), request.headers.get("content-type", ""))
            await take(reception, caller, only, context)
        finally:
            await asyncio.to_thread(reception.close)
    told = reception.outcome.dicom_json(f"{request.base_url}dicom-web/studies")
    content = native(told) if media_type == DICOM_XML else json.dumps(told).encode()
    return Response(content, reception.outcome.status, media_type=media_type)


@asynccontextmanager
async def room(context: StorageContext) -> AsyncIterator[None]:
    """A few requests at a time, so that what waits on this disk is bounded."""
    try:
        async with asyncio.timeout(WAITING_SECONDS):
            await context.receiving.acquire()
    except TimeoutError as error:
        raise Full("too many derived objects come at the same time; send them again in a moment") from error
    try:
        yield
    finally:
        context.receiving.release()
