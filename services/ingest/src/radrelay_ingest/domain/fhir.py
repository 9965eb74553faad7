"""FHIR R4 orders: a ServiceRequest, alone or in a Bundle with its Patient, read into a `Request`.

Everything that is refused is refused with the path of the element that is missing or wrong, never with its value.
"""

from __future__ import annotations

import re
from typing import Any

from radrelay_ingest.domain.orders import Patient, Request
from radrelay_ingest.domain.vocabulary import CODE_SYSTEMS, MODALITIES
from radrelay_shared.errors import Invalid
from radrelay_shared.events import Priority

Json = dict[str, Any]

PRIORITIES = {  # http://hl7.org/fhir/request-priority
    "stat": Priority.STAT,
    "asap": Priority.URGENT,
    "urgent": Priority.URGENT,
    "routine": Priority.ROUTINE,
}
ORDERS = {"order", "original-order", "reflex-order", "filler-order", "instance-order"}
IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
DICOM_CODES = "http://dicom.nema.org/resources/ontology/DCM"
CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # what is not shaped like a code may be free text
ACCESSION_LENGTH = 64


def read_order(document: Any) -> Request:
    """The order in a ServiceRequest or a Bundle with exactly one; raises `Invalid` with the path that is wrong."""
    match document:
        case {"resourceType": "ServiceRequest"}:
            return _read(document, {})
        case {"resourceType": "Bundle"}:
            entries = _list(document, "entry")
            resources = [each["resource"] for each in entries if isinstance(each.get("resource"), dict)]
            requests = [each for each in resources if each.get("resourceType") == "ServiceRequest"]
            if len(requests) != 1:
                raise Invalid(f"Bundle.entry: one ServiceRequest is needed, {len(requests)} are there")
            return _read(requests[0], _by_reference(entries))
        case _:
            raise Invalid("resourceType: a ServiceRequest or a Bundle is needed")


def _by_reference(entries: list[Json]) -> dict[str, Json]:
    """The Bundle's resources under every name that a reference may use: fullUrl and Type/id."""
    found: dict[str, Json] = {}
    for entry in entries:
        resource = entry.get("resource")
        if isinstance(resource, dict):
            found[str(entry.get("fullUrl"))] = resource
            found[f"{resource.get('resourceType')}/{resource.get('id')}"] = resource
    return found


def _read(request: Json, others: dict[str, Json]) -> Request:
    _check(request.get("status") == "active", "ServiceRequest.status: only an active request orders a reading")
    _check(
        _text(request.get("intent")) in ORDERS,
        "ServiceRequest.intent: only an order is taken, not a proposal or a plan",
    )
    priority = PRIORITIES.get(str(request.get("priority", "routine")))
    if priority is None:
        raise Invalid("ServiceRequest.priority: not one of routine, urgent, asap, stat")
    return Request(
        accession_number=_accession_number(request),
        priority=priority,
        modality=_modality(request),
        procedure=_code(request.get("code")),
        patient=_patient(request, others),
    )


def _accession_number(request: Json) -> str:
    for identifier in _list(request, "identifier"):
        value = identifier.get("value")
        if _has_code(identifier.get("type"), IDENTIFIER_TYPES, "ACSN") and isinstance(value, str) and value.strip():
            _check(len(value) <= ACCESSION_LENGTH, "ServiceRequest.identifier of type ACSN: the value is too long")
            return value.strip()
    raise Invalid("ServiceRequest.identifier of type ACSN: the accession number is missing")


def _patient(request: Json, others: dict[str, Json]) -> Patient:
    """By reference into `contained` or the Bundle, or named right in `subject` by identifier."""
    subject = request.get("subject")
    if not isinstance(subject, dict) or not subject:
        raise Invalid("ServiceRequest.subject: the patient is missing")
    contained = {f"#{each.get('id')}": each for each in _list(request, "contained")}
    reference = subject.get("reference")
    resource = {**others, **contained}.get(str(reference)) if reference else None
    if resource is None and isinstance(subject.get("identifier"), dict):
        resource = {"resourceType": "Patient", "identifier": [subject["identifier"]]}
        resource |= {"name": [{"text": subject["display"]}]} if subject.get("display") else {}
    if resource is None or resource.get("resourceType") != "Patient":
        raise Invalid("ServiceRequest.subject: it refers to a Patient that is neither contained nor in the Bundle")
    return _read_patient(resource)


def _read_patient(resource: Json) -> Patient:
    values = (each.get("value") for each in _list(resource, "identifier"))
    identifiers = tuple(value.strip() for value in values if isinstance(value, str) and value.strip())
    names = _list(resource, "name")
    name = _name(names[0]) if names else None
    _check(bool(identifiers or name), "Patient: there is neither an identifier nor a name")
    return Patient(
        identifiers=identifiers,
        name=name,
        birth_date=_text(resource.get("birthDate")),
        sex=_text(resource.get("gender")),
    )


def _name(name: Json) -> str | None:
    """As DICOM writes it (PS3.5 §6.2.1.1), else as the hospital spells it out."""
    family, given = name.get("family"), name.get("given")
    if isinstance(family, str) and family:
        return "^".join([family, *(str(each) for each in given or [] if each)][:3])
    return _text(name.get("text"))


def _modality(request: Json) -> str | None:
    concepts = [*_list(request, "orderDetail"), request.get("code")]
    codings = [coding for concept in concepts for coding in _codings(concept)]
    said = (each.get("code") for each in codings if each.get("system") == DICOM_CODES)
    return next((code for code in said if code in MODALITIES), None)


def _code(concept: Any) -> str | None:
    """The first code of a public system that is shaped like one."""
    public = (coding.get("code") for coding in _codings(concept) if coding.get("system") in CODE_SYSTEMS)
    return next(filter(None, map(_shaped, public)), None)


def _shaped(code: Any) -> str | None:
    return code if isinstance(code, str) and CODE.fullmatch(code) else None


def _has_code(concept: Any, system: str, code: str) -> bool:
    return any(coding.get("system", system) == system and coding.get("code") == code for coding in _codings(concept))


def _codings(concept: Any) -> list[Json]:
    return _list(concept, "coding") if isinstance(concept, dict) else []


def _list(resource: Json, name: str) -> list[Json]:
    found = resource.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _check(fine: bool, otherwise: str) -> None:  # noqa: FBT001  it reads as a sentence
    if not fine:
        raise Invalid(otherwise)
