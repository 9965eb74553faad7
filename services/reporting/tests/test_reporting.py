"""The reporting service as a radiologist and the other services meet it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from httpx2 import AsyncClient

from radrelay_reporting.domain import Status, Version
from radrelay_reporting.fhir import narrative
from radrelay_reporting.main import SERVICE
from radrelay_shared.aggregate import utc_now
from radrelay_shared.envelope import wrap
from radrelay_shared.events import (
    AssignmentClaimed,
    AssignmentReturned,
    Event,
    Priority,
    ReportAddended,
    ReportDelivered,
    ReportFinalized,
    ReportPreliminary,
    StudyStored,
)
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import Downstream, client, running

STUDY = "st-head-ct"
TEXT = {"findings": "Hyperdense crescent over the left convexity.", "impression": "Acute subdural haematoma."}
UNTIL = datetime(2026, 11, 22, 12, tzinfo=UTC)
FACTS = {
    "site": "north",
    "study": STUDY,
    "priority": Priority.STAT,
    "workitem": "wi-1",
    "study_instance_uid": "2.25.1",
    "radiologist": "dr-silva",
}


@pytest.fixture
async def reporting(tmp_path: Path) -> AsyncIterator[tuple[Runtime, Downstream]]:
    async with running(SERVICE, tmp_path) as up:
        yield up


async def say(runtime: Runtime, event: Event, sequence: int) -> None:
    assert runtime.bus
    await runtime.bus.publish(wrap(event, service="assignment", at=utc_now(), sequence=sequence).message)


async def claim(runtime: Runtime, subject: str = "key:dr-silva", sequence: int = 2) -> None:
    event = AssignmentClaimed.model_validate({**FACTS, "until": UNTIL, "radiologist": subject})
    await say(runtime, event, sequence)


def radiologist(runtime: Runtime, subject: str = "dr-silva", site: str = "north") -> AsyncClient:
    return client(runtime, Role.RADIOLOGIST, sites=(site,), subject=subject)


async def test_a_signed_report_reaches_the_next_service_with_its_content_and_hash(
    reporting: tuple[Runtime, Downstream],
) -> None:
    runtime, downstream = reporting
    await claim(runtime)
    async with radiologist(runtime) as http:
        assert (await http.put(f"/reports/{STUDY}", json=TEXT)).status_code == 200
        signed = await http.post(f"/reports/{STUDY}/sign")
    await runtime.relay.idle()
    assert signed.json()["status"] == "final"
    [event] = downstream.of(ReportFinalized)
    content = await runtime.context.blobs.read(event.content)
    assert sha256(content).hexdigest() == event.sha256
    resource = json.loads(content)
    assert resource["resourceType"] == "DiagnosticReport"
    assert resource["conclusion"] == "Acute subdural haematoma."
    assert "left convexity" in resource["text"]["div"]
    assert event.priority is Priority.STAT


async def test_preliminary_then_final_then_addendum_are_three_versions(reporting: tuple[Runtime, Downstream]) -> None:
    runtime, downstream = reporting
    await claim(runtime)
    async with radiologist(runtime) as http:
        await http.put(f"/reports/{STUDY}", json=TEXT)
        await http.post(f"/reports/{STUDY}/preliminary")
        await http.put(f"/reports/{STUDY}", json={**TEXT, "critical": True})
        await http.post(f"/reports/{STUDY}/sign")
        await http.post(f"/reports/{STUDY}/addendum", json={"text": "Compared with the study of May."})
        seen = (await http.get(f"/reports/{STUDY}")).json()
    await runtime.relay.idle()
    assert [each["version"]["status"] for each in seen["published"]] == ["preliminary", "final", "appended"]
    assert [downstream.of(kind)[0].version for kind in (ReportPreliminary, ReportFinalized, ReportAddended)] == [
        1,
        2,
        3,
    ]
    assert downstream.of(ReportFinalized)[0].critical


async def test_signing_twice_sends_one_report(reporting: tuple[Runtime, Downstream]) -> None:
    runtime, downstream = reporting
    await claim(runtime)
    async with radiologist(runtime) as http:
        await http.put(f"/reports/{STUDY}", json=TEXT)
        first, second = await http.post(f"/reports/{STUDY}/sign"), await http.post(f"/reports/{STUDY}/sign")
    await runtime.relay.idle()
    assert first.json() == second.json()
    assert len(downstream.of(ReportFinalized)) == 1


async def test_only_the_holder_of_the_claim_writes(reporting: tuple[Runtime, Downstream]) -> None:
    runtime, _ = reporting
    await claim(runtime)
    async with radiologist(runtime, "dr-other") as http:
        answer = await http.put(f"/reports/{STUDY}", json=TEXT)
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_radiologist_who_types_faster_than_the_claim_travels_is_asked_to_try_again(
    reporting: tuple[Runtime, Downstream],
) -> None:
    """The claim was granted by assignment a moment ago, and this is the first that reporting hears of the study."""
    runtime, _ = reporting
    async with radiologist(runtime) as http:
        early = await http.put(f"/reports/{STUDY}", json=TEXT)
        await claim(runtime)
        again = await http.put(f"/reports/{STUDY}", json=TEXT)
    assert (early.status_code, "retry-after" in early.headers, again.status_code) == (503, True, 200)


async def test_a_radiologist_of_another_site_finds_nothing(reporting: tuple[Runtime, Downstream]) -> None:
    runtime, _ = reporting
    await claim(runtime)
    async with radiologist(runtime, site="south") as http:
        assert (await http.put(f"/reports/{STUDY}", json=TEXT)).status_code == 404


async def test_a_lapsed_claim_takes_the_pen_away_and_a_late_claim_event_does_not_give_it_back(
    reporting: tuple[Runtime, Downstream],
) -> None:
    runtime, _ = reporting
    returned = AssignmentReturned.model_validate({**FACTS, "radiologist": "key:dr-silva", "reason": "lapsed"})
    await say(runtime, returned, 3)
    await claim(runtime)
    async with radiologist(runtime) as http:
        answer = await http.put(f"/reports/{STUDY}", json=TEXT)
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


async def test_a_signed_report_is_not_changed(reporting: tuple[Runtime, Downstream]) -> None:
    runtime, _ = reporting
    await claim(runtime)
    async with radiologist(runtime) as http:
        await http.put(f"/reports/{STUDY}", json=TEXT)
        await http.post(f"/reports/{STUDY}/sign")
        answer = await http.put(f"/reports/{STUDY}", json=TEXT)
    assert answer.status_code == 409
    assert "addendum" in answer.json()["detail"]


async def test_a_report_says_that_slices_came_after_it_until_there_is_an_addendum(
    reporting: tuple[Runtime, Downstream],
) -> None:
    runtime, _ = reporting
    await claim(runtime)
    async with radiologist(runtime) as http:
        await http.put(f"/reports/{STUDY}", json=TEXT)
        await http.post(f"/reports/{STUDY}/sign")
        await say(runtime, stored(batch=1), 4)
        assert (await http.get(f"/reports/{STUDY}")).json()["more_images"] is False
        await say(runtime, stored(batch=2), 5)
        assert (await http.get(f"/reports/{STUDY}")).json()["more_images"] is True
        await http.post(f"/reports/{STUDY}/addendum", json={"text": "The late slices show nothing new."})
        assert (await http.get(f"/reports/{STUDY}")).json()["more_images"] is False


def stored(batch: int) -> StudyStored:
    facts = {"batch": batch, "jurisdiction": "US-MT", "received_at": UNTIL, "completed_at": UNTIL}
    return StudyStored.model_validate({**FACTS, **facts, "instances": 3 * batch, "modalities": ("CT",)})


async def test_the_report_shows_where_it_arrived(reporting: tuple[Runtime, Downstream]) -> None:
    runtime, _ = reporting
    await claim(runtime)
    arrived = ReportDelivered(
        site="north", study=STUDY, report="rp-head-ct", version=1, endpoint="ep_1", webhook_id="msg_1", attempts=2
    )
    await say(runtime, arrived, 1)
    async with radiologist(runtime) as http:
        seen = (await http.get(f"/reports/{STUDY}")).json()
    assert seen["deliveries"] == [{"version": 1, "endpoint": "ep_1", "outcome": "delivered", "attempts": 2}]


async def test_a_draft_without_impression_is_refused_with_the_field_named(
    reporting: tuple[Runtime, Downstream],
) -> None:
    runtime, _ = reporting
    async with radiologist(runtime) as http:
        answer = await http.put(f"/reports/{STUDY}", json={"findings": "x"})
    assert answer.status_code == 422
    assert "body.impression" in answer.json()["detail"]


def test_text_from_the_radiologist_cannot_break_out_of_the_narrative() -> None:
    version = Version(
        number=1, status=Status.FINAL, findings="<script>", impression="a & b", critical=False,
        radiologist="dr", issued=UNTIL - timedelta(hours=1),
    )  # fmt: skip
    assert narrative(version) == "<h2>Findings</h2><p>&lt;script&gt;</p><h2>Impression</h2><p>a &amp; b</p>"
