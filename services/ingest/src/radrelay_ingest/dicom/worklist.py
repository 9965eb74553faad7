"""Modality Worklist (PS3.4 Annex K): a scanner asks for its patients instead of having them typed."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from radrelay_ingest.context import IngestContext
from radrelay_ingest.dicom.attributes import answered, in_charset_of, matches
from radrelay_ingest.dicom.messages import PENDING, Answer, Asked
from radrelay_ingest.domain.orders import Order, Request, Status, Visit
from radrelay_shared.errors import TooLarge
from radrelay_shared.events import Priority
from radrelay_shared.ports import Eq

LOOKED_THROUGH = 2000  # of a site's wanted orders, those scheduled latest
MOST_ENTRIES = 500
PRIORITIES = {Priority.STAT: "STAT", Priority.URGENT: "HIGH", Priority.ROUTINE: "ROUTINE"}


def find(context: IngestContext, asked: Asked) -> Iterator[Answer]:
    """C-FIND: the scheduled procedure steps of the calling site that match."""
    query = asked.data_set()
    step = next(iter(query.get("ScheduledProcedureStepSequence") or ()), Dataset())
    entries = (_entry(order, asked.calling, step) for order in context.wait(wanted(context, asked.sender.site)))
    found = [entry for entry in entries if matches(query, entry)]
    if len(found) > MOST_ENTRIES:
        raise TooLarge(f"more than {MOST_ENTRIES} entries; ask by date or station")
    for entry in found:
        yield Answer(PENDING, in_charset_of(query, answered(query, entry)))
    yield Answer()


async def wanted(context: IngestContext, site: str) -> list[Order]:
    """The site's orders that wait for a scan."""
    where = [Eq("site", site), Eq("request.status", Status.ACTIVE.value)]
    orders = await context.store.find(Order, where, sort="request.scheduled", descending=True, limit=LOOKED_THROUGH)
    return [order for order in orders if not order.studies and order.visit is Visit.OPEN]


def _entry(order: Order, calling: str, asked: Dataset) -> Dataset:
    """One worklist entry; an order that names no station or modality is for any that asks."""
    said = order.request
    number = next((each.value for each in said.numbers), "")
    procedure = said.requested_procedure_id or number
    patient_id = said.patient.ids[0] if said.patient.ids else None
    return _data_set(
        AccessionNumber=said.accession.value,
        ReferringPhysicianName=said.referring_physician,
        PatientName=said.patient.name,
        PatientID=patient_id.value if patient_id else "",
        IssuerOfPatientID=patient_id.issuer if patient_id else "",
        PatientBirthDate=_day(said.patient.birth_date),
        PatientSex=said.patient.sex,
        StudyInstanceUID=order.study_instance_uid,
        RequestedProcedureID=procedure,
        RequestedProcedureDescription=said.description,
        RequestedProcedurePriority=PRIORITIES[said.priority],
        ReasonForTheRequestedProcedure=said.reason,
        AdmissionID=said.visit.value,
        PlacerOrderNumberImagingServiceRequest=said.placer.value,
        FillerOrderNumberImagingServiceRequest=said.filler.value,
        ScheduledProcedureStepSequence=[_step(said, said.step_id or procedure, calling, asked)],
    )


def _step(said: Request, number: str, calling: str, asked: Dataset) -> Dataset:
    at = said.scheduled or said.ordered
    return _data_set(
        ScheduledStationAETitle=said.station_ae or calling,
        ScheduledProcedureStepStartDate=_day(at),
        ScheduledProcedureStepStartTime=at.partition("+")[0].partition("-")[0][8:14],
        Modality=said.modality or _plain(asked.get("Modality")),
        ScheduledProcedureStepDescription=said.description,
        ScheduledProcedureStepID=number,
    )


def _plain(value: object) -> str:
    """A value that is asked for, unless it is a pattern."""
    return value if isinstance(value, str) and not set("*?").intersection(value) else ""


def _day(text: str) -> str:
    return text[:8] if text[:8].isdigit() and len(text) >= len("YYYYMMDD") else ""


def _data_set(**values: str | list[Dataset]) -> Dataset:
    """Values as the clinic's orders gave them, whether or not they keep to their VR's length."""
    made = Dataset()
    for keyword, value in values.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None  # noqa: S101  the keywords stand above
        vr = dictionary_VR(tag)
        made[tag] = DataElement(tag, vr, _clean(value) if isinstance(value, str) else value, validation_mode=IGNORE)
    return made


def _clean(text: str) -> str:
    """One value: without a backslash, which parts values (PS3.5 §6.2), and without control characters."""
    return "".join(" " if unicodedata.category(char) == "Cc" else char for char in text.replace("\\", "/"))
