"""The whole service on embedded adapters: events in, events out, HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from radrelay_shared.errors import Invalid
from radrelay_shared.events import ModelAsked, OrderReceived, Priority, ReportFinalized, StudyStored, StudyTriaged
from radrelay_shared.security import Role
from radrelay_shared.testing import client, deliver, running
from radrelay_triage.main import SERVICE

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
CHEST_CT = StudyStored(
    site="clinic-a",
    study="st-1",
    order="or-1",
    jurisdiction="US-MT",
    received_at=NOW,
    completed_at=NOW,
    study_instance_uid="2.25.1",
    instances=300,
    modalities=("CT",),
    body_parts=("CHEST",),
)
UNMATCHED = CHEST_CT.model_copy(update={"order": None})
ORDER = OrderReceived(site="clinic-a", order="or-1", jurisdiction="US-MT", priority=Priority.STAT)
MATCHED = ORDER.model_copy(update={"study": "st-1"})
SIGNED = ReportFinalized(
    site="clinic-a", study="st-1", report="re-1", version=1, workitem="wi-1", radiologist="r", content="c", sha256="0"
)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ((ORDER, CHEST_CT), ["stat"]),  # ordered, then scanned
        ((CHEST_CT, ORDER), ["routine", "stat"]),  # the images were faster, and name the order
        ((UNMATCHED, MATCHED), ["routine", "stat"]),  # matched by ingest when the order came
        ((MATCHED, UNMATCHED), ["stat"]),
        ((ORDER, UNMATCHED, MATCHED), ["routine", "stat"]),
        ((CHEST_CT, CHEST_CT, ORDER, ORDER, MATCHED), ["routine", "stat"]),  # everything twice
        ((SIGNED, CHEST_CT), []),  # nobody needs to hurry for a signed study
    ],
)
async def test_order_and_images_meet_in_any_order(
    tmp_path: Path, events: tuple[OrderReceived | StudyStored | ReportFinalized, ...], said: list[str]
) -> None:
    async with running(SERVICE, tmp_path) as (runtime, downstream):
        for event in events:
            await deliver(runtime, event)
        assert [event.priority for event in downstream.of(StudyTriaged)] == said


async def test_the_decision_its_reasons_and_the_clock_can_be_read(tmp_path: Path) -> None:
    async with (
        running(SERVICE, tmp_path, clock=lambda: NOW) as (runtime, _),
        client(runtime, Role.ASSISTANT, sites=("clinic-a",)) as http,
    ):
        await deliver(runtime, ORDER)
        await deliver(runtime, CHEST_CT)
        read = (await http.get("/triage/studies/st-1")).json()
        assert read.pop("reasons") == ["STAT asked by order or-1", "CT CHEST → chest", "60 min by contract *"]
        assert datetime.fromisoformat(read.pop("due_at")) == NOW + timedelta(hours=1)
        assert datetime.fromisoformat(read.pop("completed_at")) == NOW
        assert read == {
            "study": "st-1",
            "site": "clinic-a",
            "priority": "stat",
            "subspecialty": "chest",
            "clock": "running",
            "signed_at": None,
        }
        await deliver(runtime, SIGNED)
        assert (await http.get("/triage/studies/st-1")).json()["clock"] == "met"


async def test_a_caller_sees_its_own_sites_due_first_and_no_others(tmp_path: Path) -> None:
    urgent = {"study": "st-2", "order": None, "priority": Priority.URGENT}
    elsewhere = {"study": "st-3", "order": None, "site": "clinic-b"}
    async with running(SERVICE, tmp_path) as (runtime, _):
        for event in (CHEST_CT, CHEST_CT.model_copy(update=urgent), CHEST_CT.model_copy(update=elsewhere)):
            await deliver(runtime, event)
        await deliver(runtime, SIGNED.model_copy(update={"study": "st-9"}))  # not triaged: in no list
        async with client(runtime, Role.RADIOLOGIST, sites=("clinic-a",)) as http:
            assert [each["study"] for each in (await http.get("/triage/studies")).json()] == ["st-2", "st-1"]
            assert (await http.get("/triage/studies/st-3")).status_code == 404
            assert (await http.get("/triage/studies/st-9")).status_code == 404
        async with client(runtime, Role.OPERATOR, sites=("*",)) as http:
            assert len((await http.get("/triage/studies", params={"limit": 10})).json()) == 3
        async with client(runtime, Role.SITE, sites=("clinic-a",)) as http:
            assert (await http.get("/triage/studies")).status_code == 403


async def test_a_clinics_own_contract_sets_the_deadline(tmp_path: Path) -> None:
    contracts = tmp_path / "contracts.yaml"
    contracts.write_text("- {site: clinic-a, priority: routine, modality: CT, minutes: 90}\n")
    async with running(SERVICE, tmp_path, contracts_file=contracts) as (runtime, downstream):
        await deliver(runtime, CHEST_CT)
        [event] = downstream.of(StudyTriaged)
        assert event.due_at == NOW + timedelta(minutes=90)
        assert event.reasons[-1] == "90 min by contract clinic-a CT"


async def test_a_broken_contract_file_stops_the_start_with_the_reason(tmp_path: Path) -> None:
    contracts = tmp_path / "contracts.yaml"
    contracts.write_text("- {site: clinic-a, priority: sometime, minutes: 90}\n")
    with pytest.raises(Invalid, match="contract table"):
        async with running(SERVICE, tmp_path, contracts_file=contracts):
            raise AssertionError


async def test_a_model_is_asked_once_about_each_study_that_its_row_names(tmp_path: Path) -> None:
    """When the study is first triaged, or when a late batch makes the row fit."""
    models = tmp_path / "models.yaml"
    models.write_text(
        "- {model: key:chest-1, modality: CT, body_part: CHEST}\n- {model: key:chest-1, modality: CT}\n"
        "- {model: key:mr-1, modality: MR}\n- {model: key:other-1, site: clinic-b}\n"
    )
    late = CHEST_CT.model_copy(update={"batch": 2, "modalities": ("MR",)})
    async with running(SERVICE, tmp_path, models_file=models) as (runtime, downstream):
        for event in (CHEST_CT, CHEST_CT, late, ORDER):
            await deliver(runtime, event)
        asked = downstream.of(ModelAsked)
    assert [(each.model, each.study, each.study_instance_uid) for each in asked] == [
        ("key:chest-1", "st-1", "2.25.1"),
        ("key:mr-1", "st-1", "2.25.1"),
    ]
