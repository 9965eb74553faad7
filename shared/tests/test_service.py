"""The run loop: what a failure means, what an operator can do about it, and how a process ends."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI

from radrelay_shared.envelope import Envelope, wrap
from radrelay_shared.errors import Conflict, Forbidden, Full, Invalid, NotFound, Refused, TooLarge, Unreachable
from radrelay_shared.events import OrderReceived, StudyStored
from radrelay_shared.ports import Ack, Dead, Delivery, Message, Retry
from radrelay_shared.security import Role
from radrelay_shared.service import Context, Service, warm
from radrelay_shared.telemetry import JsonLines
from radrelay_shared.testing import PATIENCE_SECONDS, api_keys_file, client, deliver, running, until
from servers import accepts, free_ports

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TINY = Path(__file__).with_name("tiny_service.py")
ORDER = OrderReceived(site="clinic-a", order="or-1", jurisdiction="US-MT")


class Limit(int):
    """A parameter of a route; counts how often FastAPI had to find out what it is."""

    analysed = 0

    @classmethod
    def __get_pydantic_core_schema__(cls, _: object, handler: Callable[[type], Any]) -> Any:
        cls.analysed += 1
        return handler(int)


def service(*raised: BaseException | None) -> Service:
    """Fails its deliveries with these errors in turn, and handles those that have none."""
    outcomes = list(raised)

    async def on_order_received(_: Envelope[OrderReceived], __: Context[Any]) -> None:
        error = outcomes.pop(0) if outcomes else None
        if error is not None:
            raise error

    return Service("tiny", {OrderReceived: on_order_received}, ())


def delivery(attempt: int = 1) -> Delivery:
    return Delivery(wrap(ORDER, service="test", at=NOON, sequence=1).message, attempt)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (None, Ack()),
        (Unreachable("the vault is away"), Retry(timedelta(seconds=5), "Unreachable: the vault is away")),
        (Conflict("orders/or-1 changed"), Retry(timedelta(seconds=5), "Conflict: orders/or-1 changed")),
        (Full("no room"), Retry(timedelta(seconds=5), "Full: no room")),
        (Invalid("no modality"), Dead("Invalid: no modality")),
        (TooLarge("5 GiB"), Dead("TooLarge: 5 GiB")),
        (NotFound("no such study"), Dead("NotFound: no such study")),
        (Forbidden("not your study"), Dead("Forbidden: not your study")),
        (Refused("already signed"), Dead("Refused: already signed")),
        (ValueError("DOE^JANE"), Retry(timedelta(seconds=5), "ValueError: an error inside RadRelay")),
        (KeyError("DOE^JANE"), Retry(timedelta(seconds=5), "KeyError: an error inside RadRelay")),
        (TimeoutError("DOE^JANE"), Retry(timedelta(seconds=5), "TimeoutError: an error inside RadRelay")),
        (RecursionError("DOE^JANE"), Retry(timedelta(seconds=5), "RecursionError: an error inside RadRelay")),
    ],
)
async def test_what_an_error_means_for_the_delivery(
    tmp_path: Path, error: Exception | None, verdict: Ack | Retry | Dead
) -> None:
    async with running(service(error), tmp_path) as (runtime, _):
        assert await runtime.consume(delivery()) == verdict


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 5), (2, 30), (3, 120), (4, 600), (5, 3600)])
@pytest.mark.parametrize("scale", [1.0, 0.01])
async def test_each_attempt_waits_longer_than_the_one_before(
    tmp_path: Path, attempt: int, seconds: int, scale: float
) -> None:
    async with running(service(Unreachable("away")), tmp_path, retry_scale=scale) as (runtime, _):
        verdict = await runtime.consume(delivery(attempt))
        assert verdict == Retry(timedelta(seconds=seconds) * scale, "Unreachable: away")


@pytest.mark.parametrize("attempt", [6, 7])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unreachable("away"), "Unreachable: away"),
        (ValueError("DOE^JANE"), "ValueError: an error inside RadRelay"),
    ],
)
async def test_after_the_last_tier_it_is_set_aside(tmp_path: Path, attempt: int, error: Exception, reason: str) -> None:
    async with running(service(error), tmp_path) as (runtime, _):
        assert await runtime.consume(delivery(attempt)) == Dead(reason)


@pytest.mark.parametrize(
    "message",
    [
        Message("m-1", OrderReceived.type, urgent=False, body=b"not json"),
        Message("m-1", OrderReceived.type, urgent=False, body=b"\xff\x00"),
        Message("m-1", OrderReceived.type, urgent=False, body=b'{"specversion": "1.0", "data": "DOE^JANE"}'),
        Message("m-1", "radrelay.study.forgotten.v1", urgent=False, body=b"{}"),
        replace(delivery().message, type=StudyStored.type),
    ],
    ids=["not JSON", "not text", "not an event", "unknown type", "another type than its body"],
)
async def test_what_is_no_event_is_set_aside_at_once(tmp_path: Path, message: Message) -> None:
    async with running(service(), tmp_path) as (runtime, _):
        verdict = await runtime.consume(Delivery(message, 1))
    assert isinstance(verdict, Dead)
    assert verdict.reason.startswith("Invalid: not an event that tiny understands")
    assert "DOE" not in verdict.reason


async def test_a_handler_that_hangs_is_cancelled_and_tried_again(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def on_order_received(_: Envelope[OrderReceived], __: Context[Any]) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    hanging = Service("tiny", {OrderReceived: on_order_received}, ())
    async with running(hanging, tmp_path, handler_seconds=0.05) as (runtime, _):
        verdict = await runtime.consume(delivery())
    assert verdict == Retry(timedelta(seconds=5), "TimeoutError: an error inside RadRelay")
    assert ended.is_set()


@pytest.mark.parametrize("attempt", [1, 6])
async def test_the_log_says_which_error_but_not_its_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, attempt: int
) -> None:
    """A foreign error may quote a patient's name; a message of ours never does."""
    with caplog.at_level(logging.WARNING):
        async with running(service(ValueError("DOE^JANE"), Unreachable("the vault is away")), tmp_path) as (runtime, _):
            await runtime.consume(delivery(attempt))
            await runtime.consume(delivery(attempt))
    lines = [JsonLines().format(record) for record in caplog.records if record.name == "radrelay.service"]
    foreign, ours = (json.loads(line)["error"] for line in lines)
    assert foreign.startswith("ValueError at on_order_received:")
    assert ours.startswith("Unreachable: the vault is away at on_order_received:")
    assert "DOE" not in "".join(lines)


async def test_a_failed_delivery_comes_again_until_it_is_handled(tmp_path: Path) -> None:
    failing = service(Unreachable("away"), ValueError("odd"), None)
    async with running(failing, tmp_path, retry_scale=0.001) as (runtime, _), client(runtime, Role.OPERATOR) as http:
        await deliver(runtime, ORDER)
        assert (await http.get("/ops/tiny/dead-letters")).json() == []


async def test_an_operator_sees_why_an_event_was_set_aside_and_replays_it(tmp_path: Path) -> None:
    failing = service(Invalid("no modality"), Invalid("no modality"), Invalid("still none"))
    async with running(failing, tmp_path) as (runtime, _), client(runtime, Role.OPERATOR) as http:
        await deliver(runtime, ORDER)
        await deliver(runtime, ORDER)
        first, second = (await http.get("/ops/tiny/dead-letters")).json()
        assert {name: first[name] for name in first if name != "id"} == {
            "type": "radrelay.order.received.v1",
            "urgent": False,
            "service": "tiny",
            "reason": "Invalid: no modality",
            "attempts": 1,
        }
        assert (await http.post(f"/ops/tiny/dead-letters/{first['id']}/replay")).json() == {"replayed": 1}
        await until(lambda: failed_again(http))
        assert await letters(http) == {first["id"]: "Invalid: still none", second["id"]: "Invalid: no modality"}
        assert (await http.post("/ops/tiny/dead-letters/replay")).json() == {"replayed": 2}
        await until(lambda: none_left(http))
        assert (await http.post("/ops/tiny/dead-letters/replay")).json() == {"replayed": 0}


async def letters(http: httpx2.AsyncClient) -> dict[str, str]:
    """The reasons by id."""
    return {each["id"]: each["reason"] for each in (await http.get("/ops/tiny/dead-letters")).json()}


async def failed_again(http: httpx2.AsyncClient) -> bool:
    return "Invalid: still none" in (await letters(http)).values()


async def none_left(http: httpx2.AsyncClient) -> bool:
    return not await letters(http)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.OPERATOR])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/ops/tiny/dead-letters"),
        ("POST", "/ops/tiny/dead-letters/replay"),
        ("POST", "/ops/tiny/dead-letters/1/replay"),
    ],
)
async def test_dead_letters_are_for_operators_only(tmp_path: Path, role: Role, method: str, path: str) -> None:
    async with running(service(), tmp_path) as (runtime, _), client(runtime, role) as http:
        assert (await http.request(method, path)).status_code == 403


async def test_a_service_is_alive_and_ready_for_anybody_who_asks(tmp_path: Path) -> None:
    async with running(service(), tmp_path) as (runtime, _), client(runtime) as http:
        del http.headers["authorization"]
        assert (await http.get("/livez")).json() == {"status": "alive"}
        ready = await until(lambda: answered(http, "/readyz"))  # a disk that stalls answers late
        assert ready.json() == {"status": "ready"}


async def answered(http: httpx2.AsyncClient, path: str) -> httpx2.Response | None:
    answer = await http.get(path)
    return answer if answer.is_success else None


async def test_whoever_asks_first_does_not_wait_for_what_is_done_at_the_start() -> None:
    async def lines(limit: Limit) -> int:
        return limit

    router = APIRouter()
    router.add_api_route("/lines", lines)
    app = FastAPI()
    app.include_router(router)
    before = Limit.analysed
    await warm(app)
    warmed = Limit.analysed
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://tiny") as asking:
        assert (await asking.get("/lines", params={"limit": 3})).json() == 3
    assert before < warmed == Limit.analysed


async def test_it_is_alive_but_not_ready_without_its_bus(tmp_path: Path) -> None:
    async with running(service(), tmp_path) as (runtime, _), client(runtime) as http:
        assert runtime.bus is not None
        await runtime.bus.close()
        assert (await http.get("/livez")).status_code == 200
        answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "5"
    assert answer.json() == {
        "type": "urn:radrelay:problem:unreachable",
        "title": "A part of RadRelay cannot be reached",
        "status": 503,
        "detail": "the bus is draining",
    }


@pytest.mark.parametrize("how", ["ends by itself", "fails"])
async def test_a_service_whose_background_task_is_gone_does_not_go_on_in_silence(tmp_path: Path, how: str) -> None:
    async def sweep(_: Context[Any]) -> None:
        if how == "fails":
            raise OSError(28, "No space left on device")

    async with running(Service("tiny", {}, (), tasks=(sweep,)), tmp_path) as (runtime, _):
        await asyncio.wait_for(runtime.failed.wait(), PATIENCE_SECONDS)


async def test_what_a_service_adds_is_opened_before_and_closed_after_everything(tmp_path: Path) -> None:
    told: list[str] = []
    listening = asyncio.Event()

    class Wider(Context[Any]):
        async def open(self) -> None:
            told.append("open")

        async def close(self) -> None:
            await self.store.documents.healthy()
            told.append("close, and the documents still answer")

    async def listen(_: Context[Any]) -> None:
        told.append("listening")
        listening.set()
        await asyncio.Event().wait()

    async with running(Service("tiny", {}, (), context=Wider, tasks=(listen,)), tmp_path):
        await asyncio.wait_for(listening.wait(), PATIENCE_SECONDS)
    assert told == ["open", "listening", "close, and the documents still answer"]


@pytest.mark.parametrize("which", ["blobs", "originals"])
async def test_a_service_without_a_bucket_says_which_setting_is_missing(tmp_path: Path, which: str) -> None:
    async with running(service(), tmp_path, blobs_url=None, originals_url=None) as (runtime, _):
        with pytest.raises(Unreachable, match=f"RADRELAY_{which.upper()}_URL"):
            getattr(runtime.context, which)


# ── a process of its own ─────────────────────────────────────────────────────────────────────────────


class Process:
    """The tiny service in a process of its own, on SQLite and the memory bus."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        keys = api_keys_file(folder / "api-keys.yaml", op=({Role.OPERATOR}, {"*"}))
        [self.port] = free_ports(1)
        self.environment = {
            **os.environ,
            "RADRELAY_DOCUMENTS_URL": f"sqlite:///{folder / 'tiny.db'}",
            "RADRELAY_HTTP_PORT": str(self.port),
            "RADRELAY_API_KEYS_FILE": str(folder / "api-keys.yaml"),
            "RADRELAY_DRAIN_SECONDS": "60",
        }
        self.http = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"X-API-Key": keys["op"]},
            timeout=PATIENCE_SECONDS,
            trust_env=False,
        )

    @property
    def notes(self) -> Sequence[str]:
        file = self.folder / "notes"
        return file.read_text().splitlines() if file.exists() else []

    async def noted(self, *wanted: str) -> None:
        await until(lambda: list(self.notes[-len(wanted) :]) == list(wanted))

    async def ready(self) -> bool:
        try:
            return (await self.http.get("/readyz")).status_code == 200
        except httpx2.TransportError:
            return False

    def is_stopping(self) -> bool:
        """Whether it takes no new requests."""
        return not accepts(self.port)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.subprocess.Process]:
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, TINY, self.folder, env=self.environment, stderr=log
            )
        try:
            await until(self.ready)
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    made = Process(tmp_path)
    async with made.http:
        yield made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_finishes_the_event_it_has_begun(process: Process, number: signal.Signals) -> None:
    (process.folder / "wait").touch()
    async with process.running() as running_process:
        assert (await process.http.post("/tiny/orders")).json() == {"orders": 1}
        await process.noted("began or-1")
        running_process.send_signal(number)
        await until(process.is_stopping)
        assert running_process.returncode is None
        assert process.notes == ["began or-1"]
        (process.folder / "wait").unlink()
        assert await asyncio.wait_for(running_process.wait(), PATIENCE_SECONDS) == 0
    assert process.notes == ["began or-1", "handled or-1"]
    assert all(line["service"] == "triage" for line in process.lines())


async def test_told_to_stop_it_answers_the_request_it_has_begun(process: Process) -> None:
    (process.folder / "wait").touch()
    async with process.running() as running_process:
        asked = asyncio.create_task(process.http.post("/tiny/slow"))
        await process.noted("began a request")
        running_process.terminate()
        await until(process.is_stopping)
        (process.folder / "wait").unlink()
        answer = await asked
        assert (answer.status_code, answer.json()) == (200, {"done": 1})
        assert await asyncio.wait_for(running_process.wait(), PATIENCE_SECONDS) == 0


async def test_after_a_restart_it_publishes_what_it_had_stored(process: Process) -> None:
    """SIGKILL: nobody says goodbye, and what was answered is not lost."""
    (process.folder / "mute").touch()
    async with process.running() as first:
        assert (await process.http.post("/tiny/orders")).json() == {"orders": 1}
        first.kill()
        await first.wait()
    (process.folder / "mute").unlink()
    async with process.running() as second:
        await process.noted("began or-1", "handled or-1")
        second.terminate()
        assert await asyncio.wait_for(second.wait(), PATIENCE_SECONDS) == 0


async def test_an_event_whose_handler_was_killed_comes_again(process: Process) -> None:
    (process.folder / "wait").touch()
    async with process.running() as first:
        await process.http.post("/tiny/orders")
        await process.noted("began or-1")
        first.kill()
        await first.wait()
    (process.folder / "wait").unlink()
    async with process.running():
        await process.noted("began or-1", "began or-1", "handled or-1")
