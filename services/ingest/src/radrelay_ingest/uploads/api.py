"""The uploads' routes: tus 1.0, and what became of the files."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request, Response

from radrelay_ingest.callers import ActingSite, IngestDep, Machine, Viewer
from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.uploads import Upload
from radrelay_ingest.uploads.protocol import (
    CAPABILITIES,
    OFFSET_STREAM,
    PATH,
    VERSION,
    Checksum,
    WrongVersion,
    headers_of,
)
from radrelay_ingest.uploads.receiving import append, begin, exclusively
from radrelay_shared.bodies import UnsupportedMedia
from radrelay_shared.security import Principal

router = APIRouter(prefix=PATH, tags=["uploads"])

UploadId = Annotated[str, Path(pattern=r"^up-[0-9a-f]{32}$")]


async def spoken(_: Machine, tus_resumable: Annotated[str, Header()] = "") -> None:
    if tus_resumable != VERSION:
        raise WrongVersion(f"say Tus-Resumable: {VERSION}; no other version is spoken here")


async def checksum_in(upload_checksum: Annotated[str | None, Header(max_length=200)] = None) -> Checksum | None:
    return None if upload_checksum is None else Checksum(upload_checksum)


async def own(context: IngestContext, caller: Principal, key: str) -> Upload:
    """The upload, if it is of a site of the caller's."""
    upload = await asyncio.to_thread(context.uploads.get, key)
    caller.must_see(upload.site, "upload")
    return upload


Tus = Depends(spoken)
Checked = Annotated[Checksum | None, Depends(checksum_in)]


@router.options("", status_code=204)
async def capabilities(context: IngestDep, _: Machine) -> Response:
    """Which parts of tus are spoken here."""
    return Response(status_code=204, headers={**CAPABILITIES, "Tus-Max-Size": str(context.settings.max_upload_bytes)})


@router.post("", status_code=201, dependencies=[Tus])
async def create(
    request: Request,
    context: IngestDep,
    site: ActingSite,
    checksum: Checked,
    upload_length: Annotated[int, Header(ge=0)],
) -> Response:
    """Begin an upload of `Upload-Length` bytes, a DICOM file or a zip of them; `Upload-Metadata` is not kept."""
    upload = await begin(context, site, upload_length)
    if request.headers.get("content-type") == OFFSET_STREAM and not upload.whole:
        upload = await append(context, upload.id, 0, aiter(request.stream()), checksum)
    return Response(status_code=201, headers={**headers_of(upload), "Location": f"{PATH}/{upload.id}"})


@router.head("/{upload_id}", dependencies=[Tus])
async def stand(upload_id: UploadId, context: IngestDep, caller: Machine) -> Response:
    """How many bytes are durable."""
    return Response(headers=headers_of(await own(context, caller, upload_id)))


@router.patch("/{upload_id}", status_code=204, dependencies=[Tus])
async def resume(
    request: Request,
    upload_id: UploadId,
    context: IngestDep,
    caller: Machine,
    checksum: Checked,
    upload_offset: Annotated[int, Header(ge=0)],
) -> Response:
    """Add bytes at `Upload-Offset`: 204 once they are durable, 409 at another offset, 460 if the checksum differs."""
    if request.headers.get("content-type") != OFFSET_STREAM:
        raise UnsupportedMedia(f"send {OFFSET_STREAM}")
    await own(context, caller, upload_id)
    kept = await append(context, upload_id, upload_offset, aiter(request.stream()), checksum)
    return Response(status_code=204, headers=headers_of(kept))


@router.delete("/{upload_id}", status_code=204, dependencies=[Tus])
async def terminate(upload_id: UploadId, context: IngestDep, caller: Machine) -> Response:
    """Forget the upload; instances that were taken from it stay."""
    upload = await own(context, caller, upload_id)
    with exclusively(context, upload_id):
        await asyncio.to_thread(context.uploads.drop, upload)
    return Response(status_code=204)


@router.get("/{upload_id}")
async def describe(upload_id: UploadId, context: IngestDep, caller: Viewer) -> dict[str, Any]:
    """How far the upload is, and what became of its files: how many are stored, and which could not be."""
    upload = await own(context, caller, upload_id)
    outcome = upload.outcome.model_dump(mode="json") if upload.outcome else {}
    return {"id": upload.id, "state": upload.state, "offset": upload.offset, "length": upload.length, **outcome}
