"""C-FIND (PS3.4 §C.4.1): an identifier becomes the search that QIDO-RS does, and its answers become identifiers."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from radrelay_shared.errors import Invalid
from radrelay_shared.security import Principal
from radrelay_storage import qido
from radrelay_storage.access import visible_to
from radrelay_storage.attributes import MATCHED, Attributes, Level, down_to
from radrelay_storage.context import StorageContext
from radrelay_storage.searching import Found, Search, find_instances, find_series, find_studies

LEVELS = {"PATIENT": Level.STUDY, "STUDY": Level.STUDY, "SERIES": Level.SERIES, "IMAGE": Level.INSTANCE}
OF_PATIENTS = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
MOST = 10_000  # answers to one C-FIND


class IdentifierSearch(Search):
    """A search whose query is an identifier."""

    def __init__(self, identifier: Dataset, level: Level, offset: int) -> None:
        names = [name for each in down_to(level) for name in MATCHED[each]] + ["ModalitiesInStudy"]
        wanted = [(name, text(identifier, name)) for name in names if "." not in name and name in identifier]
        page = [("limit", str(qido.MOST)), ("offset", str(offset)), ("includefield", "all")]
        self.query = qido.parse([*((name, value) for name, value in wanted if value), *page], level)
        self.base = ""


def text(identifier: Dataset, name: str) -> str:
    value = identifier[name].value
    return "" if value is None else ",".join(map(str, value)) if identifier[name].VM > 1 else str(value)


def level_of(identifier: Dataset) -> str:
    level = str(identifier.get("QueryRetrieveLevel", ""))
    if level not in LEVELS:
        raise Invalid("(0008,0052) Query/Retrieve Level is PATIENT, STUDY, SERIES or IMAGE")
    return level


async def answers(identifier: Dataset, caller: Principal, context: StorageContext) -> AsyncIterator[Dataset]:
    """Each match with the keys that were asked for, at most `MOST`."""
    level, patients = level_of(identifier), set[str]()
    for offset in range(0, MOST, qido.MOST):
        found, more = await page(IdentifierSearch(identifier, LEVELS[level], offset), LEVELS[level], caller, context)
        for each in found:
            match = answered(each, identifier, level)
            patient = str(Dataset.from_json(each).get("PatientID", ""))
            if level != "PATIENT" or patient not in patients:
                patients.add(patient)
                yield match
        if not more:
            return


async def page(search: Search, level: Level, caller: Principal, context: StorageContext) -> Found:
    within = visible_to(caller)
    if level is Level.STUDY:
        return await find_studies(search, within, context)
    finding = find_series if level is Level.SERIES else find_instances
    return await finding(search, within, tuple(down_to(level)), context)


def answered(found: Attributes, identifier: Dataset, level: str) -> Dataset:
    known, answer = Dataset.from_json(found), Dataset()
    for each in identifier:
        if each.keyword and (level != "PATIENT" or each.keyword in OF_PATIENTS):
            answer[each.tag] = known.get(each.tag, DataElement(each.tag, each.VR, None))
    answer.SpecificCharacterSet, answer.QueryRetrieveLevel = "ISO_IR 192", level
    return answer
