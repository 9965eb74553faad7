"""RadRelay over HTTP, for the command line, the demo and tests: problems become errors for people."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx2

PATIENCE_SECONDS = 30
NO_CONTENT = 204
NOT_NOW = 503


class Problem(Exception):
    """What the platform said, in its own words."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(f"{title}: {detail}" if detail else title)
        self.status = status


@dataclass(frozen=True)
class Client:
    """One caller. `base` is the ingress, or a table of path prefixes where services have addresses of their own."""

    base: str | Mapping[str, str]
    token: str

    async def call(self, method: str, path: str, **request: Any) -> Any:
        """The JSON answer (None for 204); raises `Problem`. "Not now" is asked again for a while."""
        async with httpx2.AsyncClient(timeout=PATIENCE_SECONDS, trust_env=False, verify=trusted()) as http:
            for pause in (0.05, 0.1, 0.2, 0.5, 1, 2, 4, None):
                answer = await self._send(http, method, path, request)
                if answer.status_code != NOT_NOW or pause is None:
                    break
                await asyncio.sleep(pause)
        if answer.is_success:
            return None if answer.status_code == NO_CONTENT else answer.json()
        raise problem_of(answer)

    async def _send(
        self, http: httpx2.AsyncClient, method: str, path: str, request: Mapping[str, Any]
    ) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            return await http.request(method, self.url(path), headers=headers, **request)
        except httpx2.TransportError as error:
            where = httpx2.URL(self.url(path)).netloc.decode()
            raise Problem(0, "RadRelay cannot be reached", f"nothing answers at {where}; is it running?") from error

    def url(self, path: str) -> str:
        """The address of a path, at the service that serves it."""
        if isinstance(self.base, str):
            return self.base.rstrip("/") + path
        prefix = max((each for each in self.base if path.startswith(each)), key=len)
        return self.base[prefix].rstrip("/") + path


@cache
def trusted() -> ssl.SSLContext:
    """The authorities that this machine trusts, read once: it takes longer than a call."""
    return httpx2.create_ssl_context(trust_env=False)


def problem_of(answer: httpx2.Response) -> Problem:
    """The problem document, or what can be said without one."""
    try:
        body = answer.json()
        return Problem(answer.status_code, str(body["title"]), str(body.get("detail", "")))
    except (ValueError, KeyError, TypeError):
        return Problem(answer.status_code, f"HTTP {answer.status_code}", "")
