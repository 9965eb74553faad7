"""The body of a webhook: at this moment, and only here, identity joins a report again. Pure."""

from __future__ import annotations

import json
from typing import Any

from radrelay_notification.domain import Delivery

ACCESSION = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}
SEX = {"M": "male", "F": "female", "O": "other"}
NAME_PARTS = (("family", 0, False), ("given", 1, True), ("prefix", 3, True), ("suffix", 4, True))


def body(delivery: Delivery, resource: dict[str, Any]) -> bytes:
    """The Standard Webhooks payload: type, timestamp of the event, data."""
    payload = {"type": delivery.type, "timestamp": delivery.occurred_at.isoformat(), "data": resource}
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def identified(report: dict[str, Any], identity: dict[str, Any]) -> dict[str, Any]:
    """The DiagnosticReport of this patient, order and study, complete in itself (FHIR R4, contained resources)."""
    study = {
        "resourceType": "ImagingStudy",
        "id": "study",
        "status": "available",
        "subject": {"reference": "#patient"},
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{identity['study_instance_uid']}"}],
    }
    return {
        **report,
        "contained": [patient(identity["patient"]), study],
        "basedOn": [{"type": "ServiceRequest", "identifier": accession(identity)}],
        "subject": {"reference": "#patient"},
        "imagingStudy": [{"reference": "#study"}],
    }


def notice(delivery: Delivery, identity: dict[str, Any] | None) -> dict[str, Any]:
    """What a hospital is told when a study needs a person: which one, in its own words, and why."""
    told = {"study": delivery.study, "reasons": list(delivery.notes)}
    return told | ({"accession_number": identity["accession_number"]} if identity else {})


def accession(identity: dict[str, Any]) -> dict[str, Any]:
    return {"type": ACCESSION, "value": identity["accession_number"] or "unknown"}


def patient(known: dict[str, Any]) -> dict[str, Any]:
    """A FHIR Patient from DICOM's attributes; what DICOM did not say is left out."""
    resource: dict[str, Any] = {"resourceType": "Patient", "id": "patient"}
    if known.get("id"):
        system = {"assigner": {"display": known["issuer"]}} if known.get("issuer") else {}
        resource["identifier"] = [{"value": known["id"], **system}]
    if known.get("name"):
        resource["name"] = [human_name(group) for group in known["name"].split("=") if group]
    if known.get("sex") in SEX:
        resource["gender"] = SEX[known["sex"]]
    if len(known.get("birth_date") or "") == len("19800101"):
        date = known["birth_date"]
        resource["birthDate"] = f"{date[:4]}-{date[4:6]}-{date[6:]}"
    return resource


def human_name(group: str) -> dict[str, Any]:
    """One component group of a DICOM PN (PS3.5 §6.2: family^given^middle^prefix^suffix) as a FHIR HumanName."""
    parts = [*group.split("^"), "", "", "", "", ""]
    name: dict[str, Any] = {"text": " ".join(part for part in (parts[3], parts[1], parts[2], parts[0]) if part)}
    for field, index, is_list in NAME_PARTS:
        if parts[index]:
            name[field] = [parts[index]] if is_list else parts[index]
    if parts[2]:
        name["given"] = [*name.get("given", []), parts[2]]
    return name
