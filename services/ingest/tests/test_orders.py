"""What an order must say, in hospitals' own FHIR, and how orders and studies find each other."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from radrelay_ingest.domain.fhir import read_order
from radrelay_ingest.domain.keys import order_key, study_key
from radrelay_ingest.domain.orders import Order, Request, match, place
from radrelay_ingest.domain.patients import Identifier, Patient
from radrelay_ingest.domain.vocabulary import modality
from radrelay_shared.errors import Invalid
from radrelay_shared.events import Priority
from radrelay_shared.named import Named

ACCESSION = {
    "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]},
    "value": "ACC123",
}
PLACER = {"type": {"coding": [{"code": "PLAC"}]}, "value": "PL100"}
JANE = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [{"system": "urn:oid:1.2.3", "value": "123456"}],
    "name": [{"family": "DOE", "given": ["JANE", "Q"]}],
    "birthDate": "1980-01-01",
    "gender": "female",
}
JANE_S_ID = Identifier(value="123456", universal="1.2.3")
HEAD_CT = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "intent": "order",
    "priority": "stat",
    "identifier": [PLACER, ACCESSION],
    "code": {"coding": [{"system": "http://loinc.org", "code": "30799-1"}], "text": "CT head"},
    "orderDetail": [{"coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}]}],
    "subject": {"reference": "#p1"},
    "contained": [JANE],
}


def with_(**changes: Any) -> dict[str, Any]:
    order: dict[str, Any] = copy.deepcopy(HEAD_CT) | changes
    return {name: value for name, value in order.items() if value is not None}


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": each} for each in resources]}


def test_stat_head_ct_with_its_patient_contained() -> None:
    assert read_order(HEAD_CT) == Request(
        accession=Identifier(value="ACC123"),
        placer=Identifier(value="PL100"),
        priority=Priority.STAT,
        modality="CT",
        procedure="30799-1",
        codes=("30799-1",),
        description="CT head",
        patient=Patient(ids=(JANE_S_ID,), name="DOE^JANE^Q", birth_date="19800101", sex="F"),
        besides=Named(people=("DOE^JANE^Q",), numbers=("PL100", "ACC123", "123456"), dates=("19800101",)),
    )


def test_transaction_bundle_with_the_patient_under_its_urn() -> None:
    urn = "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"
    order = with_(subject={"reference": urn}, contained=None)
    entries = [{"fullUrl": urn, "resource": JANE}, {"resource": order}]
    read = read_order({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert read.patient.name == "DOE^JANE^Q"


def test_transaction_bundle_with_the_patient_by_type_and_id() -> None:
    order = with_(subject={"reference": "Patient/p1"}, contained=None)
    assert read_order(bundle(JANE, order)).patient.ids == (JANE_S_ID,)


def test_patient_named_by_identifier_in_the_subject_itself() -> None:
    subject = {"identifier": {"system": "urn:oid:1.2.3", "value": "123456"}, "display": "Jane Doe"}
    read = read_order(with_(subject=subject, contained=None))
    assert read.patient == Patient(ids=(JANE_S_ID,), name="Jane Doe")


def test_korean_patient_name_comes_through_unharmed() -> None:
    patient = JANE | {"name": [{"family": "김", "given": ["희중"]}]}
    assert read_order(with_(contained=[patient])).patient.name == "김^희중"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stat", Priority.STAT),
        ("asap", Priority.URGENT),
        ("urgent", Priority.URGENT),
        ("routine", Priority.ROUTINE),
        (None, Priority.ROUTINE),
    ],
)
def test_priority_as_fhir_says_it(said: str | None, meant: Priority) -> None:
    assert read_order(with_(priority=said)).priority is meant


def test_free_text_in_place_of_a_procedure_code_goes_no_further() -> None:
    read = read_order(with_(code={"coding": [{"code": "CT head of Jane Doe"}], "text": "CT head"}))
    assert read.procedure is None


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (with_(subject=None), "ServiceRequest.subject"),
        (with_(subject={"reference": "#someone-else"}), "ServiceRequest.subject"),
        (with_(contained=None), "ServiceRequest.subject"),
        (with_(contained=[{"resourceType": "Patient", "id": "p1"}]), "Patient"),
        (with_(contained=[JANE | {"resourceType": "Group"}]), "ServiceRequest.subject"),
        (with_(identifier=[{"value": "PL100"}]), "ServiceRequest.identifier of type ACSN"),
        (with_(contained=[JANE | {"birthDate": "1.1.1980"}]), "Patient.birthDate"),
        (with_(authoredOn="2026-02-30T10:00:00Z"), "ServiceRequest.authoredOn"),
        (with_(occurrencePeriod={"start": "tomorrow"}), "ServiceRequest.occurrencePeriod.start"),
        (with_(identifier=[ACCESSION | {"value": "  "}]), "ServiceRequest.identifier of type ACSN"),
        (with_(status="draft"), "ServiceRequest.status"),
        (with_(status=None), "ServiceRequest.status"),
        (with_(intent="proposal"), "ServiceRequest.intent"),
        (with_(intent=["order"]), "ServiceRequest.intent"),
        (with_(priority="yesterday"), "ServiceRequest.priority"),
        (with_(priority={"code": "stat"}), "ServiceRequest.priority"),
        (bundle(JANE), "Bundle.entry"),
        (bundle(JANE, HEAD_CT, HEAD_CT), "Bundle.entry"),
        ({"resourceType": "Bundle", "entry": "none"}, "Bundle.entry"),
        (JANE, "resourceType"),
        ({}, "resourceType"),
    ],
)
def test_what_is_missing_is_named_by_its_path_and_never_by_its_value(document: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid, match=f"^{path}:") as refusal:
        read_order(document)
    assert not {"JANE", "DOE", "123456", "ACC123"} & set(refusal.value.detail.replace("^", " ").split())


def order_of(content: str, priority: Priority = Priority.ROUTINE, **fields: Any) -> Order:
    request = Request(
        accession=Identifier(value="A1"), priority=priority, patient=Patient(name="DOE^JANE"), procedure="30799-1"
    )
    return Order(order="or-a1", site="bozeman", jurisdiction="US-MT", content=content, request=request, **fields)


def test_a_new_order_is_announced_without_a_study() -> None:
    placed = place(None, order_of("one"))
    assert placed is not None
    assert [(event.study, event.model_dump()["order"]) for event in placed.events] == [("", "or-a1")]


def test_the_same_order_sent_twice_is_one_order() -> None:
    assert place(order_of("one"), order_of("one")) is None


def test_an_order_raised_to_stat_after_its_images_is_announced_for_them() -> None:
    placed = place(order_of("one", studies=("st-a", "st-b")), order_of("two", Priority.STAT))
    assert placed is not None
    assert [(event.study, event.priority) for event in placed.events] == [
        ("st-a", Priority.STAT),
        ("st-b", Priority.STAT),
    ]


def test_a_match_is_announced_once() -> None:
    matched = match(order_of("one"), "st-a")
    assert matched is not None
    assert matched.state.studies == ("st-a",)
    assert [event.study for event in matched.events] == ["st-a"]
    assert match(matched.state, "st-a") is None


def test_images_without_an_order_match_nothing() -> None:
    assert match(None, "st-a") is None


def test_two_clinics_with_the_same_accession_number_have_two_orders() -> None:
    keys = {order_key(b"secret", site, "accession", "ACC123") for site in ("bozeman", "helena")}
    assert len(keys) == 2
    assert all(len(key) == 35 and key.startswith("or-") and "ACC123" not in key for key in keys)


def test_keys_depend_on_the_secret_and_on_nothing_else() -> None:
    # printf 'study\0bozeman\x001.2.3' | openssl dgst -sha256 -hmac secret -binary | head -c20 | base32
    assert study_key(b"secret", "bozeman", "1.2.3") == "st-72mdofatmlvlcs5djho7iinm35gkewsv"
    assert study_key(b"other", "bozeman", "1.2.3") != study_key(b"secret", "bozeman", "1.2.3")
    assert study_key(b"secret", "bozeman", "1.2.3") != order_key(b"secret", "bozeman", "accession", "1.2.3")


def test_only_codes_of_public_systems_leave_with_an_event() -> None:
    coding = [
        {"system": "urn:clinic:local", "code": "DOE-JANE-1980"},
        {"system": "http://loinc.org", "code": "30799-1"},
    ]
    assert read_order(with_(code={"coding": coding})).procedure == "30799-1"
    assert read_order(with_(code={"coding": coding[:1]})).procedure is None


def test_a_modality_that_dicom_does_not_define_is_other() -> None:
    assert [modality(said) for said in ("CT", "JANE DOE", "")] == ["CT", "OT", "OT"]
