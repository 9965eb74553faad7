"""Studies that contradict their orders wait for a person; merges and new names reach what is here and what comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from hl7_messages import ORM, adt, sent
from radrelay_ingest import matches
from radrelay_ingest.domain.orders import Order
from radrelay_ingest.matches import answered
from radrelay_shared.confided import confided
from radrelay_shared.events import OrderReceived, PatientChanged, StudyQuarantined, StudyReceived, StudyUpdated
from radrelay_shared.security import Role
from radrelay_shared.testing import until

Door = Callable[..., AbstractAsyncContextManager[Any]]
Slice = Callable[..., bytes]

MULTIPART = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
HL7 = {"Content-Type": "application/hl7-v2; charset=utf-8"}
REVIEWS = "/ingest/reviews"


async def send(door: Any, *instances: bytes, site: str = "bozeman") -> None:
    parts = (b"--b\r\nContent-Type: application/dicom\r\n\r\n" + each + b"\r\n" for each in instances)
    async with door.as_(Role.SITE, site) as machine:
        content = b"".join(parts) + b"--b--\r\n"
        answer = await machine.post("/ingest/dicom-web/studies", content=content, headers=MULTIPART)
        assert answer.status_code == 200


async def tell(door: Any, message: str, site: str = "bozeman") -> None:
    async with door.as_(Role.SITE, site) as machine:
        answer = await machine.post("/ingest/hl7", content=sent(message), headers=HL7)
        assert "MSA|AA" in answer.text, answer.text


async def decide(door: Any, study: str, **verdict: Any) -> Any:
    async with door.as_(Role.ASSISTANT, "bozeman") as assistant:
        return await assistant.post(f"{REVIEWS}/{study}", json={"reason": "the clinic was called"} | verdict)


async def waiting(door: Any, site: str = "bozeman") -> list[dict[str, Any]]:
    async with door.as_(Role.ASSISTANT, site) as assistant:
        found: list[dict[str, Any]] = (await assistant.get(REVIEWS)).json()
        return found


async def orders(door: Any) -> list[Order]:
    found: list[Order] = await door.context.store.find(Order)
    return found


async def test_images_of_another_patient_do_not_go_on_until_an_assistant_releases_them(
    open_door: Door, ct_slice: Slice
) -> None:
    async with open_door() as door:
        await tell(door, ORM)
        await send(door, ct_slice(1, PatientName="ROE^RICHARD", PatientSex="M"))
        [held] = await door.told(StudyQuarantined)
        assert held.reasons == ("patient-name", "patient-sex")
        await send(door, ct_slice(2, PatientName="ROE^RICHARD", PatientSex="M"))

        async def both() -> bool:
            [study] = await waiting(door)
            return bool(study["batches"] == 2)

        await until(both)
        assert door.seen.of(StudyReceived) == door.seen.of(StudyUpdated) == []
        answer = await decide(door, held.study, verdict="release")
        assert (answer.status_code, answer.json()["waiting"], answer.json()["basis"]) == (200, False, "person")
        [received], [updated] = await door.told(StudyReceived), await door.told(StudyUpdated)
        assert (received.batch, updated.batch, received.order) == (1, 2, (await orders(door))[0].order)
        assert [each.study for each in await door.told(OrderReceived, 2)] == ["", held.study]
        assert await waiting(door) == []


async def test_what_an_assistant_sees_is_written_down_and_the_list_names_nobody(
    open_door: Door, ct_slice: Slice
) -> None:
    async with open_door() as door:
        await tell(door, ORM)
        await send(door, ct_slice(1, PatientName="ROE^RICHARD"))
        [held] = await door.told(StudyQuarantined)
        [listed] = await waiting(door)
        assert (listed["study"], listed["held"]) == (held.study, ["patient-name"])
        assert not any(word in json.dumps(listed) for word in ("ROE", "DOE", "123456", "ACC123"))
        assert await waiting(door, "hamburg") == []
        async with door.as_(Role.ASSISTANT, "bozeman") as assistant:
            seen = await assistant.get(f"{REVIEWS}/{held.study}")
            assert seen.headers["cache-control"] == "no-store"
            assert seen.json()["images"]["patient"]["name"] == "ROE^RICHARD"
            assert seen.json()["orders"][0]["patient"]["name"] == "DOE^JANE^Q"
        async with door.as_(Role.ASSISTANT, "hamburg") as neighbour:
            assert (await neighbour.get(f"{REVIEWS}/{held.study}")).status_code == 404
        async with door.as_(Role.SITE, "bozeman") as machine:
            assert (await machine.get(REVIEWS)).status_code == 403
        await decide(door, held.study, verdict="reject", reason="wrong patient on the scanner")
        async with door.as_(Role.AUDITOR, "bozeman") as auditor:
            audit = (await auditor.get(f"{REVIEWS}/{held.study}/audit")).json()
        assert [(each["who"], each["action"], each["purpose"]) for each in audit] == [
            ("key:assistant-bozeman", "look", "review"),
            ("key:assistant-bozeman", "reject", "wrong patient on the scanner"),
        ]


async def test_a_rejected_study_never_goes_on(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await tell(door, ORM)
        await send(door, ct_slice(1, PatientName="ROE^RICHARD"))
        [held] = await door.told(StudyQuarantined)
        assert (await decide(door, held.study, verdict="dismiss")).status_code == 409
        assert (await decide(door, held.study, verdict="reject")).json()["waiting"] is False
        await tell(door, ORM.replace("DOE^JANE^Q", "ROE^RICHARD").replace("MSG0001", "M2"))
        await door.runtime.relay.idle()
        assert door.seen.of(StudyReceived) == []


async def test_a_study_on_the_wrong_order_is_given_the_right_one(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await tell(door, ORM)
        right = ORM.replace("ACC123", "ACC124").replace("PL100", "PL101").replace("FL100", "FL101")
        right = right.replace("123456", "777").replace("DOE^JANE^Q", "ROE^RICHARD").replace("19800101|F", "19501231|M")
        await tell(door, right.replace("MSG0001", "M2"))
        await send(door, ct_slice(1, PatientName="ROE^RICHARD", PatientID="777"))  # under Jane's accession number
        [held] = await door.told(StudyQuarantined)
        [wanted] = [each for each in await orders(door) if each.request.accession.value == "ACC124"]
        assert (await decide(door, held.study, verdict="release", order="or-aaaa")).status_code == 404
        await decide(door, held.study, verdict="release", order=wanted.order)
        [received] = await door.told(StudyReceived)
        assert received.order == wanted.order
        assert {each.order: each.studies for each in await orders(door)}[wanted.order] == (held.study,)


async def test_images_that_name_the_wrong_patient_are_reported_under_the_right_one(
    open_door: Door, ct_slice: Slice
) -> None:
    async with open_door() as door:
        await tell(door, ORM)
        await send(door, ct_slice(1, PatientName="ROE^RICHARD"))
        [held] = await door.told(StudyQuarantined)
        jane = {"id": "123456", "issuer": "HOSP_A", "name": "DOE^JANE", "birth_date": "19800101", "sex": "F"}
        assert (await decide(door, held.study, verdict="correct")).status_code == 422
        assert (await decide(door, held.study, verdict="correct", patient=jane)).status_code == 200
        await door.told(StudyReceived)
        [changed] = await door.told(PatientChanged)
        assert (changed.study, changed.reason) == (held.study, "corrected")
        assert json.loads(await confided(door.context.originals, changed.identity)) == jane
        assert "DOE" not in changed.model_dump_json()


async def test_a_clinic_that_mends_its_order_releases_the_study_by_itself(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await tell(door, ORM.replace("DOE^JANE^Q", "DOE^JOHN").replace("19800101|F", "19800101|M"))
        await send(door, ct_slice(1, PatientSex="F"))
        await door.told(StudyQuarantined)
        await tell(door, adt("A08", "PID|1||123456^^^HOSP_A^MR||DOE^JANE||19800101|F"))
        [received] = await door.told(StudyReceived)
        assert received.order == (await orders(door))[0].order
        assert await waiting(door) == []


async def test_an_order_that_comes_late_and_contradicts_is_not_matched_and_shown(
    open_door: Door, ct_slice: Slice
) -> None:
    async with open_door() as door:
        await send(door, ct_slice(1, PatientName="ROE^RICHARD"))
        [received] = await door.told(StudyReceived)
        await tell(door, ORM)
        [held] = await door.told(StudyQuarantined)
        assert (held.study, held.reasons) == (received.study, ("patient-name",))
        await send(door, ct_slice(2, PatientName="ROE^RICHARD"))
        [order] = await orders(door)
        assert order.studies == ()
        await decide(door, held.study, verdict="release", without_order=True)
        [updated] = await door.told(StudyUpdated)
        assert updated.order is None


async def test_an_order_that_contradicts_is_not_lost_on_a_look_for_orders_that_began_before_it_came(
    open_door: Door, ct_slice: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, came = asyncio.Event(), asyncio.Event()

    async def slowly(*study: Any) -> Any:
        found = await answered(*study)
        if not looked.is_set():
            looked.set()
            await came.wait()
        return found

    async with open_door() as door:
        await send(door, ct_slice(1, PatientName="ROE^RICHARD"))
        [received] = await door.told(StudyReceived)
        await door.settled()
        monkeypatch.setattr(matches, "answered", slowly)
        looking = asyncio.create_task(matches.reconsider(door.context, received.study))
        await looked.wait()
        await tell(door, ORM)
        came.set()
        await looking
        [listed] = await waiting(door)
        assert listed["held"] == ["patient-name"]


async def test_the_same_sop_uid_with_other_bytes_is_in_the_list_until_it_was_seen(
    open_door: Door, ct_slice: Slice
) -> None:
    async with open_door() as door:
        await send(door, ct_slice(), ct_slice(StudyDescription="OTHER"))
        [received] = await door.told(StudyReceived)
        [listed] = await waiting(door)
        assert (listed["notes"], listed["held"]) == (["sop-instance-conflict"], [])
        assert (await decide(door, received.study, verdict="reject")).status_code == 409
        assert (await decide(door, received.study, verdict="dismiss")).status_code == 200
        assert await waiting(door) == []


# ── merges, updates ──

RETIRED = {"PatientID": "OLD-1", "IssuerOfPatientID": "HOSP_A"}
MERGE = adt("A40", "PID|1||123456^^^HOSP_A^MR||DOE^JANE||19800101|F", "MRG|OLD-1^^^HOSP_A^MR")


async def renamed(door: Any, count: int = 1) -> list[tuple[str, str, dict[str, str]]]:
    """Study, reason and what its patient is called now."""
    found = await door.told(PatientChanged, count)
    return [
        (each.study, each.reason, json.loads(await confided(door.context.originals, each.identity))) for each in found
    ]


async def test_a_merge_carries_the_reports_on_what_is_here_to_the_surviving_id(
    open_door: Door, ct_slice: Slice
) -> None:
    async with open_door() as door:
        await send(door, ct_slice(accession="", **RETIRED))
        [received] = await door.told(StudyReceived)
        await tell(door, MERGE)
        jane = {"id": "123456", "issuer": "HOSP_A", "name": "DOE^JANE", "birth_date": "19800101", "sex": "F"}
        assert await renamed(door) == [(received.study, "merged", jane)]


@pytest.mark.parametrize("order_first", [True, False])
async def test_images_that_still_come_under_the_retired_id_answer_the_surviving_patient_s_order(
    open_door: Door,
    ct_slice: Slice,
    *,
    order_first: bool,
) -> None:
    async with open_door() as door:
        for message in (ORM, MERGE) if order_first else (MERGE, ORM):
            await tell(door, message)
        day = {"StudyDate": "20261101", "StudyTime": "101500"}
        await send(door, ct_slice(accession="", **RETIRED, **day))
        [received] = await door.told(StudyReceived)
        assert received.order == (await orders(door))[0].order
        [(study, reason, called)] = await renamed(door)
        assert (study, reason, called["id"]) == (received.study, "merged", "123456")


async def test_an_order_under_the_retired_id_is_answered_by_images_under_the_surviving_one(
    open_door: Door, ct_slice: Slice
) -> None:
    async with open_door() as door:
        await tell(door, ORM.replace("123456^^^HOSP_A", "OLD-1^^^HOSP_A"))
        await tell(door, MERGE)
        await send(door, ct_slice(accession="", StudyDate="20261101", StudyTime="101500"))
        [received] = await door.told(StudyReceived)
        assert received.order == (await orders(door))[0].order


async def test_the_same_id_at_another_clinic_is_not_merged(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await send(door, ct_slice(**RETIRED), site="hamburg")
        await door.told(StudyReceived)
        await tell(door, MERGE)
        await door.runtime.relay.idle()
        assert door.seen.of(PatientChanged) == []


async def test_a_new_name_reaches_order_and_reports_and_holds_nothing_back(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await tell(door, ORM)
        await send(door, ct_slice(PatientBirthDate="19800101", PatientSex="F"))
        [received] = await door.told(StudyReceived)
        await tell(door, adt("A08", "PID|1||123456^^^HOSP_A^MR||SMITH^JANE||19800101|F"))
        [(study, reason, called)] = await renamed(door)
        assert (study, reason, called["name"]) == (received.study, "updated", "SMITH^JANE")
        [order] = await orders(door)
        assert order.request.patient.name == "SMITH^JANE"
        await tell(door, adt("A08", "PID|1||123456^^^HOSP_A^MR||SMITH^JANE||19800101|F", control_id="ADT2"))
        await send(door, ct_slice(2, PatientBirthDate="19800101", PatientSex="F"))
        await door.told(StudyUpdated)
        assert len(door.seen.of(PatientChanged)) == 1
        assert door.seen.of(StudyQuarantined) == []
