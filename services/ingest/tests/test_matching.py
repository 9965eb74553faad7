"""Which order a study answers, and when the two cannot be the same patient's: cases as clinics have them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from radrelay_ingest.domain.matching import Ambiguous, Basis, Found, Subject, contradicted, find
from radrelay_ingest.domain.orders import Order, Request, Status
from radrelay_ingest.domain.patients import Identifier, Patient, contradictions, same_name
from radrelay_shared.events import Priority

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
STUDY_UID = "1.2.840.99.1"
JANE = Patient(ids=(Identifier(value="123456", issuer="HOSP_A"),), name="DOE^JANE", birth_date="19800101", sex="F")


def number(value: str, issuer: str = "") -> Identifier:
    return Identifier(value=value, issuer=issuer)


def order(key: str, patient: Patient = JANE, **said: Any) -> Order:
    said = {"priority": Priority.ROUTINE, "modality": "CT", "scheduled": "20261101113000"} | said
    request = Request(patient=patient, **said)
    return Order(order=key, site="bozeman", jurisdiction="US-MT", content=key, request=request)


def images(patient: Patient = JANE, **said: Any) -> Subject:
    return Subject(patient=patient, **({"performed": "20261101120000", "modalities": ("CT",)} | said))


def answer(subject: Subject, *orders: Order) -> tuple[str, Basis] | str | None:
    found = find(subject, STUDY_UID, NOON, orders)
    if isinstance(found, Found):
        return found.order.order, found.basis
    return "ambiguous" if isinstance(found, Ambiguous) else None


@dataclass
class Case:
    name: str
    images: Subject
    orders: tuple[Order, ...]
    answered: tuple[str, Basis] | str | None


CASES = (
    Case(
        "scanner took the study's UID from the worklist, although the accession number was typed wrong",
        images(accession=number("ACC-OTHER")),
        (order("or-a", study_instance_uid=STUDY_UID, accession=number("ACC1")),),
        ("or-a", Basis.STUDY_UID),
    ),
    Case(
        "head CT by its accession number",
        images(accession=number("ACC1")),
        (order("or-a", accession=number("ACC1")), order("or-b", accession=number("ACC2"))),
        ("or-a", Basis.ACCESSION),
    ),
    Case(
        "two departments number alike: the issuer tells them apart",
        images(accession=number("ACC1", "RAD")),
        (order("or-a", accession=number("ACC1", "CARDIO")), order("or-b", accession=number("ACC1", "RAD"))),
        ("or-b", Basis.ACCESSION),
    ),
    Case(
        "two departments number alike and the images name no issuer: the patient tells",
        images(accession=number("ACC1")),
        (
            order("or-a", Patient(ids=(number("777"),), name="ROE^RICHARD"), accession=number("ACC1", "CARDIO")),
            order("or-b", accession=number("ACC1", "RAD")),
        ),
        ("or-b", Basis.ACCESSION),
    ),
    Case(
        "an accession number from another issuer is another order",
        images(accession=number("ACC1", "RAD")),
        (order("or-a", accession=number("ACC1", "CARDIO")),),
        None,
    ),
    Case(
        "a trauma patient's CT without accession number: patient, time and modality",
        images(),
        (order("or-a", placer=number("PL1")), order("or-b", placer=number("PL2"), modality="MR")),
        ("or-a", Basis.PATIENT),
    ),
    Case(
        "two CTs on one day: the requested procedure tells",
        images(requested_procedures=("RP2",)),
        (order("or-a", requested_procedure_id="RP1"), order("or-b", requested_procedure_id="RP2")),
        ("or-b", Basis.PATIENT),
    ),
    Case(
        "two CTs on one day: the procedure's code tells",
        images(codes=("72125",)),
        (order("or-a", codes=("70450",)), order("or-b", codes=("72125",))),
        ("or-b", Basis.PATIENT),
    ),
    Case(
        "two CTs on one day: the nearer in time",
        images(),
        (order("or-a", scheduled="20261101080000"), order("or-b", scheduled="20261101114500")),
        ("or-b", Basis.PATIENT),
    ),
    Case("two orders alike: a person chooses", images(), (order("or-a"), order("or-b")), "ambiguous"),
    Case("last month's order of the same patient", images(), (order("or-a", scheduled="20261001113000"),), None),
    Case(
        "tomorrow's order, carried out today",
        images(),
        (order("or-a", scheduled="20261102100000"),),
        ("or-a", Basis.PATIENT),
    ),
    Case("next week's order of the same patient", images(), (order("or-a", scheduled="20261108113000"),), None),
    Case(
        "an order's time in the clinic's own zone",
        images(performed="20261101120000+0000"),
        (order("or-a", scheduled="20261103050000-0800"), order("or-b", scheduled="20261101200000+0800")),
        ("or-b", Basis.PATIENT),
    ),
    Case("a cancelled order does not wait for images", images(), (order("or-a", status=Status.CANCELLED),), None),
    Case(
        "images with the number of a cancelled order are its images all the same",
        images(accession=number("ACC1")),
        (order("or-a", status=Status.CANCELLED, accession=number("ACC1")),),
        ("or-a", Basis.ACCESSION),
    ),
    Case(
        "an order with another accession number",
        images(accession=number("ACC1")),
        (order("or-a", accession=number("ACC2")),),
        None,
    ),
    Case(
        "the same number at another hospital is another patient",
        images(Patient(ids=(number("123456", "HOSP_B"),), name="DOE^JANE")),
        (order("or-a"),),
        None,
    ),
    Case(
        "an order that does not say for which machine",
        images(),
        (order("or-a", modality=None),),
        ("or-a", Basis.PATIENT),
    ),
    Case("images without a patient", images(Patient()), (order("or-a"),), None),
    Case("no orders at all", images(accession=number("ACC1")), (), None),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_study_answers(case: Case) -> None:
    assert answer(case.images, *case.orders) == case.answered


def test_images_without_a_time_count_as_made_when_they_came() -> None:
    assert answer(images(performed=""), order("or-a")) == ("or-a", Basis.PATIENT)
    assert answer(images(performed="20261399"), order("or-a")) == ("or-a", Basis.PATIENT)


# ── contradictions ──


@pytest.mark.parametrize(
    ("ordered", "shown", "codes"),
    [
        ({}, {}, ()),
        ({}, {"name": "ROE^RICHARD"}, ("patient-name",)),
        ({}, {"birth_date": "19800110"}, ("patient-birth-date",)),
        ({}, {"birth_date": ""}, ()),
        ({"birth_date": "1980"}, {}, ()),
        ({"birth_date": "1981"}, {}, ("patient-birth-date",)),
        ({}, {"sex": "M"}, ("patient-sex",)),
        ({}, {"sex": "O"}, ()),
        ({}, {"sex": ""}, ()),
        ({}, {"ids": (number("999", "PACS"),)}, ()),  # name and birth date agree: numbered apart
        ({}, {"ids": (number("999", "PACS"),), "birth_date": ""}, ("patient-id",)),
        ({}, {"ids": (number("123456"),), "birth_date": ""}, ()),
        ({"ids": (number("1"), number("123456", "HOSP_A"))}, {}, ()),
        ({}, {"ids": ()}, ()),
        ({}, {"name": "ROE^RICHARD", "birth_date": "19501231", "sex": "M"},
         ("patient-name", "patient-birth-date", "patient-sex")),
    ],
)  # fmt: skip
def test_order_and_images_contradict_each_other(
    ordered: dict[str, Any], shown: dict[str, Any], codes: tuple[str, ...]
) -> None:
    assert contradictions(JANE.model_copy(update=ordered), JANE.model_copy(update=shown)) == codes


@pytest.mark.parametrize(
    ("ordered", "shown", "codes"),
    [
        ("L", ("L",), ()),
        ("L", ("R",), ("laterality",)),
        ("R", ("L",), ("laterality",)),
        ("L", ("L", "R"), ()),  # both sides were taken, for comparison
        ("B", ("L",), ()),
        ("L", (), ()),
        ("", ("R",), ()),
        ("L", ("B",), ()),
    ],
)
def test_a_left_knee_is_not_a_right_knee(ordered: str, shown: tuple[str, ...], codes: tuple[str, ...]) -> None:
    assert contradicted(order("or-a", laterality=ordered).request, images(lateralities=shown)) == codes


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("DOE^JANE", "Doe^Jane", True),
        ("DOE^JANE^Q", "DOE^JANE", True),
        ("DOE^JANE^Q^DR", "DOE^J", True),
        ("DOE^JANE", "Jane Doe", True),
        ("DOE^JANE", "JANE^DOE", True),  # typed the wrong way round
        ("DOE^JANE", "DOE^JOHN", False),
        ("DOE^JANE", "DOE", False),
        ("DOE", "DOE", True),
        ("DOE^JANE", "ROE^JANE", False),
        ("Müller^Jürgen", "MUELLER^JUERGEN", True),
        ("Müller^Jürgen", "MULLER^JURGEN", True),
        ("Søren^Ågård", "Soeren^Aagaard", True),
        ("O'BRIEN^SEAN", "OBRIEN^SEÁN", True),
        ("SMITH-JONES^ANN", "SMITH JONES^ANN", True),
        ("Strauß^Eva", "STRAUSS^EVA", True),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "ヤマダ^タロウ", True),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎", True),
        ("Yamada^Tarou=山田^太郎", "山田太郎", True),
        ("山田^太郎", "山口^太郎", False),
        ("Hong^Gildong=洪^吉洞=홍^길동", "홍^길동", True),
        ("김^희중", "김희중", True),
        ("김^희중", "이^희중", False),
        ("Люкceмбypг^Юрий", "люкceмбypг^юрий", True),  # noqa: RUF001  Cyrillic
        ("Иванов^Фёдор", "Иванов^Федор", True),
        ("قباني^لنزار", "قبـــاني^لنزار", True),
        ("王^小东", "王^小东", True),
        ("Wang^XiaoDong=王^小东", "Wang^XiaoDong=王^小東", True),  # one group is enough
        ("Ivanov^Fedor", "Иванов^Фёдор", None),
        ("DOE^JANE", "", None),
    ],
)
def test_names_of_one_person(one: str, other: str, same: bool | None) -> None:  # noqa: FBT001
    assert same_name(one, other) is same
    assert same_name(other, one) is same


def test_a_scanner_that_took_the_order_from_the_worklist_needs_no_number_and_no_patient() -> None:
    ordered = order("or-a", placer=number("PL1"))
    found = find(images(Patient()), ordered.study_instance_uid, NOON, [order("or-b", placer=number("PL2")), ordered])
    assert isinstance(found, Found)
    assert (found.order.order, found.basis) == ("or-a", Basis.STUDY_UID)
