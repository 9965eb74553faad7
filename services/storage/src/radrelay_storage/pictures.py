"""WADO-RS frames, rendered pictures and thumbnails (PS3.18 §10.4, §8.3.5)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydicom.uid import ExplicitVRLittleEndian

from radrelay_shared.errors import NotFound
from radrelay_storage.access import NOTED, Ctx, VisibleSeries, VisibleStudy, every_series
from radrelay_storage.caching import etag, exact, held, validators
from radrelay_storage.context import StorageContext
from radrelay_storage.copies import Bytes
from radrelay_storage.domain import Series
from radrelay_storage.frames import Frame
from radrelay_storage.multipart import Part, answer, answer_at_once, once
from radrelay_storage.negotiation import Form, frame_form, rendered_type
from radrelay_storage.pixels import bulk_value, frame_count, plain_frame
from radrelay_storage.problems import BadQuery, NotAcceptable
from radrelay_storage.ranges import sole
from radrelay_storage.rendering import Look, Viewport, parse_viewport, parse_window, render
from radrelay_storage.retrieve import INSTANCE, SERIES, VisibleInstance
from radrelay_storage.shelf import Located

router = APIRouter(prefix="/dicom-web/studies/{study}", tags=["WADO-RS"], dependencies=NOTED)

FRAMES = INSTANCE + "/frames/{frames}"
AT_ONCE = 4 << 20  # bytes of frames that are sent from memory
THUMBNAIL = Viewport(128, 128)

PIXEL_DATA = "7FE00010"
BulkPath = Annotated[str, Path(max_length=256, description="tags and item numbers from 1, with dots between")]
FrameList = Annotated[str, Path(max_length=4096, description="frame numbers from 1, separated by commas")]


# ── frames ───────────────────────────────────────────────────────────────────────────────────────────


@router.get(FRAMES)
async def frames(request: Request, instance: VisibleInstance, frames: FrameList, context: Ctx) -> Response:
    """Frames as they are stored: native ones as octets, compressed ones under their own media type.

    Decoded, as octets, if the client demands that or if stored frames are no runs of little-endian bytes.
    """
    numbers = frame_numbers(frames)
    form = frame_form(request.headers.get("accept"), instance.packed.transfer_syntax_uid, one=len(numbers) == 1)
    tag = frames_tag(instance, numbers, form)
    if known := held(request, tag):
        return known
    if form.alone:
        return sole(request, await one_of(instance, numbers[0], form, context), form.content_type, tag)
    if form.transcoded:
        return await answer(decoded_frames(instance, numbers, form, context), form.media_type, validators(tag))
    return await stored_frames(instance, numbers, form, validators(tag), context)


def frames_tag(instance: Located, numbers: Sequence[int], form: Form) -> str:
    tag = etag(instance.packed.sha256, numbers, form.content_type)
    return exact(tag) if form.alone and not form.transcoded else tag


async def one_of(instance: Located, number: int, form: Form, context: StorageContext) -> Bytes:
    """The bytes of one frame."""
    if form.transcoded:
        with await context.shelf.whole(instance) as file:
            return await context.workers.compute(plain_frame, file, number)
    (frame,) = await table_rows(instance, [number], context)
    return await context.shelf.frame(instance, frame)


async def table_rows(instance: Located, numbers: Sequence[int], context: StorageContext) -> list[Frame]:
    """Where these frames lie."""
    table = await context.shelf.frame_table(instance)
    if max(numbers) > len(table):
        raise NotFound(f"this instance has {len(table)} frames")
    return [table[number - 1] for number in numbers]


@router.get(INSTANCE + "/bulkdata/{path}")
async def bulkdata(request: Request, instance: VisibleInstance, path: BulkPath, context: Ctx) -> Response:
    """The value of one attribute, by tag, or by tags and item numbers: `00540016.1.00181074`; pixel data as frames."""
    if path == PIXEL_DATA:
        with await context.shelf.whole(instance) as file:
            count = await context.workers.compute(frame_count, file)
        return await frames(request, instance, ",".join(map(str, range(1, count + 1))), context)
    form = frame_form(request.headers.get("accept"), ExplicitVRLittleEndian, one=True)
    tag = etag(instance.packed.sha256, path, form.content_type)
    tag = exact(tag) if form.alone else tag
    if known := held(request, tag):
        return known
    with await context.shelf.whole(instance) as file:
        value = await context.workers.compute(bulk_value, file, path)
    if form.alone:
        return sole(request, value, form.content_type, tag)
    return answer_at_once([value], form.content_type, form.media_type, validators(tag))


async def stored_frames(
    instance: Located, numbers: Sequence[int], form: Form, headers: Mapping[str, str], context: StorageContext
) -> Response:
    wanted = await table_rows(instance, numbers, context)
    if sum(each.size for each in wanted) > AT_ONCE:
        return await answer(frame_parts(instance, wanted, form, context), form.media_type, headers)
    found = [await context.shelf.frame(instance, each) for each in wanted]
    return answer_at_once(found, form.content_type, form.media_type, headers)


async def frame_parts(
    instance: Located, wanted: Sequence[Frame], form: Form, context: StorageContext
) -> AsyncIterator[Part]:
    for each in wanted:
        yield Part(form.content_type, once(await context.shelf.frame(instance, each)))


async def decoded_frames(
    instance: Located, numbers: Sequence[int], form: Form, context: StorageContext
) -> AsyncIterator[Part]:
    with await context.shelf.whole(instance) as file:
        for number in numbers:
            yield Part(form.content_type, once(await context.workers.compute(plain_frame, file, number)))


def frame_numbers(text: str) -> list[int]:
    if not re.fullmatch(r"[1-9]\d{0,8}(,[1-9]\d{0,8})*", text):
        raise BadQuery("frames are numbered from 1 and separated by commas")
    return [int(number) for number in text.split(",")]


def one_frame(text: str) -> int:
    number, *others = frame_numbers(text)
    if others:
        raise BadQuery("one frame at a time is rendered")
    return number


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Wish:
    """How the caller wants a picture to look."""

    request: Request
    window: Annotated[str | None, Query(max_length=64, description="center,width[,function]")] = None
    viewport: Annotated[str | None, Query(max_length=64, description="width,height[,left,top,width,height]")] = None
    quality: Annotated[int, Query(ge=1, le=100, description="of a JPEG")] = 90

    def look(self, viewport: Viewport | None = None) -> Look:
        media_type = rendered_type(self.request.headers.get("accept"))
        return Look(media_type, parse_window(self.window), parse_viewport(self.viewport) or viewport, self.quality)


Wished = Annotated[Wish, Depends()]


@router.get(INSTANCE + "/rendered")
async def rendered_instance(instance: VisibleInstance, wish: Wished, context: Ctx) -> Response:
    """A picture of the instance's first frame."""
    return await picture(instance, 1, wish.look(), wish.request, context)


@router.get(FRAMES + "/rendered")
async def rendered_frame(instance: VisibleInstance, frames: FrameList, wish: Wished, context: Ctx) -> Response:
    """A picture of one frame."""
    return await picture(instance, one_frame(frames), wish.look(), wish.request, context)


@router.get("/thumbnail")
async def study_thumbnail(study: VisibleStudy, wish: Wished, context: Ctx) -> Response:
    """A small picture that stands for a study."""
    series = await every_series(study.study, context)
    return await thumbnail(await representative(series, context), 1, wish, context)


@router.get(SERIES + "/thumbnail")
async def series_thumbnail(series: VisibleSeries, wish: Wished, context: Ctx) -> Response:
    """A small picture of the slice in a series' middle."""
    return await thumbnail(await representative([series], context), 1, wish, context)


@router.get(INSTANCE + "/thumbnail")
async def instance_thumbnail(instance: VisibleInstance, wish: Wished, context: Ctx) -> Response:
    """A small picture of an instance."""
    return await thumbnail(instance, 1, wish, context)


@router.get(FRAMES + "/thumbnail")
async def frame_thumbnail(instance: VisibleInstance, frames: FrameList, wish: Wished, context: Ctx) -> Response:
    """A small picture of one frame."""
    return await thumbnail(instance, one_frame(frames), wish, context)


async def thumbnail(instance: Located, number: int, wish: Wish, context: StorageContext) -> Response:
    return await picture(instance, number, wish.look(THUMBNAIL), wish.request, context)


async def representative(found: Sequence[Series], context: StorageContext) -> Located:
    """The image in the middle of the first series that has images."""
    for series in found:
        images = [each for each in await context.descriptions.listing(series) if each.image]
        if images:
            return await context.shelf.instance(series, images[len(images) // 2].uid)
    raise NotAcceptable("there is no image here; there is nothing to render")


async def picture(instance: Located, number: int, look: Look, request: Request, context: StorageContext) -> Response:
    tag = etag(instance.packed.sha256, number, repr(look))
    if known := held(request, tag):
        return known
    with await context.shelf.whole(instance) as file:
        content = await context.workers.compute(render, file, number, look)
    return sole(request, content, look.media_type, tag)
