"""What waits for a person: who sees it, what they can decide, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from radrelay_shared.events import StudyAnonymized
from radrelay_shared.security import Role
from radrelay_shared.testing import client

if TYPE_CHECKING:
    from services.anonymize.tests.conftest import Bench  # importlib mode gives it no importable name at run time

File = Callable[..., bytes]
QUARANTINE = "/vault/quarantine"


async def asked(bench: Bench, method: str, path: str = "", *, role: Role = Role.ASSISTANT, **request: Any) -> Any:
    sites = request.pop("sites", ("bozeman",))
    async with client(bench.runtime, role, sites=sites, subject=f"{role}-anna") as http:
        return await http.request(method, QUARANTINE + path, **request)


async def judged(bench: Bench, verdict: str, *instances: str) -> Any:
    return await asked(bench, "POST", "/st-one", json={"verdict": verdict, "instances": instances})


async def test_what_waits_is_listed_for_the_persons_own_sites(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(1), zenobia(2, PatientID="OTHER")])
    await bench.receive([b"no DICOM"], study="st-far", site="hamburg")
    await bench.receive([zenobia(study=3)], study="st-clean")
    listed = (await asked(bench, "GET")).json()
    everywhere = (await asked(bench, "GET", role=Role.OPERATOR, sites=("*",))).json()
    assert listed == [{"study": "st-one", "site": "bozeman", "waiting": 1, "reasons": ["patient-differs"]}]
    assert {each["study"] for each in everywhere} == {"st-one", "st-far"}


async def test_an_assistant_sees_which_instances_wait_and_what_was_received(bench: Bench, zenobia: File) -> None:
    rose = zenobia(2, series=2, PatientID="OTHER")
    await bench.receive([zenobia(1)], [zenobia(1, series=2), rose])
    details = (await asked(bench, "GET", "/st-one")).json()
    assert details["instances"] == [{"instance": "1.2.2", "reasons": ["patient-differs"], "verdict": None}]
    shown = await asked(bench, "GET", "/st-one/1.2.2")
    assert (shown.content, shown.headers["cache-control"]) == (rose, "no-store")
    assert (await asked(bench, "GET", "/st-one/1.1.1")).status_code == 404  # it does not wait


async def test_every_look_and_decision_is_written_down(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(1), zenobia(2, PatientID="OTHER")])
    await asked(bench, "GET", "/st-one/1.1.2")
    await judged(bench, "reject", "1.1.2")
    async with client(bench.runtime, Role.AUDITOR) as http:
        looks = (await http.get("/vault/audit", params={"study": "st-one"})).json()
    assert [(each["who"], each["action"], each["purpose"]) for each in looks] == [
        ("key:assistant-anna", "look", "quarantine 1.1.2"),
        ("key:assistant-anna", "reject", "quarantine 1.1.2"),
    ]


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.ASSISTANT}))
@pytest.mark.parametrize(("method", "path"), [("GET", "/st-one"), ("GET", "/st-one/1.1.2"), ("POST", "/st-one")])
async def test_nobody_but_an_assistant_looks_or_decides(bench: Bench, role: Role, method: str, path: str) -> None:
    assert (await asked(bench, method, path, role=role, json={})).status_code == 403


async def test_another_sites_assistant_sees_nothing(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(2, PatientID="OTHER"), b"cut"])
    assert (await asked(bench, "GET", "/st-one", sites=("hamburg",))).status_code == 404
    wish = {"verdict": "reject", "instances": ["1.1.2"]}
    assert (await asked(bench, "POST", "/st-one", sites=("hamburg",), json=wish)).status_code == 404


async def test_an_image_said_to_have_text_in_it_leaves_once_a_person_has_looked(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(1), zenobia(2, BurnedInAnnotation="YES"), zenobia(3, BurnedInAnnotation="YES")])
    answer = await judged(bench, "release", "1.1.3")
    assert [(each["instance"], each["verdict"]) for each in answer.json()["instances"]] == [
        ("1.1.2", None),
        ("1.1.3", "released"),
    ]
    await judged(bench, "release", "1.1.2")
    await bench.runtime.relay.idle()
    batches = bench.downstream.of(StudyAnonymized)
    assert [(each.batch, each.instances) for each in batches] == [(1, 1), (900_001, 1), (900_002, 1)]
    [copy] = await bench.released(batches[1])
    assert (copy.InstanceNumber, copy.StudyInstanceUID) == (3, batches[0].study_instance_uid)
    assert str(copy.PatientName).startswith("RR-")


@pytest.mark.parametrize("content", [b"no DICOM", b""], ids=["unreadable", "empty"])
async def test_what_no_copy_can_be_made_of_is_not_released(bench: Bench, zenobia: File, content: bytes) -> None:
    await bench.receive([zenobia(1), content or zenobia(2, PatientID="OTHER")])
    answer = await judged(bench, "release", "1.1.2")
    assert answer.status_code == 409
    assert "send" in answer.json()["detail"]
    assert (await asked(bench, "GET", "/st-one")).json()["instances"][0]["verdict"] is None


async def test_a_decision_is_made_once(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(1), zenobia(2, PatientID="OTHER")])
    assert (await judged(bench, "reject", "1.1.2")).status_code == 200
    again = await judged(bench, "reject", "1.1.2")
    assert (again.status_code, (await asked(bench, "GET")).json()) == (409, [])


@pytest.mark.parametrize("place", ["1.1", "1.1.0", "1.1.1.1", "a.b.c", "1.1.99999999"])
async def test_a_place_that_is_none_is_refused(bench: Bench, zenobia: File, place: str) -> None:
    await bench.receive([zenobia(1), b"cut"])
    assert (await judged(bench, "reject", place)).status_code == 422
