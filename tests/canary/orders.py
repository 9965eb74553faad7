"""Orders in which everything that may name somebody does."""

from __future__ import annotations

import itertools
from typing import Any

from canary.patients import Patient
from canary.studies import sentence


def order(who: Patient, study: int, priority: str = "routine") -> dict[str, Any]:
    """A FHIR R4 transaction Bundle of a Patient and a ServiceRequest."""
    mark, count = who.mark, itertools.count(1)

    def said() -> str:
        return f"{mark}{next(count):04} of {who.given}"

    reference = {"reference": "urn:uuid:7f1a52b0-0d5d-4c3e-9a55-000000000001", "display": who.family}
    person = {"reference": f"Practitioner/{mark}", "display": said()}
    patient = {
        "resourceType": "Patient",
        "id": mark.lower(),
        "text": {
            "status": "generated",
            "div": f"<div xmlns='http://www.w3.org/1999/xhtml'>{sentence(who, who.accession(study))}</div>",
        },
        "identifier": [{"system": f"urn:{mark}", "value": who.id}, {"value": said()}],
        "name": [
            {"text": f"{who.given} {who.family}", "family": who.family, "given": [who.given]},
            {"text": "".join(who.ideographic), "family": who.ideographic[0], "given": [who.ideographic[1]]},
        ],
        "telecom": [
            {"system": "phone", "value": who.phone},
            {"system": "email", "value": f"{who.family}@mail.example"},
        ],
        "birthDate": who.born,
        "gender": "female",
        "address": [{"text": said(), "line": [said()], "city": said(), "postalCode": mark}],
        "contact": [{"name": {"text": said()}, "telecom": [{"system": "phone", "value": who.phone}]}],
        "generalPractitioner": [person],
        "photo": [{"title": said()}],
    }
    accession = {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}],
        "text": said(),
    }
    request = {
        "resourceType": "ServiceRequest",
        "id": f"{mark.lower()}-{study}",
        "identifier": [{"value": said()}, {"type": accession, "value": who.accession(study)}],
        "status": "active",
        "intent": "order",
        "priority": priority,
        "category": [{"text": said()}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "24627-2", "display": said()}], "text": said()},
        "orderDetail": [{"text": said()}],
        "subject": reference,
        "encounter": {"display": said()},
        "authoredOn": "2026-01-02T03:04:05Z",
        "requester": person,
        "performer": [person],
        "locationCode": [{"text": said()}],
        "reasonCode": [{"text": sentence(who, who.accession(study))}],
        "insurance": [{"display": said()}],
        "supportingInfo": [{"display": said()}],
        "note": [{"authorString": said(), "text": sentence(who, who.accession(study))}],
        "patientInstruction": said(),
    }
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "identifier": {"value": said()},
        "entry": [
            {"fullUrl": reference["reference"], "resource": patient, "request": {"method": "POST", "url": "Patient"}},
            {"resource": request, "request": {"method": "POST", "url": "ServiceRequest"}},
        ],
    }
