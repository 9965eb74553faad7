"""The OHIF viewer's files under `/viewer`: public, for they know no study; what they show, storage decides."""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Mount, Router
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PATH = "/viewer"
GUARDED = {
    "Content-Security-Policy": "default-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'none'",  # the page speaks to us alone
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Pages(StaticFiles):
    """A single-page application: a path that is no file is one of its own pages."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or "." in Path(path).name:  # noqa: PLR2004  a missing file stays missing
                raise
            response = await super().get_response("index.html", scope)
        response.headers.update(GUARDED)
        return response


def viewer_app(folder: Path) -> Router:
    return Router([Mount(PATH, Pages(directory=folder, html=True))])
