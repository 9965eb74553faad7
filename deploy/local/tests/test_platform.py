"""All services in one process: starts, answers, stops, and starts again where it was."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from radrelay.client import Client, Problem
from radrelay.demo import deliver
from radrelay.platform import Platform
from radrelay.samples import SAMPLES
from radrelay_shared.errors import RadRelayError
from radrelay_shared.security import Role
from radrelay_shared.testing import until
from servers import free_ports

Starting = Callable[[Path], AbstractAsyncContextManager[Platform]]
CLOSED = (
    "/status",
    "/ingest/studies",
    "/vault/quarantine",
    "/dicom-web/studies",
    "/triage/studies/st-1",
    "/worklist",
    "/reports/st-1",
    "/webhooks/endpoints",
    "/ops/ingest/dead-letters",
    "/openapi/triage.json",
)
CERVICAL_SPINE = next(sample for sample in SAMPLES if sample.accession == "SAG-4001")


def base(platform: Platform) -> str:
    return f"http://127.0.0.1:{platform.http_port}"


def caller(platform: Platform, role: Role, *sites: str) -> Client:
    return Client(base(platform), platform.keys.token("test", {role}, set(sites) or {"*"}))


async def get(platform: Platform, path: str) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        return await http.get(base(platform) + path)


async def test_it_is_ready_once_it_has_started(platform: Platform) -> None:
    await until(lambda: is_ready(platform))  # a disk that stalls answers late
    assert (await get(platform, "/livez")).json() == {"status": "alive"}


async def is_ready(platform: Platform) -> bool:
    answer: dict[str, Any] = (await get(platform, "/readyz")).json()
    return answer == {"status": "ready"}


async def test_nobody_sees_anything_without_a_credential(platform: Platform) -> None:
    answers = {path: await get(platform, path) for path in CLOSED}
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(CLOSED, 401)
    assert {answer.headers["content-type"] for answer in answers.values()} == {"application/problem+json"}


async def test_the_board_is_for_those_who_run_it(platform: Platform) -> None:
    assert await caller(platform, Role.OPERATOR).call("GET", "/status") == []
    with pytest.raises(Problem) as refused:
        await caller(platform, Role.RADIOLOGIST).call("GET", "/status")
    assert refused.value.status == 403


async def test_an_unknown_path_gets_a_problem_document(platform: Platform) -> None:
    for path in ("/", "/statusx", "/no/such/thing"):
        answer = await get(platform, path)
        assert (answer.status_code, answer.json()["detail"]) == (404, "no service answers under this path")
        assert answer.headers["content-type"] == "application/problem+json"


async def test_everything_it_keeps_is_in_a_folder_of_its_owners_own(platform: Platform) -> None:
    assert platform.folder.stat().st_mode & 0o777 == 0o700


async def test_a_study_outlives_a_restart(tmp_path: Path, starting: Starting) -> None:
    async with starting(tmp_path / "data") as first:
        operator, clinic = caller(first, Role.OPERATOR), caller(first, Role.SITE, "sagebrush")
        site = {"name": "Sagebrush", "jurisdiction": "US-WY", "quiet_seconds": 0.1, "stat_quiet_seconds": 0.1}
        await operator.call("PUT", "/ingest/sites/sagebrush", json=site)
        await asyncio.to_thread(deliver, CERVICAL_SPINE, list(CERVICAL_SPINE.datasets()), clinic, first.dicom_port)
        [before] = await stored(operator)
    async with starting(tmp_path / "data") as second:
        operator = caller(second, Role.OPERATOR)
        [after] = await operator.call("GET", "/status")
        [received] = await operator.call("GET", "/ingest/studies")
        [found] = await operator.call("GET", "/dicom-web/studies")
    assert (after["study"], after["stages"]["study.stored"]) == (before["study"], before["stages"]["study.stored"])
    assert received["study"] == before["study"]
    assert found["00201208"]["Value"] == [3]  # Number of Study Related Instances


async def stored(operator: Client) -> list[dict[str, Any]]:
    """The board's rows once the study is stored."""

    async def rows() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await operator.call("GET", "/status")
        return [each for each in found if "study.stored" in each["stages"]]

    found: list[dict[str, Any]] = await until(rows)
    return found


@pytest.mark.parametrize("which", ["http_port", "dicom_port"])
async def test_a_port_that_is_taken_is_named_before_anything_starts(tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = dict(zip(("http_port", "dicom_port"), free_ports(2), strict=True)) | {which: port}
        platform = Platform(tmp_path / "data", **ports)
        with pytest.raises(RadRelayError, match=f"127.0.0.1:{port} cannot be listened on .*running already"):
            await platform.start()
    assert not platform.folder.exists()
