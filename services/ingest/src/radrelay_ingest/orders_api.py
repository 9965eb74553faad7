"""Orders and patients over HTTP: FHIR R4, and HL7 v2 as HAPI's "HL7 over HTTP" has it."""

from __future__ import annotations

from email.message import Message as Header
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request
from fastapi import Header as HeaderParameter
from fastapi.responses import JSONResponse, Response

from radrelay_ingest.callers import IngestDep, acting_site
from radrelay_ingest.context import IngestContext
from radrelay_ingest.hl7.taking import answer
from radrelay_ingest.orders import take_order
from radrelay_ingest.receipts import Answer, Final, Work, once
from radrelay_ingest.signatures import verify
from radrelay_shared.bodies import UnsupportedMedia
from radrelay_shared.errors import Permanent, Unauthenticated
from radrelay_shared.security import Role, require

router = APIRouter(prefix="/ingest", tags=["orders"])

FhirJson = Annotated[dict[str, Any], Body(media_type="application/fhir+json")]
FHIR, HL7 = "application/fhir+json", "application/hl7-v2"
HL7_TYPES = {HL7, "application/hl7-v2+er7", "x-application/hl7-v2+er7"}
ER7 = {"requestBody": {"required": True, "content": {HL7: {"schema": {"type": "string", "format": "binary"}}}}}
MACHINE = require(Role.SITE)


async def ordering_site(
    request: Request, context: IngestDep, x_radrelay_site: Annotated[str | None, HeaderParameter()] = None
) -> str:
    """The site that the caller acts for, by token or API key, or by a Standard Webhooks signature."""
    if "webhook-signature" not in request.headers or "authorization" in request.headers:
        return await acting_site(await MACHINE.dependency(request), context, x_radrelay_site)
    secrets = context.webhook_secrets.get(x_radrelay_site or "", ())
    if x_radrelay_site is None or not secrets:
        raise Unauthenticated("say in X-RadRelay-Site whose signature this is; its secret must be known here")
    verify(secrets, request.headers, await request.body(), context.clock())
    await context.refresh_sites()
    context.site(x_radrelay_site)
    return x_radrelay_site


OrderingSite = Annotated[str, Depends(ordering_site)]
Idempotency = Annotated[str | None, HeaderParameter(max_length=255)]


@router.post("/fhir", status_code=202)
async def post_bundle(
    request: Request, bundle: FhirJson, context: IngestDep, site: OrderingSite, idempotency_key: Idempotency = None
) -> Any:
    """Take the order in a transaction Bundle with its Patient and ServiceRequest (FHIR R4)."""
    return await _take(request, bundle, context, site, idempotency_key)


@router.post("/fhir/ServiceRequest", status_code=202)
async def post_request(
    request: Request, order: FhirJson, context: IngestDep, site: OrderingSite, idempotency_key: Idempotency = None
) -> Any:
    """Take an order as a ServiceRequest (FHIR R4) that contains its Patient."""
    return await _take(request, order, context, site, idempotency_key)


async def _take(request: Request, document: Any, context: IngestContext, site: str, key: str | None) -> Any:
    body = await request.body()

    async def work() -> dict[str, Any]:
        return {"order": await take_order(context, site, body, document)}

    try:
        return await _once(request, context, site, key, body, work)
    except Permanent as error:
        if FHIR not in request.headers.get("accept", ""):
            raise
        return JSONResponse(outcome(error), error.status, media_type=FHIR)


async def _once(
    request: Request, context: IngestContext, site: str, key: str | None, body: bytes, work: Work, final: Final = bool
) -> Answer:
    """What has a name has its effect once: an Idempotency-Key, or the id of a signed webhook."""
    name = key or request.headers.get("webhook-id")
    return await once(context, site, ("http", name), body, work, final) if name else await work()


def outcome(error: Permanent) -> dict[str, Any]:
    """A FHIR OperationOutcome: the path of the element that is wrong, and what is wrong with it, without its value."""
    path, found, told = error.detail.partition(": ")
    issue: dict[str, Any] = {"severity": "error", "code": "invalid", "diagnostics": told if found else error.detail}
    return {"resourceType": "OperationOutcome", "issue": [issue | ({"expression": [path]} if found else {})]}


@router.post("/hl7", openapi_extra=ER7, response_class=Response)
async def post_hl7(
    request: Request, context: IngestDep, site: OrderingSite, idempotency_key: Idempotency = None
) -> Response:
    """Take an HL7 v2 message; the answer is 200 with its ACK, also where that is AE or AR."""
    charset = charset_of(request.headers.get("content-type", ""))
    body = await request.body()

    async def work() -> dict[str, Any]:
        ack, taken = await answer(context, body, lambda _: site, charset)
        return {"ack": ack, "taken": taken}

    answered = await _once(request, context, site, idempotency_key, body, work, lambda answer: bool(answer["taken"]))
    return Response(answered["ack"].encode(), media_type=f"{HL7}; charset=utf-8")


def charset_of(content_type: str) -> str | None:
    """Python's codec for what the transport says, which counts more than MSH-18; None if it says nothing."""
    header = Header()
    header["Content-Type"] = content_type
    if header.get_content_type() not in HL7_TYPES:
        raise UnsupportedMedia(f"send {HL7}; charset=utf-8")
    charset = header.get_content_charset()
    try:
        if charset:
            "".encode(charset)
    except LookupError:
        raise UnsupportedMedia("this charset is not known here; send utf-8") from None
    return charset
