"""Whom only an order or a clinic's entry names is nowhere outside the identified zone, and medicine stays."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence

from canary.patients import Thing, alone, spellings
from canary.studies import code, content, document
from canary.wiretap import Evidence, Listener, all_in_one
from fleet import Installation
from radrelay_shared.security import Role
from radrelay_shared.testing import until
from real_files import PYDICOM

SITE = {
    "name": "St. Zqagneta Primary Care and Fracture Clinic",
    "names": ["Zqhollow Acute Care", "8 Zqmillway Lane"],
    "physicians": ["Zqvogel^Heike"],
    "jurisdiction": "US-MT",
    "quiet_seconds": 0.3,
}
WORDS = ("Zqagneta", "Zqhollow", "Zqmillway", "Zqvogel", "Zqmarlow", "Zqnephew", "Zqmaiden", "Zqtown")
NUMBERS = ("71339", "71442")  # of telephones
# Each sentence: what it says, and what has to be left of it.
SENTENCES = {
    "FHIR": (
        (
            "Acute fracture. Discussed with Dr. Zqmarlow of St. Zqagneta on 71339; Zqnephew (Zqtown) was informed. "
            "Patient, formerly Zqmaiden, returns to the fracture clinic."
        ),
        ("Acute fracture", "Discussed with", "was informed", "returns to the fracture clinic"),
    ),
    "HL7": (
        "Nodule of 12 mm in the right upper lobe. zqmarlow (ZQHOLLOW) called back, 71-442, ZQVOGEL. Critical access.",
        ("Nodule of 12 mm in the right upper lobe", "called back", "Critical access"),
    ),
}
DESCRIPTIONS = {
    "FHIR": ("CT wrist, Zqmarlow, 8 Zqmillway Lane", "CT wrist"),
    "HL7": ("CT chest for Zqvogel/Zqhollow", "CT chest for"),
}
FHIR = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "intent": "order",
    "identifier": [{"type": {"coding": [{"code": "ACSN"}]}, "value": "FHIR-7001"}],
    "subject": {"reference": "#p"},
    "requester": {"reference": "#dr"},
    "contained": [
        {
            "resourceType": "Patient",
            "id": "p",
            "identifier": [{"value": "QX-4411"}],
            "name": [{"family": "Plain", "given": ["Petra"]}, {"use": "maiden", "family": "Zqmaiden"}],
            "address": [{"city": "Zqtown"}],
            "contact": [{"name": {"family": "Zqnephew", "given": ["Jim"]}}],
        },
        {
            "resourceType": "Practitioner",
            "id": "dr",
            "name": [{"family": "Zqmarlow", "given": ["Tess"]}],
            "telecom": [{"system": "phone", "value": "71339"}],
        },
    ],
}
HL7 = r"""MSH|^~\&|HIS|ZQ|TELERAD|HUB|20261101093000||ORM^O01|MSG1|P|2.5.1
PID|1||QX-4411^^^^MR||Plain^Petra
ORC|NW|PL77^HIS||||||||||5566^ZQMARLOW^TESS||71442
OBR|1|PL77^HIS||71260^CT CHEST^CPT4||||||||||||||HL7-7002
"""


@dataclass(frozen=True)
class Way:
    """One way of ordering, and the study that answers the order."""

    name: str
    accession: str

    def datasets(self) -> Iterator[FileDataset]:
        """A CT with a description, and a report with a sentence; their headers name nobody but the patient."""
        image = pydicom.dcmread(PYDICOM / "test_files/CT_small.dcm")
        image.StudyDescription = DESCRIPTIONS[self.name][0]
        yield self._finished(image, 1)
        report = document("1.2.840.10008.5.1.4.1.1.88.11", "SR")
        report.ValueType, report.ContinuityOfContent = "CONTAINER", "SEPARATE"
        report.CompletionFlag, report.VerificationFlag = "COMPLETE", "UNVERIFIED"
        report.ConceptNameCodeSequence = Sequence([code("126000", "DCM", "Imaging Measurement Report")])
        finding = content("TEXT", code("121071", "DCM", "Finding"), TextValue=SENTENCES[self.name][0])
        report.ContentSequence = Sequence([finding])
        yield self._finished(report, 2)

    def _finished(self, dataset: FileDataset, number: int) -> FileDataset:
        uid = f"1.2.826.0.1.3680043.9999.3.{len(self.name)}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid, f"{uid}.{number}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{number}.1"
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.AccessionNumber, dataset.PatientID, dataset.PatientName = self.accession, "QX-4411", "Plain^Petra"
        dataset.ReferringPhysicianName = dataset.InstitutionName = ""
        return dataset


WAYS = (Way("FHIR", "FHIR-7001"), Way("HL7", "HL7-7002"))


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """All that was seen of both studies, on embedded adapters."""
    return asyncio.run(watch(tmp_path_factory.mktemp("words")))


async def watch(folder: Path) -> Evidence:
    evidence = Evidence()
    async with (
        Listener(evidence).listening() as collector,
        all_in_one(folder, evidence, collector) as relay,
        httpx2.AsyncClient(timeout=60, trust_env=False) as http,
    ):
        await relay.client("op", Role.OPERATOR).call("PUT", "/ingest/sites/hollow", json=SITE)
        clinic = relay.client("his", Role.SITE, "hollow")
        headers = {"Authorization": f"Bearer {clinic.token}"}
        await clinic.call("POST", "/ingest/fhir/ServiceRequest", json=FHIR)
        told = {**headers, "Content-Type": "application/hl7-v2; charset=utf-8"}
        answer = await http.post(clinic.url("/ingest/hl7"), content=HL7.replace("\n", "\r").encode(), headers=told)
        assert "MSA|AA" in answer.text, answer.text
        for way in WAYS:
            await stow(http, clinic.url("/ingest/dicom-web/studies"), headers, list(way.datasets()))
        await stored(relay, evidence)
    return evidence


async def stow(http: httpx2.AsyncClient, url: str, headers: dict[str, str], datasets: list[FileDataset]) -> None:
    body = b""
    for dataset in datasets:
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        body += b"--b\r\nContent-Type: application/dicom\r\n\r\n" + buffer.getvalue() + b"\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    answer = await http.post(url, content=body + b"--b--\r\n", headers={**headers, "Content-Type": kind})
    assert answer.status_code == 200, answer.text


async def stored(relay: Installation, evidence: Evidence) -> None:
    """Wait until both studies can be read, and keep what is answered of them."""
    client = relay.client("op", Role.OPERATOR)

    async def both() -> list[dict[str, Any]]:
        items = await client.call("GET", "/workitems")
        return items if len(items) >= len(WAYS) else []

    items = await until(both)
    reader = relay.client("ada", Role.ASSISTANT, "hollow")
    for item in items:
        found = await reader.call("GET", f"/dicom-web/studies/{item['study_instance_uid']}/metadata")
        evidence.add("metadata", item["study"], repr(found).encode())


def said(evidence: Evidence) -> str:
    return "\n".join(thing.content.decode() for thing in evidence.places["metadata"])


@pytest.mark.parametrize("place", ["events", "logs", "telemetry", "blobs", "documents", "metadata"])
def test_nothing_outside_the_identified_zone_says_what_orders_and_clinics_say(evidence: Evidence, place: str) -> None:
    assert evidence.places[place], f"nothing was seen in {place}: the test looks in the wrong place"
    assert [trace for thing in evidence.places[place] for trace in traces(thing)] == []


def traces(thing: Thing) -> Iterator[str]:
    folded = thing.content.lower()
    yield from (f"{word} in {thing.name}" for word in WORDS if any(each in folded for each in spellings(word)))
    yield from (f"{number} in {thing.name}" for number in NUMBERS if alone(number).search(folded))


def test_the_search_finds_all_of_it_among_the_originals(evidence: Evidence) -> None:
    folded = b"".join(thing.content for thing in evidence.places["originals"]).lower()
    assert [word for word in WORDS if word.lower().encode() not in folded] == []
    assert [number for number in NUMBERS if not alone(number).search(folded)] == []


@pytest.mark.parametrize("way", ["FHIR", "HL7"])
def test_what_a_radiologist_needs_of_such_sentences_stays(evidence: Evidence, way: str) -> None:
    left = said(evidence)
    assert [words for words in (*SENTENCES[way][1], DESCRIPTIONS[way][1]) if words not in left] == []


def test_both_studies_went_on_with_a_key_and_no_word(evidence: Evidence) -> None:
    received = [thing.content for thing in evidence.places["events"] if b"radrelay.study.received.v1" in thing.content]
    assert len(received) == len(WAYS)
    assert all(b'"words":"identities/st-' in each for each in received)


def test_the_image_type_of_a_primary_care_clinic_is_still_primary(evidence: Evidence) -> None:
    assert "'ORIGINAL', 'PRIMARY', 'AXIAL'" in said(evidence)
