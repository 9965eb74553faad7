"""Studies and orders whose every identity field holds something of the patient: made from the standard's own table."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import numpy as np
import pydicom
from PIL import Image, ImageFont
from pydicom import config
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from burned import background, grey8, written
from canary.patients import Patient, marked_date

TABLE = resources.files("radrelay_anonymize").joinpath("data/basic_profile.json")
CLEAN_DESCRIPTORS, PATIENT_CHARACTERISTICS = "113105", "113108"  # CID 7050: free text that may stay, cleaned
PATIENT_GROUPS = range(0x0008, 0xFFFF)  # below: command, file meta and DICOMDIR, which are no data set's
CORNER = np.s_[:95, :180]  # of a capture: nothing else stands there
UTF_8, JAPANESE = "ISO_IR 192", ["", "ISO 2022 IR 87"]
BASIC_TEXT_SR, ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.104.1"

Maker = Callable[[Patient, int], Any]

# A value for each VR that can name somebody; the number makes it one of its kind.
OPAQUE: dict[str, Maker] = {
    "AE": lambda who, number: f"{who.mark}{number:04}",
    "AS": lambda _who, _number: "094Y",
    "CS": lambda who, _number: who.mark,  # the family name, where only codes belong
    "DA": lambda _who, number: marked_date(number),
    "DT": lambda _who, number: f"{marked_date(number)}101112.123456",
    "LO": lambda who, number: f"{who.mark}{number:04} of {who.given}",
    "LT": lambda who, number: f"{who.mark}{number:04}\r\n{who.given}",
    "OB": lambda who, number: f"{who.mark}{number:04}".encode(),
    "OW": lambda who, number: f"{who.mark}{number:04}".encode(),
    "PN": lambda who, number: f"{who.family}{number:04}^{who.given}={'^'.join(who.ideographic)}",
    "SH": lambda who, number: f"{who.mark}{number:04}",
    "SQ": lambda who, number: Sequence([nested(who, number)]),
    "ST": lambda who, number: f"{who.mark}{number:04}, {who.phone}",
    "UC": lambda who, number: f"{who.mark}{number:04}",
    "UI": lambda who, number: f"{who.uid_root}.77.{number}",
    "UN": lambda who, number: f"{who.mark}{number:04}".encode(),
    "UR": lambda who, number: f"https://{who.mark}{number:04}.example/{who.given}",
    "UT": lambda who, number: f"{who.mark}{number:04} {who.given} {' '.join(who.ideographic)}",
}  # fmt: skip

# What people type into descriptions, each short enough for SH; a cleaner has to know it by the study's own words.
PROSE: tuple[Callable[[Patient], str], ...] = (
    lambda who: f"CT {who.family}",
    lambda who: f"{who.given} lat",
    lambda who: f"MRN{who.number}",
    lambda who: f"* {who.birth_date}",
    lambda who: f"T {who.phone}",
    lambda who: f"{who.ideographic[0]} AP",
    lambda who: f"Dr. {who.family}1",
)


def rows() -> Iterator[tuple[int, str, bool]]:
    """(Tag, VR, is a description) of every attribute in PS3.15 Table E.1-1 that a data set can hold."""
    for row in json.loads(TABLE.read_text("utf-8"))["rows"]:
        text = row["tag"].replace("xxxxxx", "000010").replace("xx", "00")
        if text == "private" or (tag := int(text, 16)) >> 16 not in PATIENT_GROUPS:
            continue
        vr = dictionary_VR(tag)[:2] if dictionary_has_tag(tag) else row["vr"]
        described = {CLEAN_DESCRIPTORS, PATIENT_CHARACTERISTICS} & row["options"].keys()
        yield tag, vr, bool(described)


def marked(dataset: Dataset, who: Patient, study: int) -> Dataset:
    """The data set with all those attributes, a private block and a nested one; its own UIDs from the marked root."""
    for number, (tag, vr, described) in enumerate(rows(), 1):
        if described and vr in {"LO", "LT", "SH", "ST", "UC", "UT"}:
            put(dataset, tag, vr, PROSE[number % len(PROSE)](who))
        elif vr in OPAQUE:
            put(dataset, tag, vr, OPAQUE[vr](who, number))
    own = {
        "PatientName": who.name,
        "PatientID": who.id,
        "PatientBirthDate": who.birth_date,
        "AccessionNumber": who.accession(study),
        "StudyInstanceUID": who.study_uid(study),
        "SeriesInstanceUID": f"{who.study_uid(study)}.1",
        "ReferringPhysicianName": f"{who.family}md^{who.given}",
    }
    for keyword, value in own.items():
        setattr(dataset, keyword, value)
    add_private(dataset, who)
    return dataset


def put(dataset: Dataset, tag: int, vr: str, value: Any) -> None:
    dataset[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)


def nested(who: Patient, number: int) -> Dataset:
    """An item with a person, a place, an order, a date, a UID, a private block, and an item of its own."""
    item = Dataset()
    for tag, vr in ((0x00080050, "SH"), (0x00080080, "LO"), (0x00081155, "UI"), (0x0040A123, "PN"), (0x00400002, "DA")):
        put(item, tag, vr, OPAQUE[vr](who, number))
    add_private(item, who)
    inner = Dataset()
    put(inner, 0x00401001, "SH", who.accession(99))
    put(inner, 0x00100010, "PN", who.name)
    put(inner, 0x00321060, "LO", PROSE[number % len(PROSE)](who))
    put(item, 0x00400275, "SQ", Sequence([inner]))
    return item


def add_private(dataset: Dataset, who: Patient) -> None:
    block = dataset.private_block(0x0029, f"{who.mark} CREATOR", create=True)
    block.add_new(0x10, "LO", who.id)
    block.add_new(0x11, "UN", who.name.encode())
    block.add_new(0x12, "PN", who.name)


def image(file: str, who: Patient, study: int, charset: Any = UTF_8, instance: int = 1) -> FileDataset:
    """One of pydicom's own images as this patient's."""
    dataset = pydicom.dcmread(str(get_testdata_file(file, download=False)))
    return finished(dataset, who, study, charset, instance)


def capture(who: Patient, study: int, instance: int) -> FileDataset:
    """A picture in whose corner the patient is named, as ultrasound machines do it."""
    picture = Image.fromarray(background("fan", 300, 480, 0).astype(np.uint8))
    for row, text in ((8, f"{who.family}, {who.given}"), (40, f"ID {who.id}"), (72, f"* {who.born}")):
        written(picture, text, (12, row), ImageFont.load_default(18), inverse=False)
    return finished(grey8(np.asarray(picture)), who, study, UTF_8, instance)


def finished(dataset: FileDataset, who: Patient, study: int, charset: Any, instance: int = 1) -> FileDataset:
    modality = dataset.Modality
    marked(dataset, who, study)
    dataset.SpecificCharacterSet, dataset.Modality = charset, modality
    dataset.SOPInstanceUID = f"{who.study_uid(study)}.1.{instance}"
    meta = dataset.file_meta
    meta.MediaStorageSOPInstanceUID, meta.MediaStorageSOPClassUID = dataset.SOPInstanceUID, dataset.SOPClassUID
    meta.SourceApplicationEntityTitle = meta.SendingApplicationEntityTitle = f"{who.mark}0001"
    meta.PrivateInformationCreatorUID = f"{who.uid_root}.78"
    meta.PrivateInformation = f"{who.name} {who.id}".encode()
    return dataset


def document(sop_class: str, modality: str) -> FileDataset:
    """An instance without pixels."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, Dataset(), file_meta=meta)
    dataset.SOPClassUID, dataset.Modality = sop_class, modality
    return dataset


def report(who: Patient, study: int) -> FileDataset:
    """A structured report whose texts and names are about the patient."""
    dataset = finished(document(BASIC_TEXT_SR, "SR"), who, study, UTF_8)
    dataset.ValueType, dataset.ContinuityOfContent = "CONTAINER", "SEPARATE"
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    dataset.ConceptNameCodeSequence = Sequence([code("126000", "DCM", "Imaging Measurement Report")])
    dataset.ContentSequence = Sequence([
        content("TEXT", code("121071", "DCM", "Finding"), TextValue=sentence(who, who.accession(study))),
        content("PNAME", code("121008", "DCM", "Person Observer Name"), PersonName=who.name),
        content("TEXT", code("121029", "DCM", "Subject Name"), TextValue=f"{who.mark}0001"),
        content("TEXT", code("99001", "99LOCAL", f"Said by {who.given}"), TextValue=who.ideographic[0]),
        content("UIDREF", code("121028", "DCM", "Subject UID"), UID=f"{who.uid_root}.79"),
    ])  # fmt: skip
    return dataset


def content(value_type: str, concept: Dataset, **value: Any) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", value_type
    item.ConceptNameCodeSequence = Sequence([concept])
    for keyword, each in value.items():
        setattr(item, keyword, each)
    return item


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def sentence(who: Patient, accession: str) -> str:
    return (
        f"{who.given} {who.family} ({who.ideographic[0]}{who.ideographic[1]}), born {who.born}, MRN {who.id}, "
        f"was called at {who.phone} about {accession}. No acute finding."
    )


def letter(who: Patient, study: int) -> FileDataset:
    """An encapsulated document, which no software here can clean: it is held back."""
    dataset = finished(document(ENCAPSULATED_PDF, "DOC"), who, study, UTF_8)
    dataset.MIMETypeOfEncapsulatedDocument, dataset.DocumentTitle = "application/pdf", f"Letter to {who.family}"
    dataset.EncapsulatedDocument = f"%PDF-1.4 {sentence(who, who.accession(study))}  ".encode()
    return dataset


def as_file(dataset: FileDataset, who: Patient) -> bytes:
    """A DICOM file (PS3.10 §7) with the patient in its preamble, too."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    preamble = f"{who.name} {who.id}".encode().ljust(128, b" ")
    return preamble + buffer.getvalue()[128:]
