"""The HTTP edge: every error is a problem document (RFC 9457) that quotes nobody, and bodies are bounded."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict

from radrelay_shared.errors import Conflict, Full, Invalid, NotFound, RadRelayError, Refused, TooLarge, Unreachable
from radrelay_shared.security import Operator, Role
from radrelay_shared.service import Service
from radrelay_shared.telemetry import JsonLines
from radrelay_shared.testing import client, running

MIB = 1 << 20
router = APIRouter()
ERRORS: dict[str, Exception] = {
    "conflict": Conflict("study st-1 changed"),
    "full": Full("no room for st-1"),
    "unreachable": Unreachable("the vault is away"),
    "invalid": Invalid("no modality"),
    "toolarge": TooLarge("at most 4 GiB"),
    "notfound": NotFound("there is no study for you here"),
    "refused": Refused("st-1 is signed"),
    "radrelayerror": RadRelayError("odd"),
    "value": ValueError("DOE^JANE"),
    "key": KeyError("DOE^JANE"),
}


class Patient(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: int
    birth_date: int


@router.post("/patients")
async def patients(_: Operator, patient: Patient, limit: Annotated[int, Query(le=10)] = 1) -> int:
    return patient.name + limit


@router.get("/errors/{name}")
async def errors(_: Operator, name: str) -> None:
    raise ERRORS[name]


@router.post("/bodies")
async def bodies(_: Operator, request: Request) -> int:
    return len(await request.body())


@router.post("/streams")
async def streams(_: Operator, request: Request) -> int:
    return sum([len(piece) async for piece in request.stream()])


SERVICE = Service("tiny", {}, (), routers=(router,), streams=("/streams",))


@asynccontextmanager
async def asking(folder: Path) -> AsyncIterator[httpx2.AsyncClient]:
    async with running(SERVICE, folder) as (runtime, _), client(runtime, Role.OPERATOR) as http:
        yield http


def problem(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == answer.status_code
    assert re.fullmatch(r"urn:radrelay:trace:[0-9a-f]{32}", found.pop("instance"))  # never the path
    return found


async def test_a_wrong_field_is_named_and_its_value_is_not_repeated(tmp_path: Path) -> None:
    async with asking(tmp_path) as http:
        answer = await http.post("/patients", params={"limit": "DOE"}, json={"name": "DOE^JANE"})
    assert problem(answer) == {
        "type": "urn:radrelay:problem:invalid",
        "title": "The input is not valid",
        "status": 422,
        "detail": "check these fields: body.birth_date, body.name, query.limit",
    }


async def test_what_is_not_json_is_not_repeated_either(tmp_path: Path) -> None:
    async with asking(tmp_path) as http:
        headers = {"Content-Type": "application/json"}
        answer = await http.post("/patients", content=b'{"name": DOE^JANE', headers=headers)
    assert problem(answer)["status"] == 422
    assert "DOE" not in answer.text


@pytest.mark.parametrize(
    ("name", "status", "title", "retry_after"),
    [
        ("conflict", 409, "Someone else changed this first", None),
        ("full", 507, "No room left", "5"),
        ("unreachable", 503, "A part of RadRelay cannot be reached", "5"),
        ("invalid", 422, "The input is not valid", None),
        ("toolarge", 413, "Too large", None),
        ("notfound", 404, "Not found", None),
        ("refused", 409, "Not possible in the present state", None),
        ("radrelayerror", 500, "Something went wrong inside RadRelay", None),
    ],
)
async def test_our_own_errors_say_what_happened_and_when_to_come_again(
    tmp_path: Path, name: str, status: int, title: str, retry_after: str | None
) -> None:
    async with asking(tmp_path) as http:
        answer = await http.get(f"/errors/{name}")
    assert problem(answer) == {
        "type": f"urn:radrelay:problem:{name}",
        "title": title,
        "status": status,
        "detail": str(ERRORS[name]),
    }
    assert answer.headers.get("retry-after") == retry_after


@pytest.mark.parametrize("name", ["value", "key"])
async def test_a_foreign_error_is_neither_quoted_to_the_caller_nor_in_the_log(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        async with asking(tmp_path) as http:
            answer = await http.get(f"/errors/{name}")
    assert problem(answer)["title"] == "Something went wrong inside RadRelay"
    assert answer.status_code == 500
    logged = [JsonLines().format(record) for record in caplog.records if record.name == "radrelay.http"]
    assert len(logged) == 1
    assert "DOE" not in answer.text + "".join(logged)


async def test_an_unknown_path_is_a_problem_document(tmp_path: Path) -> None:
    async with asking(tmp_path) as http:
        found = problem(await http.get("/nowhere"))
    assert found == {
        "type": "urn:radrelay:problem:notfound",
        "title": "Not found",
        "status": 404,
        "detail": "nothing answers under this path",
    }


async def test_a_wrong_method_is_told_the_right_one(tmp_path: Path) -> None:
    async with asking(tmp_path) as http:
        answer = await http.delete("/bodies")
    assert (problem(answer)["status"], answer.headers["allow"]) == (405, "POST")


async def pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65_536):
        yield b" " * 65_536
    yield b" " * (size % 65_536)


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/bodies", MIB, 200),
        ("/bodies", MIB + 1, 413),
        ("/patients", MIB + 1, 413),
        ("/streams", MIB + 1, 200),
        ("/streams", 5 * MIB, 200),
    ],
)
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_of_more_than_a_mebibyte_is_refused_unless_its_route_streams(
    tmp_path: Path, path: str, size: int, status: int, *, chunked: bool
) -> None:
    async with asking(tmp_path) as http:
        headers = {"Content-Type": "application/json"}
        answer = await http.post(path, content=pieces(size) if chunked else b" " * size, headers=headers)
    assert answer.status_code == status
    if status == 413:
        assert problem(answer)["detail"] == "a request body here is at most 1048576 bytes"
    else:
        assert answer.json() == size


async def test_the_openapi_document_is_complete_and_for_callers_who_are_known(tmp_path: Path) -> None:
    async with running(SERVICE, tmp_path) as (runtime, _), client(runtime, Role.SITE) as http:
        document = (await http.get("/openapi/tiny.json")).json()
        del http.headers["authorization"]
        assert (await http.get("/openapi/tiny.json")).status_code == 401
    assert document["info"]["title"] == "RadRelay tiny"
    assert set(document["paths"]) == {
        *("/livez", "/readyz", "/patients", "/errors/{name}", "/bodies", "/streams"),
        *("/ops/tiny/dead-letters", "/ops/tiny/dead-letters/replay", "/ops/tiny/dead-letters/{message_id}/replay"),
    }
