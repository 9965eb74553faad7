"""What RadRelay takes from HL7 v2: orders (ORM^O01, OMI^O23), and the patients of orders and of ADT.

Fields are those of HL7 2.5.1 and of IHE Scheduled Workflow (RAD TF-2 §4.4): OBR-18 to 20 and 24, IPC, ZDS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from radrelay_ingest.domain.orders import Request, Status, moment
from radrelay_ingest.domain.patients import Identifier, Patient, groups_of
from radrelay_ingest.domain.vocabulary import HL7_CODE_SYSTEMS, MODALITIES, SIDES, public_code
from radrelay_ingest.hl7.er7 import Message, Repetition, Segment, part
from radrelay_ingest.hl7.errors import DATA_TYPE, REQUIRED, SEQUENCE, TABLE_VALUE, Unacceptable
from radrelay_ingest.hl7.named import name_in, named_in
from radrelay_ingest.hl7.priorities import priority_of
from radrelay_shared.errors import Invalid
from radrelay_shared.named import Named

STATUSES = {  # ORC-1 (table 0119): RadRelay carries requests to hold and to cancel out at once
    **dict.fromkeys(("NW", "SN", "NA", "OK", "RL", "RE", "RO", "RP", "RU", "RQ", "XO", "XX", "XR", "PA", "CH", "AF"),
                    Status.ACTIVE),
    **dict.fromkeys(("CA", "OC", "CR", "DC", "OD", "DR"), Status.CANCELLED),
    **dict.fromkeys(("HD", "OH", "HR"), Status.ON_HOLD),
}  # fmt: skip
CHANGED = {  # ORC-5 (table 0038), where ORC-1 says that the status changed
    "CM": Status.COMPLETED,
    **dict.fromkeys(("CA", "DC", "RP"), Status.CANCELLED),
    "HD": Status.ON_HOLD,
}
STATUS_CHANGED = ("SC", "SR", "SS")
EI_AUTHORITY, CX_AUTHORITY = 2, 4  # the components that say who gave an identifier out
SEXES = {"M": "M", "F": "F", "O": "O", "A": "O"}  # table 0001
TIME = re.compile(r"(\d{8})(?:(\d{4})(\d{2})?(?:\.\d{1,4})?)?([+-]\d{4})?")
DATE = re.compile(r"\d{4}(?:\d{2}(?:\d{2})?)?")


def orders_in(message: Message) -> list[Request]:
    """Every order of the message, for its one patient; raises `Unacceptable` with the place that is wrong."""
    patient, visit, besides = patient_of(message), message.first("PV1"), named_in(message)
    orders = [_order(group, patient, visit, besides) for group in message.groups("ORC")]
    if not orders:
        raise Unacceptable("an order needs an ORC segment", SEQUENCE, "ORC^1")
    return orders


def _order(group: tuple[Segment, ...], patient: Patient, visit: Segment | None, besides: Named) -> Request:
    found = {segment.name: segment for segment in reversed(group)}
    order, request, image = group[0], found.get("OBR"), found.get("IPC")
    timing = found.get("TQ1")
    numbers = {
        "accession": _first(_entity(image, 1), _entity(request, 18)),
        "placer": _first(_entity(order, 2), _entity(request, 2)),
        "filler": _first(_entity(order, 3), _entity(request, 3)),
    }
    if not any(number.value for number in numbers.values()):
        raise Unacceptable("an order needs a number: ORC-2, ORC-3, OBR-18 or IPC-1", REQUIRED, "ORC^1^2")
    codes = [(HL7_CODE_SYSTEMS.get(part(each, 3).upper()), part(each, 1)) for each in _repetitions(request, 4)]
    codes += [(HL7_CODE_SYSTEMS.get(part(each, 6).upper()), part(each, 4)) for each in _repetitions(request, 4)]
    return Request(
        **numbers,
        status=_status(order),
        priority=priority_of(timing, order, request),
        modality=_modality(image, request),
        procedure=public_code(codes),
        codes=tuple(dict.fromkeys(code for _, code in codes if code)),
        description=_said(request, 4, 2),
        reason=_said(request, 31, 2) or _said(request, 31) or _said(request, 13),
        requested_procedure_id=_said(image, 2) or _said(request, 19),
        step_id=_said(image, 4) or _said(request, 20),
        scheduled=_first_time((timing, 7, 1), (order, 7, 4), (request, 27, 4), (request, 36, 1), (request, 7, 1)),
        ordered=_first_time((order, 9, 1), (order, 15, 1)),
        station_ae=_said(image, 9),
        referring_physician=_physician(visit, 8) or _physician(order, 12) or _physician(request, 16),
        study_instance_uid=_said(image, 3) or _said(found.get("ZDS"), 1),
        laterality=_laterality(request),
        visit=_entity(visit, 19, CX_AUTHORITY),
        patient=patient,
        besides=besides,
    )


def _status(order: Segment) -> Status:
    control = order.text(1)
    if control in STATUS_CHANGED:
        return CHANGED.get(order.text(5), Status.ACTIVE)
    if control not in STATUSES:
        raise Unacceptable("this order control code is not known here", TABLE_VALUE, "ORC^1^1")
    return STATUSES[control]


# ── patients ──


def patient_of(message: Message) -> Patient:
    """The patient of PID; raises `Unacceptable` if there is none, or neither an ID nor a name."""
    segment = message.first("PID")
    if segment is None:
        raise Unacceptable("a PID segment is needed", SEQUENCE, "PID^1")
    return patient_in(segment)


def patient_in(segment: Segment) -> Patient:
    ids, name, born = ids_in(segment, 3), _person(segment), segment.text(7)[:8]
    if not ids and not name:
        raise Unacceptable("a patient needs an ID or a name", REQUIRED, "PID^1^3")
    if born and not DATE.fullmatch(born):
        raise Unacceptable("not a date", DATA_TYPE, "PID^1^7")
    return Patient(ids=ids, name=name, birth_date=born, sex=SEXES.get(segment.text(8).upper(), ""))


def ids_in(segment: Segment, number: int) -> tuple[Identifier, ...]:
    """Patient IDs (CX) and who gave them out; medical record numbers first, for images bear them."""
    said = sorted(segment.repetitions(number), key=lambda each: part(each, 5) not in ("MR", "PI", ""))
    return tuple(each for each in (_number(repetition, CX_AUTHORITY) for repetition in said) if each.value)


def merges_in(message: Message) -> Iterator[tuple[Patient, tuple[Identifier, ...]]]:
    """Each surviving patient of an A40, and the IDs that are retired (MRG-1)."""
    for group in message.groups("PID"):
        patient = patient_in(group[0])
        retired = tuple(number for each in group if each.name == "MRG" for number in ids_in(each, 1))
        if not patient.ids:
            raise Unacceptable("the surviving patient needs an ID", REQUIRED, "PID^1^3")
        if not retired:
            raise Unacceptable("the ID that is retired is missing", REQUIRED, "MRG^1^1")
        yield patient, retired


def _person(segment: Segment) -> str:
    """PID-5 (XPN) as a PN, in all the spellings that are there."""
    return groups_of(dict.fromkeys(filter(None, (name_in(each, 1) for each in segment.repetitions(5)))))


def _physician(segment: Segment | None, number: int) -> str:
    """XCN: an ID, then the name."""
    return groups_of(filter(None, (name_in(each, 2) for each in _repetitions(segment, number)[:1])))


# ── pieces ──


def _repetitions(segment: Segment | None, number: int) -> list[Repetition]:
    return segment.repetitions(number) if segment else []


def _said(segment: Segment | None, number: int, component: int = 1) -> str:
    return segment.text(number, component) if segment else ""


def _entity(segment: Segment | None, number: int, authority: int = EI_AUTHORITY) -> Identifier:
    """The first of a field's identifiers, an EI unless said."""
    return next((_number(each, authority) for each in _repetitions(segment, number)), Identifier())


def _number(repetition: Repetition, authority: int) -> Identifier:
    """Component 1, given out by the HD in `authority`; an EI spreads its HD over the components behind it."""
    issuer = part(repetition, authority)
    universal = part(repetition, authority, 2)
    if authority == EI_AUTHORITY:
        universal = universal or part(repetition, authority + 1)
    return Identifier(value=part(repetition, 1), issuer=issuer, universal=universal)


def _first(*numbers: Identifier) -> Identifier:
    return next((number for number in numbers if number.value), Identifier())


def _modality(image: Segment | None, request: Segment | None) -> str | None:
    return next((code for code in (_said(image, 5), _said(request, 24)) if code in MODALITIES), None)


def _laterality(request: Segment | None) -> str:
    """Site modifiers of OBR-15, procedure modifiers of OBR-44 and OBR-45."""
    said = [_said(request, 15, 4), _said(request, 15, 5), _said(request, 44), _said(request, 45)]
    return next((SIDES[word] for each in said if (word := each.upper()) in SIDES), "")


def _first_time(*places: tuple[Segment | None, int, int]) -> str:
    """The first of these that says a day, as a DICOM DT; raises `Unacceptable` for one that does not exist."""
    for segment, number, component in places:
        said = _said(segment, number, component)
        found = TIME.fullmatch(said)
        if segment and said:
            try:
                text = "".join(found.groups(default="")) if found else ""
                moment(text)
            except Invalid as error:
                raise Unacceptable(error.detail, DATA_TYPE, f"{segment.name}^1^{number}") from None
            if text:
                return text
    return ""
