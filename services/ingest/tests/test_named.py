"""Whom orders and clinics name, in both ways of ordering, and that it goes with the batch it is to be cleaned of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import pytest

from hl7_messages import ORM, adt, sent
from radrelay_ingest.domain.fhir_named import named_in as named_in_fhir
from radrelay_ingest.hl7.er7 import read
from radrelay_ingest.hl7.named import named_in as named_in_hl7
from radrelay_shared.events import StudyPurged, StudyQuarantined, StudyReceived, StudyUpdated
from radrelay_shared.named import Named, read_named
from radrelay_shared.security import Role
from radrelay_shared.testing import deliver

Door = Callable[..., AbstractAsyncContextManager[Any]]
Slice = Callable[..., bytes]

MULTIPART = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
SITE: dict[str, Any] = {"name": "Bozeman Clinic", "jurisdiction": "US-MT", "quiet_seconds": 0.2}
HL7 = {"Content-Type": "application/hl7-v2; charset=utf-8"}

JANE = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"value": "123456", "assigner": {"display": "Bozeman Registry"}}],
    "name": [
        {"family": "DOE", "given": ["JANE", "Q"]},
        {"use": "maiden", "family": "Roe"},
        {"use": "nickname", "text": "Janie"},
    ],
    "birthDate": "1980-01-01",
    "telecom": [{"system": "phone", "value": "406-555-0142"}, {"system": "email", "value": "jane@doe.example"}],
    "address": [{"line": ["12 Mill Lane"], "city": "Ennis", "state": "MT", "postalCode": "59729"}],
    "contact": [{"name": {"family": "Doe", "given": ["Jim"]}, "telecom": [{"value": "71339"}]}],
    "generalPractitioner": [{"display": "Dr Tess Marlowe"}],
    "managingOrganization": {"display": "St. Agnes"},
}
ORDER = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "intent": "order",
    "identifier": [
        {"type": {"coding": [{"code": "ACSN"}]}, "value": "ACC123"},
        {"value": "HIS-77"},
        {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3.1"},
    ],
    "subject": {"reference": "#p1"},
    "encounter": {"identifier": {"value": "VN-9"}},
    "requester": {"reference": "#dr"},
    "performer": [{"reference": "Organization/7", "display": "Ennis Imaging"}, {"display": "Rae Cook"}],
    "contained": [
        JANE,
        {"resourceType": "Practitioner", "id": "dr", "name": [{"family": "Vogelsang", "given": ["Heike"]}]},
        {"resourceType": "Organization", "id": "o", "name": "Madison Valley Clinic"},
    ],
}
PID = (
    "PID|1|88-77|123456^^^HOSP_A^MR||DOE^JANE^Q~Doe^Janie|Kowalski|19800101|F|ROE^JANE|"
    "|12 Mill Lane^Apt 4^Ennis^MT^59729||(406)555-0142~^NET^Internet^jane@doe.example|^^^^^406^5550177"
    "||||ACCT-5|078-05-1120"
)
REFERRAL = [
    "NK1|1|DOE^JIM^^^^|SPO||71339",
    "PV1|1|E|ED^12^A||||3344^COOK^RAE|5566^MARLOWE^TESS^^^DR|||||||||||VN-9",
    (
        "ORC|NW|PL100^HIS|FL100^RIS|||||||||9988^VOGELSANG^HEIKE||71340|||ED^Chest Pain Unit"
        "||||Madison Valley Clinic|4 Main St^^Ennis"
    ),
    "OBR|1|PL100^HIS|FL100^RIS|70450^CT HEAD W/O^CPT4||||||||||||||ACC123",
    "PRT||AD||RP|7788^GRAY^ART",
]


def test_everybody_whom_a_fhir_order_names_is_known_by_what_they_are() -> None:
    found = named_in_fhir(ORDER)
    assert {kind: set(values) for kind, values in found.model_dump().items()} == {
        "people": {"DOE^JANE^Q", "Roe", "Janie", "Doe^Jim", "Dr Tess Marlowe", "Vogelsang^Heike", "Rae Cook"},
        "numbers": {"123456", "406-555-0142", "jane@doe.example", "71339", "ACC123", "HIS-77", "VN-9"},
        "dates": {"19800101"},
        "places": {"12 Mill Lane", "Ennis", "59729"},
        "institutions": {"Bozeman Registry", "St. Agnes", "Ennis Imaging", "Madison Valley Clinic"},
    }


def test_everybody_whom_an_hl7_order_names_is_known_by_what_they_are() -> None:
    message = "\n".join((ORM.splitlines()[0], PID, *REFERRAL))
    found = named_in_hl7(read(sent(message)))
    assert {kind: set(values) for kind, values in found.model_dump().items()} == {
        "people": {"DOE^JANE^Q", "Doe^Janie", "Kowalski", "ROE^JANE", "DOE^JIM", "COOK^RAE", "MARLOWE^TESS^^DR",
                   "VOGELSANG^HEIKE", "GRAY^ART"},
        "numbers": {"7788", "88-77", "123456", "(406)555-0142", "jane@doe.example", "4065550177", "5550177", "ACCT-5",
                    "078-05-1120", "71339", "71340", "VN-9", "PL100", "FL100", "3344", "5566", "9988"},
        "dates": {"19800101"},
        "places": {"12 Mill Lane", "Apt 4", "Ennis", "59729"},
        "institutions": {"Chest Pain Unit", "Madison Valley Clinic", "4 Main St", "Ennis"},
    }  # fmt: skip


@pytest.mark.parametrize("document", [None, [], "Jane", {"name": 7, "telecom": [7], "address": "x", "subject": [[]]}])
def test_what_is_no_fhir_names_nobody(document: Any) -> None:
    assert named_in_fhir(document) == Named()


def test_half_a_letter_is_no_reason_to_refuse_an_order() -> None:
    assert named_in_fhir({"telecom": [{"value": "71339\ud83d"}]}).numbers == ("71339?",)


def test_more_than_anybody_is_called_is_cut_and_never_refused() -> None:
    named = Named.of(people=[*(f"Doe^{number}" for number in range(2000)), "x" * 5000])
    assert (len(named.people), named.people[-1]) == (1000, "Doe^999")
    assert max(map(len, Named.of(people=["x" * 5000]).people)) == 256


# ── in the service ───────────────────────────────────────────────────────────────────────────────────


async def send(door: Any, instance: bytes) -> None:
    content = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + instance + b"\r\n--b--\r\n"
    async with door.as_(Role.SITE, "bozeman") as machine:
        answer = await machine.post("/ingest/dicom-web/studies", content=content, headers=MULTIPART)
    assert answer.status_code == 200


async def tell(door: Any, message: str) -> None:
    async with door.as_(Role.SITE, "bozeman") as machine:
        answer = await machine.post("/ingest/hl7", content=sent(message), headers=HL7)
    assert "MSA|AA" in answer.text, answer.text


async def order(door: Any, document: dict[str, Any]) -> None:
    async with door.as_(Role.SITE, "bozeman") as machine:
        answer = await machine.post("/ingest/fhir/ServiceRequest", json=document)
    assert answer.status_code == 202, answer.text


async def named(door: Any, event: StudyReceived) -> Named:
    return await read_named(door.context.originals, event.study, event.words)


async def test_a_study_goes_on_with_what_its_order_and_its_clinic_say(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        async with door.as_(Role.OPERATOR) as operator:
            site = SITE | {"names": ["Gallatin Imaging", "Bozeman"], "physicians": ["Dr Art Gray"]}
            assert (await operator.put("/ingest/sites/bozeman", json=site)).status_code == 200
        await order(door, ORDER)
        await send(door, ct_slice())
        [received] = await door.told(StudyReceived)
        found = await named(door, received)
        assert {"Vogelsang^Heike", "Dr Tess Marlowe", "Dr Art Gray", "DOE^JANE"} <= set(found.people)
        assert {"Bozeman Clinic", "Gallatin Imaging", "Madison Valley Clinic"} <= set(found.institutions)
        assert {"ACC123", "71339"} <= set(found.numbers)
        assert "Vogelsang" not in received.model_dump_json()
        await door.settled()
        assert [info.key async for info in door.context.originals.list("identities/")] == [received.words]


async def test_without_an_order_the_clinic_is_still_named(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await send(door, ct_slice(accession=""))
        [received] = await door.told(StudyReceived)
        assert (await named(door, received)).institutions == ("Bozeman Clinic",)


async def test_an_order_that_comes_after_the_images_counts_from_the_next_batch_on(
    open_door: Door, ct_slice: Slice
) -> None:
    async with open_door() as door:
        await send(door, ct_slice(1))
        [received] = await door.told(StudyReceived)
        await order(door, ORDER)
        await send(door, ct_slice(2))
        [updated] = await door.told(StudyUpdated)
        assert "Vogelsang^Heike" not in (await named(door, received)).people
        assert "Vogelsang^Heike" in (await named(door, updated)).people


async def test_a_study_held_back_goes_on_with_what_was_corrected_meanwhile(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await tell(door, ORM)
        await send(door, ct_slice(1, PatientName="ROE^RICHARD"))
        await door.told(StudyQuarantined)
        await tell(door, adt("A08", "PID|1||123456^^^HOSP_A^MR||ROE^RICHARD||19800101|M"))
        [received] = await door.told(StudyReceived)
        people = (await named(door, received)).people
        assert {"ROE^RICHARD", "DOE^JANE^Q", "SMITH^JOHN^^DR"} <= set(people)


async def test_what_an_earlier_message_of_an_order_named_is_not_forgotten(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await tell(door, ORM)
        await tell(door, ORM.replace("SMITH^JOHN", "GRAY^ART").replace("MSG0001", "MSG0002"))
        await send(door, ct_slice())
        [received] = await door.told(StudyReceived)
        assert {"SMITH^JOHN^^DR", "GRAY^ART^^DR"} <= set((await named(door, received)).people)


async def test_what_the_clinic_learns_of_a_patient_goes_with_what_comes(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await tell(door, ORM)
        await tell(door, adt("A08", f"{PID}\nNK1|1|DOE^JIM|SPO||71339"))
        await send(door, ct_slice())
        [received] = await door.told(StudyReceived)
        found = await named(door, received)
        assert {"Kowalski", "ROE^JANE", "DOE^JIM", "DOE^JANE^Q"} <= set(found.people)
        assert {"71339", "(406)555-0142"} <= set(found.numbers)


async def test_a_purge_deletes_what_orders_and_clinic_said_and_later_orders_bring_nothing_back(
    open_door: Door, ct_slice: Slice
) -> None:
    async with open_door() as door:
        await order(door, ORDER)
        await send(door, ct_slice())
        [received] = await door.told(StudyReceived)
        await door.settled()
        now = datetime.now(UTC)
        await deliver(
            door.runtime, StudyPurged(site="bozeman", study=received.study, reason="test-data", purged_at=now)
        )
        await order(door, ORDER | {"priority": "stat"})
        async with door.as_(Role.ASSISTANT, "bozeman") as assistant:
            verdict = {"verdict": "correct", "reason": "wrong patient", "patient": {"id": "7", "name": "Roe^Richard"}}
            answer = await assistant.post(f"/ingest/reviews/{received.study}", json=verdict)
        assert answer.status_code == 409
        assert [info.key async for info in door.context.originals.list("identities/")] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"names": "Gallatin"},
        {"names": ["x" * 101]},
        {"names": [""]},
        {"physicians": ["Gray\nArt"]},
        {"physicians": ["Dr Gray"] * 201},
    ],
)
async def test_a_site_is_not_called_anything(open_door: Door, wrong: dict[str, Any]) -> None:
    async with open_door() as door, door.as_(Role.OPERATOR) as operator:
        answer = await operator.put("/ingest/sites/bozeman", json=SITE | wrong)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
