"""What stands in front of storage's routes."""

from __future__ import annotations

from starlette.middleware import Middleware

from radrelay_storage.athand import AtHand
from radrelay_storage.browsers import browsers
from radrelay_storage.settings import StorageSettings
from radrelay_storage.viewers.session import ViewerSessions


def front(settings: StorageSettings) -> list[Middleware]:
    """Which web pages may read, then who comes with a viewer's link, then the short way to frames."""
    return [*browsers(settings), Middleware(ViewerSessions), Middleware(AtHand)]
