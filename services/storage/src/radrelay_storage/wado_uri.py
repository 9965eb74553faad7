"""WADO-URI (PS3.18 §9): one instance, or a picture of it, for viewers from before WADO-RS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from radrelay_storage.access import Ctx, Reader, note_reading, visible_series
from radrelay_storage.negotiation import DICOM
from radrelay_storage.pictures import picture
from radrelay_storage.problems import BadQuery, NotAcceptable
from radrelay_storage.rendering import MOST_PIXELS, Look, Viewport, Window
from radrelay_storage.retrieve import send_instances

router = APIRouter(prefix="/dicom-web", tags=["WADO-URI"])

Uid = Annotated[str, Query(max_length=64)]
Side = Annotated[int | None, Query(ge=1, le=MOST_PIXELS)]


@dataclass(frozen=True, slots=True)
class Parameters:
    """PS3.18 Tables 9.4.1-1 and 9.5.1-1; names are those of the URL."""

    requestType: str  # noqa: N815
    studyUID: Uid  # noqa: N815
    seriesUID: Uid  # noqa: N815
    objectUID: Uid  # noqa: N815
    contentType: Annotated[str, Query(max_length=256)] = "image/jpeg"  # noqa: N815
    transferSyntax: Annotated[str | None, Query(max_length=64)] = None  # noqa: N815
    frameNumber: Annotated[int, Query(ge=1)] = 1  # noqa: N815
    imageQuality: Annotated[int, Query(ge=1, le=100)] = 90  # noqa: N815
    windowCenter: float | None = None  # noqa: N815
    windowWidth: Annotated[float | None, Query(gt=0)] = None  # noqa: N815
    rows: Side = None
    columns: Side = None

    def look(self, media_type: str) -> Look:
        window = None
        if self.windowCenter is not None and self.windowWidth is not None:
            window = Window(self.windowCenter, self.windowWidth)
        viewport = None
        if self.rows or self.columns:
            viewport = Viewport(self.columns or MOST_PIXELS, self.rows or MOST_PIXELS)
        return Look(media_type, window, viewport, self.imageQuality)


@router.get("/wado")
async def wado(request: Request, wanted: Annotated[Parameters, Depends()], caller: Reader, context: Ctx) -> Response:
    """One instance as `application/dicom`, or a frame of it as a picture."""
    if wanted.requestType != "WADO":
        raise BadQuery("requestType is WADO")
    await note_reading(wanted.studyUID, caller, context)
    series = await visible_series(wanted.studyUID, wanted.seriesUID, caller, context)
    instance = await context.shelf.instance(series, wanted.objectUID)
    for media_type in (each.split(";")[0].strip() for each in wanted.contentType.split(",")):
        if media_type == DICOM:
            syntax = f"; transfer-syntax={wanted.transferSyntax}" if wanted.transferSyntax else ""
            return await send_instances([instance], DICOM + syntax, request, context)
        if media_type in ("image/jpeg", "image/png"):
            return await picture(instance, wanted.frameNumber, wanted.look(media_type), request, context)
    raise NotAcceptable("contentType is application/dicom, image/jpeg or image/png")
