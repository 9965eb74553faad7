"""Which earlier studies compare best, and why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydicom.dataset import Dataset

from radrelay_shared.events import StudyAnonymized, StudyStored
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import Downstream, client, deliver
from radrelay_storage.domain import Study
from radrelay_storage.priors.ranking import is_prior, priors_of

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


def study(key: str, day: str, modality: str, part: str = "", side: str = "", **changes: Any) -> Study:
    facts: dict[str, Any] = {
        "site": "clinic-a",
        "study": key,
        "study_instance_uid": f"2.25.{key}",
        "received_at": NOON,
        "modalities": (modality,),
        "body_parts": (part,) if part else (),
        "lateralities": (side,) if side else (),
        "attributes": {},
        "keys": {"PatientID": "RR-ONE", "StudyDate": day},
        "batches": (),
        "instances": 1,
    }
    return Study(**(facts | changes))


CHEST_CT = study("now", "20250301", "CT", "CHEST")
LEFT_KNEE = study("now", "20250301", "MR", "KNEE", "L")


@pytest.mark.parametrize(
    ("current", "earlier", "order"),
    [
        (
            CHEST_CT,
            [study("old-chest", "20150301", "CT", "CHEST"), study("head", "20250201", "CT", "HEAD")],
            ["old-chest", "head"],
        ),
        (
            CHEST_CT,
            [study("film", "20250228", "DX", "CHEST"), study("ct", "20240301", "CT", "CHEST")],
            ["ct", "film"],
        ),
        (
            CHEST_CT,
            [study("mr", "20240301", "MR", "CHEST"), study("film", "20240301", "DX", "CHEST")],
            ["mr", "film"],
        ),
        (
            LEFT_KNEE,
            [study("right", "20250201", "MR", "KNEE", "R"), study("left", "20200201", "MR", "KNEE", "L")],
            ["left", "right"],
        ),
        (
            CHEST_CT,
            [study("older", "20250101", "CT", "CHEST"), study("newer", "20250201", "CT", "CHEST")],
            ["newer", "older"],
        ),
    ],
    ids=["body part before time", "modality", "comparable modality", "the same knee", "of equals the later"],
)
def test_what_compares_best_comes_first(current: Study, earlier: list[Study], order: list[str]) -> None:
    assert [each.study for each in priors_of(current, earlier)] == order


def test_the_ranking_says_why() -> None:
    (found,) = priors_of(LEFT_KNEE, [study("x", "20250130", "CT", "KNEE", "R")])
    assert (found.days, found.reasons) == (
        30,
        ("same body part: KNEE", "comparable modality: CT", "other side: R", "30 days earlier"),
    )


@pytest.mark.parametrize(
    ("other", "is_one"),
    [
        (study("x", "20250228", "DX"), True),
        (study("x", "20250302", "CT"), False),
        (study("now", "20240301", "CT"), False),
        (study("x", "20240301", "CT", site="clinic-b"), False),
        (study("x", "20240301", "CT", keys={"PatientID": "RR-TWO", "StudyDate": "20240301"}), False),
        (study("x", "20240301", "CT", keys={}), False),
    ],
    ids=["earlier", "later", "itself", "another site", "another patient", "nobody knows whose"],
)
def test_what_is_a_prior_at_all(other: Study, is_one: bool) -> None:  # noqa: FBT001  an expectation of the table
    assert is_prior(CHEST_CT, other) is is_one


def test_at_most_ten_travel() -> None:
    assert len(priors_of(CHEST_CT, [study(f"p{n}", "20240301", "CT") for n in range(30)])) == 10


async def test_a_stored_study_brings_its_priors(
    storage: tuple[Runtime, Downstream],
    pack: Callable[..., Awaitable[StudyAnonymized]],
    image: Callable[..., Dataset],
) -> None:
    """In the event, and whenever it is asked."""
    runtime, downstream = storage
    for number, day in ((1, "20240101"), (2, "20250101")):
        made = image("CT_small.dcm", number, StudyDate=day, PatientID="RR-ONE")
        await deliver(runtime, await pack(runtime, [made], study=f"st-{number}"))
    first, second = downstream.of(StudyStored)
    assert (first.priors, [each.study for each in second.priors]) == ((), ["st-1"])
    assert second.priors[0].reasons == ("same modality: CT", "366 days earlier")
    async with client(runtime, Role.ASSISTANT) as radiologist:
        answer = await radiologist.get("/dicom-web/studies/2.25.2/priors")
    assert answer.json() == [second.priors[0].model_dump(mode="json")]
