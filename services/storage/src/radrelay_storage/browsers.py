"""Which web pages may read what their user may see (CORS, Fetch §3.2)."""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from radrelay_storage.settings import StorageSettings

SENT = ("Authorization", "X-API-Key", "If-None-Match", "Content-Type", "Range", "If-Range")
SEEN = ("ETag", "Warning", "Accept-Ranges", "Content-Range")


def browsers(settings: StorageSettings) -> list[Middleware]:
    """Pages of the configured origins, and of no others."""
    if not settings.viewer_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.viewer_origins,
            allow_methods=("GET", "POST"),
            allow_headers=SENT,
            expose_headers=SEEN,
            max_age=600,
        )
    ]
