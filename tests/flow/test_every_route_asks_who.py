"""Every route of every service but health asks who is there, and tells nothing to those it does not know."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import iter_route_contexts
from starlette.applications import Starlette

from radrelay.board import BOARD
from radrelay.services import SERVICES
from radrelay_shared.service import Runtime
from radrelay_shared.testing import client, running, until

HEALTH = {"/livez", "/readyz"}
BY_NAME = {service.name: service for service in (*SERVICES, BOARD)}
every_service = pytest.mark.parametrize("name", BY_NAME)


@asynccontextmanager
async def started(name: str, folder: Path) -> AsyncIterator[Runtime]:
    wanted: dict[str, Any] = {
        "identity_key": "0123456789abcdef",
        "tenant_secret": "0123456789abcdef",
        "vault_key": base64.b64encode(bytes(32)).decode(),
        "spool": folder / "spool",
        "spool_spare_segments": 0,
        "dicom_host": "127.0.0.1",
        "dicom_port": 0,
    }
    service = BY_NAME[name]
    known = {key: value for key, value in wanted.items() if key in service.settings.model_fields}
    async with running(service, folder, **known) as (runtime, _):
        yield runtime


def requests(app: Starlette) -> set[tuple[str, str]]:
    """Every method and path that the app answers, with `x` for each parameter."""
    found = set()
    for route in iter_route_contexts(app.routes):
        if route.path is None or not route.methods:
            raise AssertionError(f"a route that this test cannot ask: {route}")
        found |= {(method, re.sub(r"{[^}]*}", "x", route.path)) for method in route.methods}
    return found


@asynccontextmanager
async def stranger(runtime: Runtime, **headers: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with client(runtime) as http:
        del http.headers["authorization"]
        http.headers.update(headers)
        yield http


@every_service
async def test_a_stranger_learns_nothing_but_that_the_service_is_alive(tmp_path: Path, name: str) -> None:
    async with started(name, tmp_path) as runtime, stranger(runtime) as http:
        asked = requests(runtime.app)
        assert {("GET", path) for path in HEALTH} <= asked
        assert len(asked) > 6
        for method, path in sorted(asked):
            if path in HEALTH:
                await until(partial(is_answered, http, method, path))  # a disk that stalls answers late
            else:
                answer = await http.request(method, path)
                assert (method, path, answer.status_code) == (method, path, 401)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert method == "HEAD" or answer.json()["type"] == "urn:radrelay:problem:unauthenticated"


async def is_answered(http: httpx2.AsyncClient, method: str, path: str) -> bool:
    return (await http.request(method, path)).status_code == 200


@every_service
@pytest.mark.parametrize(
    "credentials",
    [
        {"authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJvcCIsInJvbGVzIjpbIm9wZXJhdG9yIl19."},
        {"authorization": "Basic b3A6b3A="},
        {"x-api-key": "rrk_test.wrong"},
    ],
    ids=["unsigned token", "password", "wrong key"],
)
async def test_credentials_that_nobody_issued_open_no_route(
    tmp_path: Path, name: str, credentials: dict[str, str]
) -> None:
    async with started(name, tmp_path) as runtime, stranger(runtime, **credentials) as http:
        for method, path in sorted(requests(runtime.app)):
            if path not in HEALTH:
                answer = await http.request(method, path, json={})
                assert (method, path, answer.status_code) == (method, path, 401)


@every_service
async def test_a_caller_without_any_role_gets_nothing_but_the_interfaces_description(tmp_path: Path, name: str) -> None:
    async with started(name, tmp_path) as runtime, client(runtime) as http:
        for method, path in sorted(requests(runtime.app)):
            if path not in HEALTH | {f"/openapi/{name}.json"}:
                answer = await http.request(method, path, json={})
                assert (method, path, answer.status_code) == (method, path, 403)


@every_service
async def test_every_route_lies_under_a_path_that_the_ingress_sends_here(tmp_path: Path, name: str) -> None:
    async with started(name, tmp_path) as runtime:
        ours = (*runtime.service.paths, f"/ops/{name}", f"/openapi/{name}.json", *HEALTH)
        for _, path in requests(runtime.app):
            assert any(path == prefix or path.startswith(f"{prefix}/") for prefix in ours), path
