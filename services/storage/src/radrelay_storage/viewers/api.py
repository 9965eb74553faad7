"""Links to viewers over HTTP, and IHE's Invoke Image Display (RAD-106)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from radrelay_shared.errors import Invalid, Unreachable
from radrelay_storage.access import Ctx, Reader, visible_study
from radrelay_storage.context import StorageContext
from radrelay_storage.problems import BadQuery
from radrelay_storage.viewers.launch import NATIVE, VIEWERS, page
from radrelay_storage.viewers.session import CLAIMS, COOKIE, IMAGES
from radrelay_storage.viewers.tokens import LASTS, Claims, Use, as_session, claims_of, signed

router = APIRouter(prefix="/viewers", tags=["viewers"])

Uid = Annotated[str, Field(max_length=64, pattern=r"^[0-9.]+$")]


class Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")
    study: Uid | None = None  # Study Instance UID; without it, the list of what the caller may see
    viewer: Annotated[str, Field(max_length=16)] = "ohif"


class Link(BaseModel):
    url: str
    until: AwareDatetime


@router.post("/links")
async def link(wanted: Wanted, request: Request, caller: Reader, context: Ctx) -> Link:
    """A link that opens a study in a viewer, for its caller alone and for a minute."""
    if wanted.study:
        await visible_study(wanted.study, caller, context)
    claims = claims_of(caller, wanted.study, wanted.viewer, context.clock())
    return Link(url=launched(claims, base_of(request, context), context), until=claims.until)


@router.get("/IHEInvokeImageDisplay", status_code=303)
async def invoke_image_display(
    request: Request,
    caller: Reader,
    context: Ctx,
    requestType: str,  # noqa: N803  RAD-106 names it so
    studyUID: Annotated[str, Query(max_length=64, pattern=r"^[0-9.]+$")],  # noqa: N803  RAD-106 names it so
    viewerType: Annotated[str, Query(max_length=16)] = "ohif",  # noqa: N803  RAD-106 names it so
) -> Response:
    """Redirects to the study in a viewer (IHE RAD TF-2 §4.106); `viewerType` is ohif, weasis or slicer."""
    if requestType != "STUDY":
        raise BadQuery("requestType is STUDY; patients are not known by name here")
    found = await link(Wanted(study=studyUID, viewer=viewerType), request, caller, context)
    return RedirectResponse(found.url, status_code=303, headers={"Cache-Control": "no-store"})


@router.post("/sessions")
async def session(request: Request, response: Response, _: Reader, context: Ctx) -> dict[str, str]:
    """Changes a link for a session, which a browser keeps where no script can read it; answers where to go."""
    claims: Claims | None = request.scope.get(CLAIMS)
    if claims is None:
        raise Invalid("a viewer's session begins with a link of POST /viewers/links")
    response.set_cookie(
        COOKIE,
        signed(as_session(claims, context.clock()), key_of(context)),
        max_age=int(LASTS[Use.SESSION].total_seconds()),
        path=IMAGES.rstrip("/"),
        secure=base_of(request, context).startswith("https:"),
        httponly=True,
        samesite="strict",
    )
    response.headers["Cache-Control"] = "no-store"
    return {"url": page(claims)}


def launched(claims: Claims, base: str, context: StorageContext) -> str:
    template = VIEWERS.get(claims.viewer)
    if template is None:
        raise Invalid(f"the viewers are {', '.join(VIEWERS)}")
    handed = as_session(claims, context.clock()) if claims.viewer in NATIVE else claims
    return template(base, claims, signed(handed, key_of(context)))


def key_of(context: StorageContext) -> bytes:
    if context.viewer_key is None:
        raise Unreachable("links to viewers are not set up here: an operator sets RADRELAY_VIEWER_KEY")
    return context.viewer_key


def base_of(request: Request, context: StorageContext) -> str:
    """The platform's address as browsers know it."""
    return (context.settings.public_url or str(request.base_url)).rstrip("/")
