"""Who asks with a viewer's link or session: known in front of the routes, which then ask as they always do."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.requests import Request

from radrelay_shared.errors import Unauthenticated
from radrelay_shared.http import Receive, Scope, Send
from radrelay_shared.security import ADMITTED
from radrelay_storage.viewers.tokens import PREFIX, Claims, Use, opened

COOKIE = "radrelay_viewer"
SESSIONS = "/viewers/sessions"
IMAGES = "/dicom-web/"
CLAIMS = "radrelay.viewer"  # in the ASGI scope


class ViewerSessions:
    """ASGI middleware. A link opens `SESSIONS` only, a session reads `IMAGES` only; a browser keeps it in a cookie."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (claims := admitted(Request(scope))):
            scope[CLAIMS], scope[ADMITTED] = claims, claims.principal
        await self.app(scope, receive, send)


def admitted(request: Request) -> Claims | None:
    """The claims that were presented and are good for this path; None leaves the request to the other credentials."""
    path, context = request.url.path, request.app.state.context
    use = Use.LINK if path == SESSIONS else Use.SESSION if path.startswith(IMAGES) else None
    token = presented(request)
    if use is None or token is None or context.viewer_key is None:
        return None
    try:
        return opened(token, use, context.viewer_key, context.clock())
    except Unauthenticated:
        return None


def presented(request: Request) -> str | None:
    """A viewer's token: of the Authorization header, or if there are no other credentials of the cookie."""
    authorization = request.headers.get("authorization")
    if authorization is not None or "x-api-key" in request.headers:
        scheme, _, token = (authorization or "").partition(" ")
        return token if scheme.lower() == "bearer" and token.startswith(PREFIX) else None
    try:
        cookie = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie and cookie.value.startswith(PREFIX) else None
