"""FHIR R4 orders: a ServiceRequest, alone or in a Bundle with its Patient, read into a `Request`.

Everything that is refused is refused with the path of the element that is missing or wrong, never with its value.
"""

from __future__ import annotations

import re
from typing import Any

from radrelay_ingest.domain.fhir_json import STUDY_UIDS, Json, listed, pn_of, text_of
from radrelay_ingest.domain.fhir_named import named_in
from radrelay_ingest.domain.orders import Request, Status, moment
from radrelay_ingest.domain.patients import Identifier, Patient, groups_of
from radrelay_ingest.domain.vocabulary import MODALITIES, SIDES, public_code
from radrelay_shared.errors import Invalid
from radrelay_shared.events import Priority

PRIORITIES = {  # http://hl7.org/fhir/request-priority
    "stat": Priority.STAT,
    "asap": Priority.URGENT,
    "urgent": Priority.URGENT,
    "routine": Priority.ROUTINE,
}
STATUSES = {  # http://hl7.org/fhir/request-status; drafts and what nobody knows are no orders
    "active": Status.ACTIVE,
    "on-hold": Status.ON_HOLD,
    "revoked": Status.CANCELLED,
    "entered-in-error": Status.CANCELLED,
    "completed": Status.COMPLETED,
}
SEXES = {"male": "M", "female": "F", "other": "O"}  # http://hl7.org/fhir/administrative-gender
ORDERS = {"order", "original-order", "reflex-order", "filler-order", "instance-order"}
IDENTIFIER_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
DICOM_CODES = "http://dicom.nema.org/resources/ontology/DCM"
OID = "urn:oid:"
DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")
DATE_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?")
LONGEST = 64  # characters of a number


def read_order(document: Any) -> Request:
    """The order in a ServiceRequest or a Bundle with exactly one; raises `Invalid` with the path that is wrong."""
    return _order_in(document).model_copy(update={"besides": named_in(document)})


def _order_in(document: Any) -> Request:
    match document:
        case {"resourceType": "ServiceRequest"}:
            return _read(document, {})
        case {"resourceType": "Bundle"}:
            entries = listed(document, "entry")
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
    _check(
        text_of(request.get("intent")) in ORDERS,
        "ServiceRequest.intent: only an order is taken, not a proposal or a plan",
    )
    others = {**others, **{f"#{each.get('id')}": each for each in listed(request, "contained")}}
    encounter = request.get("encounter")
    code = _codings(request.get("code"))
    return Request(
        **_numbers(request),
        status=_status(request),
        priority=_priority(request),
        modality=_modality(request),
        procedure=public_code((each.get("system"), each.get("code")) for each in code),
        codes=tuple(filter(None, (text_of(each.get("code")) for each in code))),
        description=_words(request.get("code")),
        reason="; ".join(filter(None, map(_words, listed(request, "reasonCode")))),
        scheduled=_scheduled(request),
        ordered=_date_time(request, "authoredOn"),
        referring_physician=_requester(request, others),
        laterality=_laterality(request),
        visit=_identifier(encounter.get("identifier")) if isinstance(encounter, dict) else Identifier(),
        patient=_patient(request, others),
    )


def _status(request: Json) -> Status:
    status = STATUSES.get(str(request.get("status")))
    if status is None:
        raise Invalid(f"ServiceRequest.status: not one of {', '.join(STATUSES)}")
    return status


def _priority(request: Json) -> Priority:
    priority = PRIORITIES.get(str(request.get("priority", "routine")))
    if priority is None:
        raise Invalid("ServiceRequest.priority: not one of routine, urgent, asap, stat")
    return priority


# ── numbers ──


def _numbers(request: Json) -> Json:
    """Accession number, the numbers of placer and filler, and the study's UID, as far as they are there."""
    found: Json = {}
    for identifier in listed(request, "identifier"):
        for kind, name in (("ACSN", "accession"), ("PLAC", "placer"), ("FILL", "filler")):
            if _has_code(identifier.get("type"), IDENTIFIER_TYPES, kind) and (number := _identifier(identifier)).value:
                _check(len(number.value) <= LONGEST, f"ServiceRequest.identifier of type {kind}: the value is too long")
                found.setdefault(name, number)
        if identifier.get("system") == STUDY_UIDS:
            found["study_instance_uid"] = str(identifier.get("value")).removeprefix(OID)[:LONGEST]
    _check(
        bool(found.keys() & {"accession", "placer", "filler"}),
        "ServiceRequest.identifier of type ACSN: the accession number is missing, and so are PLAC and FILL",
    )
    return found


def _identifier(identifier: Any) -> Identifier:
    if not isinstance(identifier, dict) or not isinstance(identifier.get("value"), str):
        return Identifier()
    assigner = identifier.get("assigner")
    issuer = text_of(assigner.get("display")) if isinstance(assigner, dict) else None
    universal = (text_of(identifier.get("system")) or "").removeprefix(OID)
    return Identifier(value=identifier["value"].strip(), issuer=issuer or "", universal=universal)


# ── the patient ──


def _patient(request: Json, others: dict[str, Json]) -> Patient:
    """By reference into `contained` or the Bundle, or named right in `subject` by identifier."""
    subject = request.get("subject")
    if not isinstance(subject, dict) or not subject:
        raise Invalid("ServiceRequest.subject: the patient is missing")
    reference = subject.get("reference")
    resource = others.get(str(reference)) if reference else None
    if resource is None and isinstance(subject.get("identifier"), dict):
        resource = {"resourceType": "Patient", "identifier": [subject["identifier"]]}
        resource |= {"name": [{"text": subject["display"]}]} if subject.get("display") else {}
    if resource is None or resource.get("resourceType") != "Patient":
        raise Invalid("ServiceRequest.subject: it refers to a Patient that is neither contained nor in the Bundle")
    return _read_patient(resource)


def _read_patient(resource: Json) -> Patient:
    ids = tuple(each for each in map(_identifier, listed(resource, "identifier")) if each.value)
    name = groups_of(filter(None, map(pn_of, listed(resource, "name"))))
    _check(bool(ids or name), "Patient: there is neither an identifier nor a name")
    born = resource.get("birthDate")
    _check(born is None or (isinstance(born, str) and bool(DATE.fullmatch(born))), "Patient.birthDate: not a date")
    return Patient(
        ids=ids, name=name, birth_date=str(born or "").replace("-", ""), sex=SEXES.get(str(resource.get("gender")), "")
    )


def _requester(request: Json, others: dict[str, Json]) -> str:
    requester = request.get("requester")
    if not isinstance(requester, dict):
        return ""
    names = listed(others.get(str(requester.get("reference")), {}), "name")
    return groups_of(filter(None, map(pn_of, names))) or text_of(requester.get("display")) or ""


# ── what, where and when ──


def _modality(request: Json) -> str | None:
    concepts = [*listed(request, "orderDetail"), request.get("code")]
    codings = [coding for concept in concepts for coding in _codings(concept)]
    said = (each.get("code") for each in codings if each.get("system") == DICOM_CODES)
    return next((code for code in said if isinstance(code, str) and code in MODALITIES), None)


def _laterality(request: Json) -> str:
    codings = (coding for site in listed(request, "bodySite") for coding in _codings(site))
    return next((SIDES[code] for each in codings if (code := str(each.get("code"))) in SIDES), "")


def _scheduled(request: Json) -> str:
    period = request.get("occurrencePeriod")
    if isinstance(period, dict):
        return _date_time(period, "start", "ServiceRequest.occurrencePeriod")
    return _date_time(request, "occurrenceDateTime")


def _date_time(resource: Json, name: str, path: str = "ServiceRequest") -> str:
    """A FHIR dateTime as a DICOM DT; one that says less than a day says nothing about when to look for images."""
    said = resource.get(name)
    found = DATE_TIME.fullmatch(said) if isinstance(said, str) else None
    if found is None:
        vague = isinstance(said, str) and bool(DATE.fullmatch(said))
        _check(said is None or vague, f"{path}.{name}: not a dateTime")
        return ""
    *digits, offset = found.groups(default="")
    text = "".join(digits) + offset.replace(":", "").replace("Z", "+0000")
    try:
        moment(text)
    except Invalid as error:
        raise Invalid(f"{path}.{name}: {error.detail}") from None
    return text


def _has_code(concept: Any, system: str, code: str) -> bool:
    return any(coding.get("system", system) == system and coding.get("code") == code for coding in _codings(concept))


def _words(concept: Any) -> str:
    """What a concept is called."""
    text = text_of(concept.get("text")) if isinstance(concept, dict) else None
    return text or next(filter(None, (text_of(each.get("display")) for each in _codings(concept))), "")


def _codings(concept: Any) -> list[Json]:
    return listed(concept, "coding") if isinstance(concept, dict) else []


def _check(fine: bool, otherwise: str) -> None:  # noqa: FBT001  it reads as a sentence
    if not fine:
        raise Invalid(otherwise)
