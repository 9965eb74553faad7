"""Reports on their way back to the clinic, to a receiver that verifies with the reference library."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from radrelay_notification.main import SERVICE
from radrelay_shared.events import Priority, ReportDelivered, ReportFinalized, ReportUndelivered, StudyQuarantined
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import client, deliver, running, until

IDENTITY = {
    "study": "st-1",
    "site": "north",
    "patient": {"name": "DOE^JANE^Q", "id": "123456", "issuer": "HOSP_A", "birth_date": "19800101", "sex": "F"},
    "accession_number": "ACC123",
    "study_instance_uid": "1.2.840.1",
}
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
REPORT = {"resourceType": "DiagnosticReport", "status": "final", "conclusion": "Acute subdural haematoma."}


@dataclass
class Hospital:
    """A clinic's receiver and, on the same port, RadRelay's vault."""

    answers: list[int] = field(default_factory=list)
    vault_answers: list[int] = field(default_factory=list)
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    async def webhook(self, request: web.Request) -> web.Response:
        self.received.append((dict(request.headers), await request.read()))
        status = self.answers.pop(0) if self.answers else 204
        return web.Response(status=status, headers={"Location": f"{self.url}/elsewhere"})

    async def vault(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers["Authorization"])
        status = self.vault_answers.pop(0) if self.vault_answers else 200
        return web.json_response(IDENTITY, status=status)


@pytest.fixture
async def hospital() -> AsyncIterator[Hospital]:
    here = Hospital()
    app = web.Application()
    app.router.add_post("/hook", here.webhook)
    app.router.add_post("/elsewhere", here.webhook)
    app.router.add_post("/vault/reidentify", here.vault)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    here.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield here
    await runner.cleanup()


def settings(hospital: Hospital, **more: Any) -> dict[str, Any]:
    return {
        "vault_url": hospital.url,
        "vault_api_key": "rrk_notification.secret",
        "webhook_allow_networks": ["127.0.0.0/8"],
        "retry_scale": 0.001,
        **more,
    }


async def registered(runtime: Runtime, url: str) -> str:
    async with client(runtime, Role.OPERATOR) as http:
        answer = await http.post("/webhooks/endpoints", json={"site": "north", "url": url})
    assert answer.status_code == 201
    secret: str = answer.json()["secret"]
    return secret


async def finalized(runtime: Runtime, version: int = 1) -> None:
    content = json.dumps(REPORT).encode()
    await runtime.context.blobs.put("reports/st-1/0001.json", content)
    event = ReportFinalized(
        site="north", study="st-1", priority=Priority.STAT, report="rp-1", version=version, workitem="wi-1",
        radiologist="dr", content="reports/st-1/0001.json", sha256=sha256(content).hexdigest(),
    )  # fmt: skip
    await deliver(runtime, event)


async def test_the_clinic_verifies_the_signature_and_reads_its_patients_own_name(
    hospital: Hospital, tmp_path: Path
) -> None:
    async with running(SERVICE, tmp_path, **settings(hospital)) as (runtime, downstream):
        secret = await registered(runtime, f"{hospital.url}/hook")
        await finalized(runtime)
        await downstream.told(ReportDelivered)
    [(headers, body)] = hospital.received
    payload = Webhook(secret).verify(body, {key.lower(): value for key, value in headers.items()})
    assert payload["type"] == "report.finalized"
    report = payload["data"]
    assert report["contained"][0]["name"] == [{"text": "JANE Q DOE", "family": "DOE", "given": ["JANE", "Q"]}]
    assert report["contained"][0]["birthDate"] == "1980-01-01"
    assert report["basedOn"][0]["identifier"]["value"] == "ACC123"
    assert report["conclusion"] == "Acute subdural haematoma."
    assert hospital.asked == ["Bearer rrk_notification.secret"]


async def test_a_report_whose_event_comes_twice_is_sent_once(hospital: Hospital, tmp_path: Path) -> None:
    async with running(SERVICE, tmp_path, **settings(hospital)) as (runtime, downstream):
        await registered(runtime, f"{hospital.url}/hook")
        await finalized(runtime)
        await downstream.told(ReportDelivered)
        await finalized(runtime)
        async with client(runtime, Role.OPERATOR) as http:
            [delivery] = (await http.get("/webhooks/deliveries")).json()
    assert (delivery["state"], len(delivery["attempts"])) == ("delivered", 1)
    assert len(hospital.received) == 1


async def test_failures_are_retried_with_the_same_id_until_the_clinic_answers(
    hospital: Hospital, tmp_path: Path
) -> None:
    hospital.answers = [500, 302, 429]
    async with running(SERVICE, tmp_path, **settings(hospital)) as (runtime, downstream):
        await registered(runtime, f"{hospital.url}/hook")
        await finalized(runtime)
        await downstream.told(ReportDelivered)
    assert len(hospital.received) == 4
    assert len({headers["webhook-id"] for headers, _ in hospital.received}) == 1
    assert downstream.of(ReportDelivered)[0].attempts == 4


async def test_retries_go_on_after_a_restart(hospital: Hospital, tmp_path: Path) -> None:
    hospital.answers = [503]
    async with running(SERVICE, tmp_path, clock=lambda: NOON, **settings(hospital)) as (runtime, _):
        await registered(runtime, f"{hospital.url}/hook")
        await finalized(runtime)
        await until(lambda: hospital.received)
    async with running(SERVICE, tmp_path, clock=lambda: NOON + timedelta(minutes=1), **settings(hospital)) as (
        _,
        downstream,
    ):
        await downstream.told(ReportDelivered)
    assert len(hospital.received) == 2


async def test_an_endpoint_that_answers_gone_is_disabled_and_its_report_can_be_seen_as_undelivered(
    hospital: Hospital, tmp_path: Path
) -> None:
    hospital.answers = [410]
    async with running(SERVICE, tmp_path, **settings(hospital)) as (runtime, downstream):
        await registered(runtime, f"{hospital.url}/hook")
        await finalized(runtime)
        await downstream.told(ReportUndelivered)
        async with client(runtime, Role.SITE, sites=("north",)) as http:
            [endpoint] = (await http.get("/webhooks/endpoints")).json()
            [delivery] = (await http.get("/webhooks/deliveries", params={"study": "st-1"})).json()
    assert endpoint["disabled"] == "it answered 410 Gone"
    assert "secret" not in endpoint
    assert delivery["state"] == "failed"
    assert "JANE" not in json.dumps(delivery)


async def test_a_vault_that_is_away_postpones_without_counting_an_attempt(hospital: Hospital, tmp_path: Path) -> None:
    hospital.vault_answers = [503, 401]
    async with running(SERVICE, tmp_path, **settings(hospital)) as (runtime, downstream):
        await registered(runtime, f"{hospital.url}/hook")
        await finalized(runtime)
        await downstream.told(ReportDelivered)
    assert downstream.of(ReportDelivered)[0].attempts == 1


async def test_an_operator_resends_what_arrived_and_the_id_stays(hospital: Hospital, tmp_path: Path) -> None:
    async with running(SERVICE, tmp_path, **settings(hospital)) as (runtime, downstream):
        await registered(runtime, f"{hospital.url}/hook")
        await finalized(runtime)
        await downstream.told(ReportDelivered)
        async with client(runtime, Role.OPERATOR) as http:
            answer = await http.post(f"/webhooks/deliveries/{downstream.of(ReportDelivered)[0].webhook_id}/resend")
        assert answer.status_code == 202
        await downstream.told(ReportDelivered, 2)
    assert len({headers["webhook-id"] for headers, _ in hospital.received}) == 1
    assert len(hospital.received) == 2


async def test_a_private_address_is_not_called_unless_the_operator_allows_its_network(
    hospital: Hospital, tmp_path: Path
) -> None:
    closed = settings(hospital, webhook_allow_networks=[], retry_scale=1e-6)
    async with running(SERVICE, tmp_path, **closed) as (runtime, downstream):
        await registered(runtime, f"{hospital.url}/hook")
        await finalized(runtime)
        await downstream.told(ReportUndelivered)
        async with client(runtime, Role.OPERATOR) as http:
            [delivery] = (await http.get("/webhooks/deliveries")).json()
    assert hospital.received == []
    assert "private or special" in delivery["attempts"][0]["problem"]


async def test_a_clinic_cannot_see_or_resend_what_belongs_to_another(hospital: Hospital, tmp_path: Path) -> None:
    async with running(SERVICE, tmp_path, **settings(hospital)) as (runtime, downstream):
        await registered(runtime, f"{hospital.url}/hook")
        await finalized(runtime)
        await downstream.told(ReportDelivered)
        webhook_id = downstream.of(ReportDelivered)[0].webhook_id
        async with client(runtime, Role.SITE, sites=("south",)) as http:
            assert (await http.get("/webhooks/deliveries")).json() == []
            assert (await http.get(f"/webhooks/deliveries/{webhook_id}")).status_code == 404
            assert (await http.post(f"/webhooks/deliveries/{webhook_id}/resend")).status_code == 404
            south = {"site": "north", "url": "https://clinic.example/hook"}
            assert (await http.post("/webhooks/endpoints", json=south)).status_code == 404


async def test_a_clinic_hears_that_its_study_is_in_quarantine_and_which_one(hospital: Hospital, tmp_path: Path) -> None:
    async with running(SERVICE, tmp_path, **settings(hospital)) as (runtime, _):
        secret = await registered(runtime, f"{hospital.url}/hook")
        await deliver(runtime, StudyQuarantined(site="north", study="st-1", reasons=("burned-in",), instances=3))
        await until(lambda: hospital.received)
    [(headers, body)] = hospital.received
    payload = Webhook(secret).verify(body, {key.lower(): value for key, value in headers.items()})
    assert payload["data"] == {"study": "st-1", "reasons": ["burned-in"], "accession_number": "ACC123"}


@pytest.mark.parametrize(
    "url",
    ["ftp://clinic.example/", "https://user:pw@clinic.example/", "https:///nohost", "https://clinic.example/#part"],
)
async def test_an_address_that_is_no_plain_web_address_is_refused(url: str, hospital: Hospital, tmp_path: Path) -> None:
    async with running(SERVICE, tmp_path, **settings(hospital)) as (runtime, _), client(runtime, Role.OPERATOR) as http:
        answer = await http.post("/webhooks/endpoints", json={"site": "north", "url": url})
    assert answer.status_code == 422
    assert "body.url" in answer.json()["detail"]
