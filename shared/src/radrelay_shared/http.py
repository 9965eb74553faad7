"""Every service's HTTP app: routes, problem documents (RFC 9457), health, dead letters, bounded bodies."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from starlette.exceptions import HTTPException

from radrelay_shared.errors import Invalid, NotFound, RadRelayError, TooLarge, Unauthenticated, Unreachable
from radrelay_shared.security import Gate, Operator, admit, load_api_keys
from radrelay_shared.telemetry import PROPAGATOR, current_service

if TYPE_CHECKING:
    from radrelay_shared.ports import DeadLetter
    from radrelay_shared.service import Runtime

log = logging.getLogger("radrelay.http")

BODY_LIMIT = 1 << 20
PROBLEM = "application/problem+json"
RETRY_AFTER_SECONDS = 5
METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})  # RFC 9110, 5789
TRACE = "radrelay.trace"  # in the ASGI scope: the trace id of this request

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def build_app(runtime: Runtime) -> FastAPI:
    """The FastAPI app of a running service."""
    service, settings = runtime.service, runtime.settings
    app = FastAPI(
        title=f"RadRelay {service.name}",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        middleware=list(service.middleware(settings)),
    )
    app.state.context = runtime.context
    app.state.runtime = runtime
    app.state.gate = Gate(
        load_api_keys(settings.api_keys_file),
        settings.auth_jwks,
        settings.auth_issuer,
        settings.auth_audience,
    )
    add_health(app, runtime)
    add_openapi(app, service.name)
    add_dead_letters(app, runtime)
    for router in service.routers:
        app.include_router(router)
    app.add_exception_handler(RadRelayError, on_error)
    app.add_exception_handler(RequestValidationError, on_error)
    app.add_exception_handler(HTTPException, on_error)
    app.add_exception_handler(Exception, on_error)
    app.add_middleware(Edge, runtime=runtime)
    return app


def add_health(app: FastAPI, runtime: Runtime) -> None:
    @app.get("/livez", tags=["health"])
    async def livez() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["health"])
    async def readyz() -> dict[str, str]:
        """Everything this service stands on answers."""
        try:
            await runtime.healthy()
        except TimeoutError as error:
            raise Unreachable("a server this service stands on does not answer in time") from error
        return {"status": "ready"}


def add_openapi(app: FastAPI, name: str) -> None:
    @app.get(f"/openapi/{name}.json", include_in_schema=False)
    async def openapi(request: Request) -> dict[str, Any]:
        """What this service answers; for any caller who is known here."""
        await admit(request)
        return app.openapi()


def add_dead_letters(app: FastAPI, runtime: Runtime) -> None:
    name = runtime.service.name

    @app.get(f"/ops/{name}/dead-letters", tags=["operations"])
    async def dead_letters(_: Operator) -> list[dict[str, Any]]:
        """What this service gave up, oldest first, with the reason."""
        return [describe(letter) for letter in await bus_of(runtime).dead_letters(name)]

    @app.post(f"/ops/{name}/dead-letters/replay", tags=["operations"])
    async def replay_all(_: Operator) -> dict[str, int]:
        """Try all of them again from the first attempt."""
        return {"replayed": await bus_of(runtime).replay(name)}

    @app.post(f"/ops/{name}/dead-letters/{{message_id}}/replay", tags=["operations"])
    async def replay_one(_: Operator, message_id: Annotated[str, Path(max_length=64)]) -> dict[str, int]:
        """Try one of them again."""
        return {"replayed": await bus_of(runtime).replay(name, message_id)}


def bus_of(runtime: Runtime) -> Any:
    if runtime.bus is None:
        raise Unreachable("the bus is not connected yet")
    return runtime.bus


def describe(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.message.id,
        "type": letter.message.type,
        "urgent": letter.message.urgent,
        "service": letter.service,
        "reason": letter.reason,
        "attempts": letter.attempts,
    }


async def on_error(request: Request, error: Exception) -> JSONResponse:
    """Any error as a problem document; only texts that RadRelay wrote itself leave the process."""
    answer = problem(translate(error), request.scope.get(TRACE))
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
    return answer


def translate(error: Exception) -> RadRelayError:
    """The error of ours that says what this one means to the caller."""
    match error:
        case RadRelayError():
            return error
        case HTTPException(__cause__=RadRelayError() as ours):  # FastAPI wraps what reading a body raises
            return ours
        case RequestValidationError():
            fields = ", ".join(sorted({".".join(map(str, each["loc"])) for each in error.errors()}))
            return Invalid(f"check these fields: {fields}")
        case HTTPException(status_code=404):
            return NotFound("nothing answers under this path")
        case HTTPException():
            translated = Invalid(str(error.detail))
            translated.status, translated.title = error.status_code, str(error.detail)
            return translated
        case _:
            log.error("a request failed", exc_info=error)
            return RadRelayError("the request failed here; nothing that was acknowledged is lost. Try again")


def problem(error: RadRelayError, trace: str | None = None) -> JSONResponse:
    """RFC 9457: type, title, status, detail; the instance is the trace, for a path may hold whatever was typed."""
    body = {
        "type": f"urn:radrelay:problem:{type(error).__name__.lower()}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if trace:
        body["instance"] = f"urn:radrelay:trace:{trace}"
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if error.status in (429, 503, 507):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return JSONResponse(body, error.status, headers, PROBLEM)


async def context_of(request: Request) -> Any:  # plain functions would wait for a thread
    """The service's own `Context`, for routes: `context: Annotated[TriageContext, Depends(context_of)]`."""
    return request.app.state.context


class Edge:
    """The outermost layer: names the service in logs, bounds the body, and makes the server span (no query in it)."""

    def __init__(self, app: Any, runtime: Runtime) -> None:
        self.app, self.runtime = app, runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        current_service.set(self.runtime.service.name)
        bounded = not scope["path"].startswith(self.runtime.service.streams or ("\0",))
        inner = limited(receive) if bounded else receive
        if scope["path"] in ("/livez", "/readyz"):
            await self.app(scope, inner, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "HTTP"
        with self.runtime.telemetry.span(method, SpanKind.SERVER, trace_of(scope)) as span:
            scope[TRACE] = f"{span.get_span_context().trace_id:032x}"
            span.set_attribute("http.request.method", method if method in METHODS else "_OTHER")
            await self.app(scope, inner, send)
            route = getattr(scope.get("route"), "path", None)
            if route:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)


def trace_of(scope: Scope) -> Context:
    """The caller's trace by its id alone: a `tracestate` is free text, which would travel on to hospitals."""
    headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
    return PROPAGATOR.extract({"traceparent": headers.get(b"traceparent", "")})


def limited(receive: Receive) -> Receive:
    """A body that ends in `TooLarge` once it passes `BODY_LIMIT` bytes."""
    seen = 0

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > BODY_LIMIT:
            raise TooLarge(f"a request body here is at most {BODY_LIMIT} bytes")
        return message

    return bounded
