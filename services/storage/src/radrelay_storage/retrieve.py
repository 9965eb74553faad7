"""WADO-RS (PS3.18 §10.4): studies, series, instances, metadata, frames and pictures, as they are stored."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from radrelay_shared.errors import NotFound
from radrelay_storage.access import Ctx, Uid, VisibleSeries, VisibleStudy, every_series
from radrelay_storage.context import StorageContext
from radrelay_storage.domain import Series
from radrelay_storage.frames import Frame
from radrelay_storage.multipart import Part, multipart_response
from radrelay_storage.negotiation import DICOM, check_instances, frame_form, json_type, rendered_type
from radrelay_storage.problems import BadQuery
from radrelay_storage.rendering import parse_window, render
from radrelay_storage.shelf import Located, Shelf, pieces

router = APIRouter(prefix="/dicom-web/studies/{study}", tags=["WADO-RS"])

SERIES = "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"
FRAMES = INSTANCE + "/frames/{frames}"


async def visible_instance(instance: Uid, series: VisibleSeries, context: Ctx) -> Located:
    return await context.shelf.instance(series, instance)


VisibleInstance = Annotated[Located, Depends(visible_instance)]
FrameList = Annotated[str, Path(max_length=4096, description="frame numbers from 1, separated by commas")]
WindowText = Annotated[str | None, Query(max_length=64, description="center,width[,function]")]
Quality = Annotated[int, Query(ge=1, le=100, description="of a JPEG")]


# ── instances ────────────────────────────────────────────────────────────────────────────────────────


@router.get("")
async def study(request: Request, study: VisibleStudy, context: Ctx) -> StreamingResponse:
    """Every instance of a study, each in its stored transfer syntax."""
    series = await every_series(study, context)
    return await instances([each for one in series for each in await context.shelf.instances(one)], request, context)


@router.get(SERIES)
async def series(request: Request, series: VisibleSeries, context: Ctx) -> StreamingResponse:
    """Every instance of a series."""
    return await instances(await context.shelf.instances(series), request, context)


@router.get(INSTANCE)
async def instance(request: Request, instance: VisibleInstance, context: Ctx) -> StreamingResponse:
    """One instance."""
    return await instances([instance], request, context)


async def instances(found: list[Located], request: Request, context: StorageContext) -> StreamingResponse:
    check_instances(request.headers.get("accept"), {each.packed.transfer_syntax_uid for each in found})
    return await multipart_response(instance_parts(found, context.shelf), DICOM)


async def instance_parts(found: list[Located], shelf: Shelf) -> AsyncIterator[Part]:
    """One proven instance at a time, so that memory does not grow with the study."""
    for each in found:
        with await shelf.whole(each) as file:
            yield Part(f"{DICOM}; transfer-syntax={each.packed.transfer_syntax_uid}", pieces(file))


# ── metadata ─────────────────────────────────────────────────────────────────────────────────────────


@router.get("/metadata")
async def study_metadata(request: Request, study: VisibleStudy, context: Ctx) -> Response:
    """The metadata of every instance of a study."""
    return await metadata(await every_series(study, context), request, context)


@router.get(SERIES + "/metadata")
async def series_metadata(request: Request, series: VisibleSeries, context: Ctx) -> Response:
    """The metadata of every instance of a series."""
    return await metadata([series], request, context)


@router.get(INSTANCE + "/metadata")
async def instance_metadata(request: Request, instance: VisibleInstance, context: Ctx) -> Response:
    """The metadata of one instance."""
    media_type = json_type(request.headers.get("accept"))
    return Response(json.dumps([await context.shelf.metadata_of(instance)]), media_type=media_type)


async def metadata(series: list[Series], request: Request, context: StorageContext) -> Response:
    """As stored, compressed, if the client takes it and it is one object; else the arrays one after the other."""
    media_type = json_type(request.headers.get("accept"))
    keys = [batch.metadata for each in series for batch in each.batches]
    headers = {"Vary": "Accept, Accept-Encoding"}
    if len(keys) == 1 and "gzip" in request.headers.get("accept-encoding", ""):
        stored = await context.blobs.read(keys[0])
        return Response(stored, media_type=media_type, headers=headers | {"Content-Encoding": "gzip"})
    return StreamingResponse(one_array(keys, context.shelf), media_type=media_type, headers=headers)


async def one_array(keys: list[str], shelf: Shelf) -> AsyncIterator[bytes]:
    """One JSON array of all the objects of the stored arrays, none of which is empty."""
    for index, key in enumerate(keys):
        text = (await shelf.metadata_json(key)).strip()
        yield (b"," if index else b"[") + text[1:-1]
    yield b"]"


# ── frames and pictures ──────────────────────────────────────────────────────────────────────────────


@router.get(FRAMES)
async def frames(request: Request, instance: VisibleInstance, frames: FrameList, context: Ctx) -> StreamingResponse:
    """Frames as they are stored: native ones as octets, compressed ones under their own media type."""
    numbers = frame_numbers(frames)
    form = frame_form(request.headers.get("accept"), instance.packed.transfer_syntax_uid)
    table = await context.shelf.frame_table(instance)
    if max(numbers) > len(table):
        raise NotFound(f"this instance has {len(table)} frames")
    wanted = [table[number - 1] for number in numbers]
    return await multipart_response(frame_parts(instance, wanted, form.content_type, context.shelf), form.media_type)


async def frame_parts(instance: Located, wanted: list[Frame], content_type: str, shelf: Shelf) -> AsyncIterator[Part]:
    for each in wanted:
        yield Part(content_type, once(await shelf.frame(instance, each)))


async def once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def frame_numbers(text: str) -> list[int]:
    if not re.fullmatch(r"[1-9]\d{0,8}(,[1-9]\d{0,8})*", text):
        raise BadQuery("frames are numbered from 1 and separated by commas")
    return [int(number) for number in text.split(",")]


@router.get(INSTANCE + "/rendered")
async def rendered_instance(
    request: Request, instance: VisibleInstance, context: Ctx, window: WindowText = None, quality: Quality = 90
) -> Response:
    """A picture of the instance's first frame."""
    return await picture(instance, "1", request, context, window, quality)


@router.get(FRAMES + "/rendered")
async def rendered_frame(
    request: Request,
    instance: VisibleInstance,
    frames: FrameList,
    context: Ctx,
    window: WindowText = None,
    quality: Quality = 90,
) -> Response:
    """A picture of one frame."""
    return await picture(instance, frames, request, context, window, quality)


async def picture(
    instance: Located, frames: str, request: Request, context: StorageContext, window: str | None, quality: int
) -> Response:
    number, *others = frame_numbers(frames)
    if others:
        raise BadQuery("one frame at a time is rendered")
    media_type, chosen = rendered_type(request.headers.get("accept")), parse_window(window)
    with await context.shelf.whole(instance) as file:
        content = await context.shelf.compute(render, file, number, media_type, chosen, quality)
    return Response(content, media_type=media_type)
