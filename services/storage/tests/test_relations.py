"""How events come to say who stands how to a study: out of order, twice, late, at once, and after a purge."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from radrelay_shared.envelope import wrap
from radrelay_shared.events import (
    AssignmentClaimed,
    AssignmentReturned,
    Event,
    ReportFinalized,
    StudyAnonymized,
    StudyAssigned,
)
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import PATIENCE_SECONDS, Downstream, client, deliver, running
from radrelay_storage.main import SERVICE
from radrelay_storage.relations import FOLLOWED, Relations, Sight

Pack = Callable[..., Awaitable[StudyAnonymized]]
Image = Callable[..., Dataset]
Assign = Callable[..., Awaitable[None]]

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
OFFER, CLAIM, RETURN, SIGN = StudyAssigned, AssignmentClaimed, AssignmentReturned, ReportFinalized


def event(kind: type[Event], who: str) -> Event:
    facts = {"site": "a", "study": "st-1", "study_instance_uid": "2.25.1", "workitem": "wi-1", "radiologist": who}
    offer = {"until": NOON, "due_at": NOON, "reasons": (), "reason": "lapsed"}
    report = {"report": "rp-1", "version": 1, "content": "rp-1/1", "sha256": "0" * 64}
    return kind(**facts | offer | report)


ORDERS: list[tuple[list[tuple[int, Any, str]], list[str]]] = [
    ([(1, OFFER, "ana"), (2, RETURN, "ana"), (3, OFFER, "ben")], ["ben"]),
    ([(1, OFFER, "ana"), (3, OFFER, "ben"), (2, RETURN, "ana")], ["ben"]),
    ([(2, RETURN, "ana"), (1, OFFER, "ana")], []),
    ([(3, OFFER, "ben"), (2, RETURN, "ana"), (1, CLAIM, "ana")], ["ben"]),
    ([(2, CLAIM, "ana"), (1, OFFER, "ana")], ["ana"]),
    ([(2, CLAIM, "ana"), (1, SIGN, "ana"), (1, OFFER, "ana")], ["ana"]),
    ([(1, SIGN, "ana"), (4, OFFER, "ben")], ["ana"]),
    ([(1, OFFER, "ben"), (1, SIGN, "ana")], ["ana"]),
]


@pytest.mark.parametrize(
    ("came", "seen_by"),
    ORDERS,
    ids=[
        "in order", "the return after the next offer", "the return before its offer", "backwards",
        "the offer after its claim", "the offer after the signature", "a late offer of a signed study",
        "signed by another",
    ],
)  # fmt: skip
def test_who_sees_a_study_after_these_events(came: Sequence[tuple[int, Any, str]], seen_by: list[str]) -> None:
    relations = Relations()
    for sequence, kind, who in came:
        for _ in range(2):
            envelope = wrap(event(kind, who), service="test", at=NOON, sequence=sequence)
            relations = FOLLOWED[kind](relations, envelope)
    assert list(relations.readers) == [f"radiologist {who}" for who in seen_by]


def test_an_older_word_about_a_later_study_changes_nothing() -> None:
    newer = Relations().through("st-2", Sight(change=2, readers=()))
    assert newer.through("st-2", Sight(change=1, readers=("radiologist ana",))) == newer


async def test_a_claim_that_is_on_its_way_is_waited_for(
    tmp_path: Path, pack: Pack, image: Image, assign: Assign
) -> None:
    """Who reads at once after a claim is answered when its news is here; who claimed nothing is told so in time."""
    async with (
        running(SERVICE, tmp_path, claim_seconds=PATIENCE_SECONDS) as (runtime, _),
        client(runtime, Role.RADIOLOGIST, subject="dr-a") as reader,
    ):
        await deliver(runtime, await pack(runtime, [image("CT_small.dcm", 1)]))
        asking = asyncio.create_task(reader.get("/dicom-web/studies/2.25.1/metadata"))
        await asyncio.sleep(0.2)
        assert not asking.done()
        await assign(runtime, "key:dr-a", kind=AssignmentClaimed)
        assert (await asking).status_code == 200


async def test_a_refusal_is_in_the_ledger_of_a_study_that_is_there(tmp_path: Path, pack: Pack, image: Image) -> None:
    async with (
        running(SERVICE, tmp_path, claim_seconds=0) as (runtime, _),
        client(runtime, Role.RADIOLOGIST, subject="dr-a") as reader,
        client(runtime, Role.AUDITOR, subject="auditor") as auditor,
    ):
        await deliver(runtime, await pack(runtime, [image("CT_small.dcm", 1)]))
        for study in ("2.25.1", "2.25.1", "2.25.99"):
            answer = await reader.get(f"/dicom-web/studies/{study}")
            assert (answer.status_code, "no such study for you" in answer.json()["detail"]) == (404, True)
        entries = (await auditor.get("/custody/st-1")).json()["entries"]
    refused = [(each["who"], each["facts"]) for each in entries if each["kind"] == "refused"]
    assert refused == [("key:dr-a", {"roles": "radiologist"})]


async def test_a_prior_that_is_stored_late_is_seen_through_the_study_that_is_read(
    storage: tuple[Runtime, Downstream], pack: Pack, image: Image, assign: Assign
) -> None:
    runtime, _ = storage
    await deliver(runtime, await pack(runtime, [of_patient(image, 2, "20250101")], study="st-2"))
    await assign(runtime, "key:dr-a", 2)
    await deliver(runtime, await pack(runtime, [of_patient(image, 1, "20240101")], study="st-1"))
    assert await found_by(runtime, "dr-a") == ["2.25.1", "2.25.2"]


async def test_with_a_purged_study_the_sight_of_its_priors_ends(
    storage: tuple[Runtime, Downstream], pack: Pack, image: Image, assign: Assign
) -> None:
    runtime, _ = storage
    for number, day in ((1, "20240101"), (2, "20250101"), (3, "20260101")):
        await deliver(runtime, await pack(runtime, [of_patient(image, number, day)], study=f"st-{number}"))
    await assign(runtime, "key:dr-a", 3)
    await assign(runtime, "key:dr-b", 2)
    assert [await found_by(runtime, who) for who in ("dr-a", "dr-b")] == [
        ["2.25.1", "2.25.2", "2.25.3"],
        ["2.25.1", "2.25.2"],
    ]
    for operator, path in (("ana", "/purges/st-3"), ("ben", "/purges/st-3/approve")):
        async with client(runtime, Role.OPERATOR, subject=operator) as http:
            assert (await http.post(path, json={"reason": "test-data"})).status_code == 200
    assert [await found_by(runtime, who) for who in ("dr-a", "dr-b")] == [[], ["2.25.1", "2.25.2"]]


def of_patient(image: Image, number: int, day: str) -> Dataset:
    return image("CT_small.dcm", number, StudyDate=day, PatientID="RR-ONE")


async def found_by(runtime: Runtime, who: str) -> list[str]:
    async with client(runtime, Role.RADIOLOGIST, subject=who) as reader:
        answer = await reader.get("/dicom-web/studies")
    return sorted(each["0020000D"]["Value"][0] for each in answer.json())
