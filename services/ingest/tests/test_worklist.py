"""The worklist as a scanner asks for it: dcmtk's findscu and pynetdicom against the running service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind

from radrelay_ingest.dicom.attributes import matches
from radrelay_shared.dicom.asking import keep_answers
from radrelay_shared.events import OrderReceived
from radrelay_shared.security import Role
from servers.dcmtk import dcmtk

Door = Callable[..., AbstractAsyncContextManager[Any]]
Slice = Callable[..., bytes]

DCM = "http://dicom.nema.org/resources/ontology/DCM"
STEP = "(0040,0100)[0]"


def ordered(accession: str, family: str, given: str, at: str, modality: str | None = "CT", **changes: Any) -> Any:
    """An order of a clinic's, as FHIR."""
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [{"value": f"ID-{accession}"}],
        "name": [{"family": family, "given": [given]}],
        "birthDate": "1954-03-01",
        "gender": "female",
    }
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "priority": "stat",
        "identifier": [{"type": {"coding": [{"code": "ACSN"}]}, "value": accession}],
        "occurrenceDateTime": at,
        "orderDetail": [{"coding": [{"system": DCM, "code": modality}]}] if modality else [],
        "contained": [patient],
        "subject": {"reference": "#p"},
    } | changes


ORDERS = (
    ordered("A1", "Doe", "Jane", "2026-11-25T08:30:00-07:00"),
    ordered("A2", "Müller", "Jörg", "2026-11-25T14:00:00-07:00"),
    ordered("A3", "山田", "太郎", "2026-11-26T09:00:00-07:00", "MR"),
    ordered("A4", "Roe", "Richard", "2026-11-27T09:00:00-07:00", status="revoked"),
)


async def orders(door: Any, site: str = "bozeman", wanted: tuple[Any, ...] = ORDERS) -> None:
    async with door.as_(Role.SITE, site) as machine:
        for each in wanted:
            answer = await machine.post("/ingest/fhir/ServiceRequest", json=each)
            assert answer.status_code in (200, 202), answer.text


def query(step: dict[str, str] | None = None, **keys: str) -> Dataset:
    """What most scanners ask for, with these values to match."""
    inner, outer = Dataset(), Dataset()
    asked = {"Modality": "", "ScheduledProcedureStepStartDate": "", "ScheduledProcedureStepStartTime": ""}
    for keyword, value in (asked | {"ScheduledStationAETitle": ""} | (step or {})).items():
        setattr(inner, keyword, value)
    for keyword, value in ({"PatientName": "", "AccessionNumber": "", "StudyInstanceUID": ""} | keys).items():
        setattr(outer, keyword, value)
    outer.ScheduledProcedureStepSequence = Sequence([inner])
    return outer


async def found(door: Any, asked: Dataset, calling: str = "BOZEMAN") -> tuple[list[Dataset], int]:
    """The entries, and the status after them."""

    def find() -> tuple[list[Dataset], int]:
        scanner = AE(calling)
        scanner.add_requested_context(ModalityWorklistInformationFind)
        association = scanner.associate("127.0.0.1", door.context.dicom_port)
        keep_answers(association)
        assert association.is_established
        answers = list(association.send_c_find(asked, ModalityWorklistInformationFind))
        association.release()
        return [entry for _, entry in answers if entry is not None], int(answers[-1][0].Status)

    return await asyncio.to_thread(find)


@pytest.mark.parametrize(
    ("asked", "accessions"),
    [
        (query(), ["A1", "A2", "A3"]),
        (query(AccessionNumber="A2"), ["A2"]),
        (query(AccessionNumber="A?"), ["A1", "A2", "A3"]),
        (query(PatientID="ID-A1"), ["A1"]),
        (query(PatientName="doe*"), ["A1"]),
        (query(PatientName="DOE"), ["A1"]),
        (query(PatientName="*"), ["A1", "A2", "A3"]),
        (query(PatientName="Doe^John"), []),
        (query(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^*"), ["A2"]),
        (query(SpecificCharacterSet="ISO_IR 192", PatientName="山田*"), ["A3"]),
        (query({"Modality": "MR"}), ["A3"]),
        (query({"ScheduledProcedureStepStartDate": "20261125"}), ["A1", "A2"]),
        (query({"ScheduledProcedureStepStartDate": "20261126-"}), ["A3"]),
        (query({"ScheduledProcedureStepStartDate": "-20261125"}), ["A1", "A2"]),
        (query({"ScheduledProcedureStepStartTime": "0800-0915"}), ["A1", "A3"]),
        (
            query({"ScheduledProcedureStepStartDate": "20261125-20261126", "ScheduledProcedureStepStartTime": "12-10"}),
            ["A2", "A3"],
        ),
        (query({"ScheduledStationAETitle": "BOZEMAN"}), ["A1", "A2", "A3"]),
        (query({"ScheduledStationAETitle": "ELSEWHERE"}), []),
        (query(StudyInstanceUID="1.2.3\\1.2.4"), []),
    ],
    ids=[
        "everything",
        "an accession number",
        "a wildcard",
        "a patient ID",
        "a name that begins so, whatever the case",
        "a family name alone",
        "any name",
        "another patient",
        "a German name",
        "a Japanese name",
        "a modality",
        "a day",
        "from a day on",
        "until a day",
        "the morning of any day",
        "from noon of one day until ten of the next",
        "the scanner itself",
        "another scanner",
        "studies that are not",
    ],
)
async def test_a_scanner_finds_its_patients_by(open_door: Door, asked: Dataset, accessions: list[str]) -> None:
    async with open_door() as door:
        await orders(door)
        entries, status = await found(door, asked)
        assert sorted(str(each.AccessionNumber) for each in entries) == accessions
        assert status == 0x0000


async def test_an_entry_has_what_was_asked_for_and_nothing_else(open_door: Door) -> None:
    async with open_door() as door:
        await orders(door)
        asked = query(AccessionNumber="A1", PatientBirthDate="", PatientSex="", AdmissionID="", MedicalAlerts="")
        [[entry], _] = await found(door, asked)
        assert str(entry.PatientName) == "Doe^Jane"
        assert (entry.PatientBirthDate, entry.PatientSex, entry.MedicalAlerts) == ("19540301", "F", "")
        [step] = entry.ScheduledProcedureStepSequence
        assert (step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime) == ("20261125", "083000")
        assert (step.Modality, step.ScheduledStationAETitle) == ("CT", "BOZEMAN")
        assert "PatientID" not in entry
        assert "ScheduledProcedureStepID" not in step


@pytest.mark.parametrize(
    ("charset", "name", "answered_in"),
    [
        (None, "Doe*", None),
        ("ISO_IR 100", "Müller*", "ISO_IR 100"),
        ("ISO_IR 100", "A3", "ISO_IR 192"),
        ("ISO_IR 192", "山田*", "ISO_IR 192"),
    ],
    ids=["plain letters", "as the scanner writes", "what the scanner cannot write", "UTF-8"],
)
async def test_names_come_in_the_scanners_character_set_if_that_has_their_letters(
    open_door: Door, charset: str | None, name: str, answered_in: str | None
) -> None:
    key = {"AccessionNumber": name} if name == "A3" else {"PatientName": name}
    async with open_door() as door:
        await orders(door)
        asked = query(None, **key, **({"SpecificCharacterSet": charset} if charset else {}))
        [[entry], _] = await found(door, asked)
        assert (entry.get("SpecificCharacterSet") or None) == answered_in
        assert str(entry.PatientName) in ("Doe^Jane", "Müller^Jörg", "山田^太郎")


async def test_a_scanner_sees_its_own_clinics_patients_only(open_door: Door) -> None:
    async with open_door() as door:
        await orders(door)
        assert await found(door, query(), "HAMBURG") == ([], 0x0000)


async def test_a_patient_who_was_scanned_leaves_the_list(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await orders(door)
        [[entry], _] = await found(door, query(AccessionNumber="A1"))
        sent = ct_slice(
            study=str(entry.StudyInstanceUID), accession="A1", PatientID="ID-A1", PatientBirthDate="19540301"
        )
        async with door.as_(Role.SITE, "bozeman") as machine:
            upload = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
            headers = upload | {"Upload-Length": str(len(sent))}
            assert (await machine.post("/ingest/uploads", content=sent, headers=headers)).status_code == 201
        await door.told(OrderReceived, 5)
        assert (await found(door, query(AccessionNumber="A1")))[0] == []


async def test_an_entry_names_the_same_study_each_time(open_door: Door) -> None:
    async with open_door() as door:
        await orders(door)
        uids = {str((await found(door, query(AccessionNumber="A1")))[0][0].StudyInstanceUID) for _ in range(2)}
        others = {str((await found(door, query(AccessionNumber="A2")))[0][0].StudyInstanceUID)}
        assert len(uids) == 1
        assert uids.isdisjoint(others)


@pytest.mark.external
async def test_findscu_writes_the_days_list(open_door: Door, tmp_path: Path) -> None:
    keys = ["PatientName", "AccessionNumber", f"{STEP}.ScheduledProcedureStepStartDate=20261125", f"{STEP}.Modality=CT"]
    async with open_door() as door:
        await orders(door)
        options = [option for key in keys for option in ("-k", key)]
        code, output = await dcmtk(
            "findscu", "-W", "-aet", "BOZEMAN", "-X", "-od", tmp_path, *options, "127.0.0.1", door.context.dicom_port
        )
        assert code == 0, output
    assert names_in(tmp_path) == ["Doe^Jane", "Müller^Jörg"]


def names_in(folder: Path) -> list[str]:
    return sorted(str(dcmread(path, force=True).PatientName) for path in folder.glob("rsp*.dcm"))


def test_an_order_without_a_time_is_in_no_period() -> None:
    entry = query({"ScheduledProcedureStepStartDate": "", "ScheduledProcedureStepStartTime": ""})
    period = {"ScheduledProcedureStepStartDate": "20261125-", "ScheduledProcedureStepStartTime": "08-"}
    assert not matches(query(period), entry)
    assert matches(query(), entry)
