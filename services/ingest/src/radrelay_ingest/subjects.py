"""Whom and what images show, as their own headers say it, read from the spool when a study is sealed."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import Tag

from radrelay_ingest.domain.matching import Subject
from radrelay_ingest.domain.patients import Identifier, Patient
from radrelay_ingest.segments import Spooled

KEYWORDS = (
    "SpecificCharacterSet",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "Modality",
    "TimezoneOffsetFromUTC",
    "ProcedureCodeSequence",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate",
    "PatientSex",
    "Laterality",
    "ImageLaterality",
    "RequestedProcedureCodeSequence",
    "RequestAttributesSequence",
)
WANTED = [Tag(keyword) for keyword in KEYWORDS]
DEFERRED = 1 << 20  # bytes: no such value is that long
LONGEST = 64  # characters of what is no name
LONGEST_NAME = 3 * 64 + 2  # PS3.5 §6.2: three groups


def subject_of(files: Sequence[Spooled]) -> Subject:
    """What these instances of one study say together; the first word on the patient counts. Blocks, for threads."""
    return reduce(Subject.merged, map(_read, files), Subject())


def _read(file: Spooled) -> Subject:
    with file.opened() as content, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is odd in a header is anonymize's to judge
        try:
            return subject_in(read_partial(content, _behind, defer_size=DEFERRED, specific_tags=WANTED))
        except Exception:  # noqa: BLE001  a header that pydicom cannot read says nothing here; anonymize quarantines it
            return Subject()


def _behind(tag: Any, _vr: str | None, _length: int) -> bool:
    return bool(tag > WANTED[-1])


def subject_in(dataset: Dataset) -> Subject:
    steps = list(_items(dataset, "RequestAttributesSequence"))
    requests = [dataset, *steps]
    codes = [
        _said(code, "CodeValue")
        for each in requests
        for keyword in ("ProcedureCodeSequence", "RequestedProcedureCodeSequence")
        for code in _items(each, keyword)
    ]
    return Subject(
        patient=_patient(dataset),
        accession=next((each for each in map(_accession, requests) if each.value), Identifier()),
        performed=_performed(dataset),
        modalities=_all([_said(dataset, "Modality")]),
        codes=_all(codes),
        requested_procedures=_all(_said(each, "RequestedProcedureID") for each in requests),
        lateralities=_all(_said(dataset, keyword) for keyword in ("Laterality", "ImageLaterality")),
    )


def _patient(dataset: Dataset) -> Patient:
    number = _said(dataset, "PatientID")
    issuer = Identifier(value=number, issuer=_said(dataset, "IssuerOfPatientID"), universal=_universal(dataset))
    return Patient(
        ids=(issuer,) if number else (),
        name=_said(dataset, "PatientName", LONGEST_NAME),
        birth_date=_said(dataset, "PatientBirthDate"),
        sex=_said(dataset, "PatientSex"),
    )


def _universal(dataset: Dataset) -> str:
    qualifiers = next(_items(dataset, "IssuerOfPatientIDQualifiersSequence"), Dataset())
    return _said(qualifiers, "UniversalEntityID")


def _accession(dataset: Dataset) -> Identifier:
    issuer = next(_items(dataset, "IssuerOfAccessionNumberSequence"), Dataset())
    return Identifier(
        value=_said(dataset, "AccessionNumber"),
        issuer=_said(issuer, "LocalNamespaceEntityID"),
        universal=_said(issuer, "UniversalEntityID"),
    )


def _performed(dataset: Dataset) -> str:
    """Study Date and Time as a DT; a time without its fraction, an offset if the image has one (PS3.3 §C.12.1)."""
    day, time = _said(dataset, "StudyDate"), _said(dataset, "StudyTime").partition(".")[0]
    return f"{day}{time}{_said(dataset, 'TimezoneOffsetFromUTC')}" if day else ""


def _items(dataset: Dataset, keyword: str) -> Iterator[Dataset]:
    value = dataset.get(keyword)
    yield from value if isinstance(value, Iterable) and not isinstance(value, str) else ()


def _said(dataset: Dataset, keyword: str, longest: int = LONGEST) -> str:
    """A value as text in Unicode, whatever character set it was in (PS3.5 §6.1); empty if it is not one value."""
    value: Any = dataset.get(keyword)
    return "" if value is None else str(value).strip("\0 ")[:longest]


def _all(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({word for word in words if word}))
