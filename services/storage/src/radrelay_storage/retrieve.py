"""WADO-RS (PS3.18 §10.4): studies, series, instances and their metadata, as they are stored if that is allowed."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import IO, Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from radrelay_storage.access import NOTED, Ctx, Uid, VisibleSeries, VisibleStudy, every_series
from radrelay_storage.caching import etag, exact, held, validators
from radrelay_storage.context import StorageContext
from radrelay_storage.copies import Bytes
from radrelay_storage.domain import Series
from radrelay_storage.multipart import Part, answer, answer_at_once, once
from radrelay_storage.nativexml import native_text
from radrelay_storage.negotiation import DICOM, DICOM_XML, Form, described_type, instance_form, takes_gzip
from radrelay_storage.pixels import explicit
from radrelay_storage.ranges import extent, sole
from radrelay_storage.shelf import Located, pieces

router = APIRouter(prefix="/dicom-web/studies/{study}", tags=["WADO-RS"], dependencies=NOTED)

SERIES = "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"


async def visible_instance(instance: Uid, series: VisibleSeries, context: Ctx) -> Located:
    return await context.shelf.instance(series, instance)


VisibleInstance = Annotated[Located, Depends(visible_instance)]


# ── instances ────────────────────────────────────────────────────────────────────────────────────────


@router.get("")
async def study(request: Request, study: VisibleStudy, context: Ctx) -> Response:
    """Every instance of a study."""
    series = await every_series(study.study, context)
    found = [each for one in series for each in await context.shelf.instances(one)]
    return await send_instances(found, request.headers.get("accept"), request, context)


@router.get(SERIES)
async def series(request: Request, series: VisibleSeries, context: Ctx) -> Response:
    """Every instance of a series."""
    found = await context.shelf.instances(series)
    return await send_instances(found, request.headers.get("accept"), request, context)


@router.get(INSTANCE)
async def instance(request: Request, instance: VisibleInstance, context: Ctx) -> Response:
    """One instance: as a single part if `application/dicom` is asked for."""
    return await send_instances([instance], request.headers.get("accept"), request, context)


async def send_instances(
    found: Sequence[Located], accept: str | None, request: Request, context: StorageContext
) -> Response:
    """Each in its stored transfer syntax; transcoded to explicit little endian if the client demands that."""
    stored = sorted({each.packed.transfer_syntax_uid for each in found})
    forms = {each: instance_form(accept, each, one=len(found) == 1) for each in stored}
    tag = etag([each.packed.sha256 for each in found], [form.content_type for form in forms.values()])
    for form in forms.values():
        if form.alone:
            return await one_file(found[0], form, tag, request, context)
    sent = [(forms[each.packed.transfer_syntax_uid], each.packed.length) for each in found]
    sizes = [(form.content_type, size) for form, size in sent if not form.transcoded]
    known = sizes if len(sizes) == len(found) else ()
    parts = instance_parts(found, forms, context)
    return held(request, tag) or await answer(parts, DICOM, validators(tag), known)


async def one_file(instance: Located, form: Form, tag: str, request: Request, context: StorageContext) -> Response:
    """An instance without multipart/related around it, or a run of its bytes."""
    tag = tag if form.transcoded else exact(tag)
    if known := held(request, tag):
        return known
    if form.transcoded:
        with await context.shelf.whole(instance) as file:
            return sole(request, await context.workers.compute(explicit, file), form.content_type, tag)
    part = extent(request, tag, instance.packed.length)
    headers = part.headers | {"Content-Length": str(len(part.span))}
    file = await context.shelf.whole(instance)
    return StreamingResponse(from_file(file, part.span), part.status, headers, form.content_type)


async def from_file(file: IO[bytes], span: range) -> AsyncIterator[Bytes]:
    with file:
        async for piece in pieces(file, span):
            yield piece


async def instance_parts(
    found: Sequence[Located], forms: dict[str, Form], context: StorageContext
) -> AsyncIterator[Part]:
    """One proven instance at a time, so that memory does not grow with the study."""
    async with aclosing(context.shelf.every(found)) as files:
        async for each, file in files:
            form = forms[each.packed.transfer_syntax_uid]
            if form.transcoded:
                yield Part(form.content_type, once(await context.workers.compute(explicit, file)))
            else:
                yield Part(form.content_type, partial(pieces, file, range(each.packed.length)))


# ── metadata ─────────────────────────────────────────────────────────────────────────────────────────


@router.get("/metadata")
async def study_metadata(request: Request, study: VisibleStudy, context: Ctx) -> Response:
    """The metadata of every instance of a study."""
    return await opening(await every_series(study.study, context), request, context)


@router.get(SERIES + "/metadata")
async def series_metadata(request: Request, series: VisibleSeries, context: Ctx) -> Response:
    """The metadata of every instance of a series."""
    return await opening([series], request, context)


@router.get(INSTANCE + "/metadata")
async def instance_metadata(request: Request, instance: VisibleInstance, context: Ctx) -> Response:
    """The metadata of one instance."""
    media_type = described_type(request.headers.get("accept"))
    tag = etag("metadata", instance.packed.sha256, media_type)
    if known := held(request, tag):
        return known
    text = await context.descriptions.text(instance.study, instance.metadata, instance.place)
    if media_type == DICOM_XML:
        return answer_at_once([native_text(text)], DICOM_XML, DICOM_XML, validators(tag))
    return Response(b"[%b]" % text, media_type=media_type, headers=validators(tag))


async def opening(found: Sequence[Series], request: Request, context: StorageContext) -> Response:
    """The metadata, which whoever opens a study asks for first; once it is sent, the packs are fetched."""
    response = await metadata(found, request, context)
    response.background = BackgroundTask(context.prefetch.expect, found)
    return response


async def metadata(found: Sequence[Series], request: Request, context: StorageContext) -> Response:
    """As stored, compressed, if the client takes it and it is one object; else put together as it goes."""
    media_type = described_type(request.headers.get("accept"))
    keys = [batch.metadata for each in found for batch in each.batches]
    tag = etag("metadata", keys, media_type)
    if known := held(request, tag):
        return known
    if media_type == DICOM_XML:
        return await answer(documents(found, context), DICOM_XML, validators(tag))
    headers: dict[str, Any] = validators(tag)
    gzip = takes_gzip(request.headers.get("accept-encoding"))
    if gzip:
        headers["Content-Encoding"] = "gzip"
    if gzip and len(keys) == 1:
        stored = await context.descriptions.compressed(found[0].study, keys[0])
        return Response(stored, media_type=media_type, headers=headers)
    content = context.descriptions.one_array(found)
    start = await anext(content)  # what is missing is an error as long as no status is sent
    whole = preceded(start, content)
    return StreamingResponse(gzipped(whole) if gzip else whole, media_type=media_type, headers=headers)


async def documents(found: Sequence[Series], context: StorageContext) -> AsyncIterator[Part]:
    """The metadata of each instance as a part of its own."""
    async for texts in context.descriptions.batches(found):
        for text in texts:
            yield Part(DICOM_XML, once(await context.workers.compute(native_text, text)))


async def preceded(start: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for piece in rest:
        yield piece


async def gzipped(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(level=1, wbits=31)
    async for piece in content:
        yield packer.compress(piece)
    yield packer.flush()
