"""No identity leaves, everything that a radiologist needs stays, and what cannot be cleaned is refused."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from dataclasses import replace

import pydicom
import pytest
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from radrelay_anonymize.domain import (
    Context,
    Deidentified,
    Quarantined,
    Released,
    Words,
    deidentify,
    encode,
    mapped_uid,
    read,
    release,
    verify,
    words_of,
)
from radrelay_anonymize.domain.profile import default
from radrelay_anonymize.domain.rules import KEPT_BINARY, WRITTEN, actions, is_enumerated
from radrelay_anonymize.domain.table import Action
from radrelay_shared.dicom.reading import quietly

CANARY = "Qzxcanary"
CANARY_UID = "1.2.826.0.1.3680043.8.498.777"
CANARY_DATE = "19690312"


def deidentified(dataset: FileDataset, context: Context) -> Deidentified:
    outcome = deidentify(dataset, context)
    assert isinstance(outcome, Deidentified)
    return outcome


def item(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def content(kind: str, concept: str, **values: object) -> Dataset:
    """An SR content item."""
    name = item(CodeValue=concept, CodingSchemeDesignator="DCM", CodeMeaning="as in PS3.16")
    return item(RelationshipType="CONTAINS", ValueType=kind, ConceptNameCodeSequence=Sequence([name]), **values)


# ── what must go ─────────────────────────────────────────────────────────────────────────────────────


def canaries() -> Iterator[DataElement]:
    """Every attribute of the public dictionary that can hold text, a UID, a date or opaque bytes, with a canary."""
    values = dict.fromkeys(("LO", "SH", "LT", "ST", "UT", "UC", "PN"), CANARY)
    values |= {"AE": CANARY.upper(), "CS": CANARY.upper(), "UR": f"http://{CANARY}/", "UI": CANARY_UID}
    values |= {"DA": CANARY_DATE, "DT": CANARY_DATE + "0815"}
    for tag, (vr, *_, keyword) in DicomDictionary.items():
        if tag < 0x00080000 or keyword in WRITTEN or keyword == "SOPClassUID":
            continue
        if vr in values and not (vr == "CS" and is_enumerated(tag)):
            yield DataElement(tag, vr, values[vr])
        elif vr in {"OB", "OW", "OB or OW"} and keyword not in KEPT_BINARY:
            yield DataElement(tag, "OB", CANARY.encode() + b" ")


def test_no_public_attribute_at_any_depth_lets_a_canary_through(chest_ct: FileDataset, context: Context) -> None:
    with quietly():
        planted = list(canaries())
        nested = Dataset()
        for element in planted:
            nested[element.tag] = copy.copy(element)
            chest_ct[element.tag] = element
        chest_ct.ProcedureCodeSequence = Sequence([item(AnatomicRegionSequence=Sequence([nested]))])
    outcome = deidentified(chest_ct, context)
    output = encode(outcome.dataset)
    assert len(planted) > 1200
    assert CANARY.encode().lower() not in output.lower()
    assert CANARY_UID.encode() not in output
    assert CANARY_DATE.encode() not in output
    assert verify(outcome.words, output) == []
    assert outcome.dataset.ProcedureCodeSequence[0].AnatomicRegionSequence[0].SeriesDescription == "[removed]"


def test_private_overlay_curve_unknown_meta_preamble_and_trailer_lose_their_canaries(
    chest_ct: FileDataset, context: Context
) -> None:
    with quietly():
        block = chest_ct.private_block(0x0011, CANARY, create=True)
        block.add_new(0x01, "LO", CANARY)
        block.add_new(0x02, "SQ", [item(PatientName=CANARY)])
        block.add_new(0x03, "UN", CANARY.encode() + b" ")
        chest_ct.add_new(0x60000022, "LO", CANARY)  # overlay description
        chest_ct.add_new(0x60003000, "OB", CANARY.encode() + b" ")
        chest_ct.add_new(0x50003000, "OB", CANARY.encode() + b" ")
        chest_ct.add_new(0x0010FFF1, "LO", CANARY)  # a public element that nobody knows
        chest_ct.add_new(0xFFFCFFFC, "OB", CANARY.encode() + b" ")
        chest_ct.file_meta.SourceApplicationEntityTitle = CANARY
        chest_ct.file_meta.PrivateInformationCreatorUID = CANARY_UID
        chest_ct.file_meta.PrivateInformation = CANARY.encode() + b" "
        chest_ct.preamble = CANARY.encode().ljust(128, b"\0")
    output = encode(deidentified(chest_ct, context).dataset)
    assert CANARY.encode().lower() not in output.lower()
    assert CANARY_UID.encode() not in output
    assert output[:128] == bytes(128)
    assert pydicom.dcmread(io.BytesIO(output)).file_meta.ImplementationVersionName == "RADRELAY"


def test_patient_name_goes_from_descriptions_request_and_earlier_names(chest_ct: FileDataset, context: Context) -> None:
    chest_ct.PatientName = "Musterfrau^Erika"
    chest_ct.StudyDescription = "CT chest Musterfrau, E."
    chest_ct.SeriesDescription = "erika_musterfrau axial 1.25mm"
    chest_ct.RequestAttributesSequence = Sequence([item(ScheduledProcedureStepDescription="Chest Musterfrau")])
    before = item(ModifiedAttributesSequence=Sequence([item(PatientName="Musterfrau^Erika", PatientID="8151")]))
    chest_ct.OriginalAttributesSequence = Sequence([before])
    result = deidentified(chest_ct, context).dataset
    assert result.StudyDescription == "CT chest [removed], E."
    assert result.SeriesDescription == "[removed]_[removed] axial 1.25mm"
    assert "RequestAttributesSequence" not in result
    assert "OriginalAttributesSequence" not in result
    assert b"musterfrau" not in encode(result).lower()


def test_names_that_only_the_order_knows_go_from_the_image(chest_ct: FileDataset, context: Context) -> None:
    chest_ct.SeriesDescription = "chest for Robinson"
    with_order = replace(context, words=Words.of(names=["Robinson^Crusoe"]))
    assert deidentified(chest_ct, with_order).dataset.SeriesDescription == "chest for [removed]"


def test_a_name_in_a_japanese_charset_goes_from_text_and_bytes(chest_ct: FileDataset, context: Context) -> None:
    with quietly():
        chest_ct.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        chest_ct.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
        chest_ct.StudyDescription = "山田太郎 胸部CT"
        stored = read(encode(chest_ct))
    outcome = deidentified(stored, context)
    output = encode(outcome.dataset)
    assert outcome.dataset.StudyDescription == "[removed] 胸部CT"
    assert pydicom.dcmread(io.BytesIO(output)).StudyDescription == "[removed] 胸部CT"
    assert verify(outcome.words, output) == []
    for encoding in ("utf-8", "iso2022_jp", "shift_jis", "euc_jp"):
        assert "山田".encode(encoding) not in output


# ── what must stay ───────────────────────────────────────────────────────────────────────────────────


def test_pixels_geometry_window_and_physics_are_unchanged(chest_ct: FileDataset, context: Context) -> None:
    result = deidentified(chest_ct, context).dataset
    assert result.PixelData is chest_ct.PixelData
    for keyword in (
        "Modality", "ImageType", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
        "SliceThickness", "KVP", "RescaleSlope", "RescaleIntercept", "ConvolutionKernel", "Manufacturer",
        "ManufacturerModelName", "SeriesNumber", "InstanceNumber", "PatientSex", "PatientWeight", "StudyTime",
        "SOPClassUID", "PixelPaddingValue", "GantryDetectorTilt",
    ):  # fmt: skip
        assert result[keyword].value == chest_ct[keyword].value, keyword


def test_who_and_what_was_done_is_written_into_the_copy(chest_ct: FileDataset, context: Context) -> None:
    result = deidentified(chest_ct, context).dataset
    assert (result.PatientName, result.PatientID) == ("RR-ABCDEFGHIJ", "RR-ABCDEFGHIJ")
    assert result.PatientIdentityRemoved == "YES"
    assert result.LongitudinalTemporalInformationModified == "MODIFIED"
    codes = [code.CodeValue for code in result.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113104", "113105", "113107", "113108"]
    assert "BurnedInAnnotation" not in result  # nobody looked
    assert not result.AccessionNumber
    assert not result.PatientBirthDate


def test_the_original_is_left_as_it_was(chest_ct: FileDataset, context: Context) -> None:
    before = encode(chest_ct)
    deidentified(chest_ct, context)
    assert encode(chest_ct) == before


def test_interval_to_the_prior_study_survives(chest_ct: FileDataset, context: Context) -> None:
    prior = copy.deepcopy(chest_ct)
    prior.StudyDate, chest_ct.StudyDate = "20240226", "20240304"  # seven days, over a 29 February
    assert deidentified(prior, context).dataset.StudyDate == "20231218"
    assert deidentified(chest_ct, context).dataset.StudyDate == "20231225"


def test_tracer_decay_and_phases_keep_their_intervals_over_midnight(chest_ct: FileDataset, context: Context) -> None:
    """SUV needs injection to acquisition in seconds; a late phase is told by its time after contrast."""
    tracer = item(RadiopharmaceuticalStartDateTime="20240226233000.50", RadiopharmaceuticalStartTime="233000.50")
    chest_ct.RadiopharmaceuticalInformationSequence = Sequence([tracer])
    chest_ct.AcquisitionDateTime, chest_ct.SeriesDate, chest_ct.SeriesTime = "20240227003000", "20240227", "003000"
    chest_ct.ContrastBolusStartTime, chest_ct.AcquisitionTime = "002851", "003000"
    after = deidentified(chest_ct, context).dataset
    [injected] = after.RadiopharmaceuticalInformationSequence
    assert injected.RadiopharmaceuticalStartDateTime == "20231218233000.50"
    assert injected.RadiopharmaceuticalStartTime == "233000.50"
    assert (after.AcquisitionDateTime, after.SeriesDate, after.SeriesTime) == ("20231219003000", "20231219", "003000")
    assert (after.ContrastBolusStartTime, after.AcquisitionTime) == ("002851", "003000")


def test_sr_keeps_numbers_and_codes_and_loses_people(report: FileDataset, context: Context) -> None:
    with quietly():
        report.PatientName = "Musterfrau^Erika"
        measured = item(NumericValue="12.5", MeasurementUnitsCodeSequence=Sequence([item(CodeValue="mm")]))
        finding = item(CodeValue="27925004", CodingSchemeDesignator="SCT", CodeMeaning="Nodule")
        reference = item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=CANARY_UID)
        report.ContentSequence = Sequence([
            content("NUM", "112227", MeasuredValueSequence=Sequence([measured])),
            content("CODE", "121071", ConceptCodeSequence=Sequence([finding])),
            content("TEXT", "121071", TextValue="Mrs Musterfrau: nodule of 12.5 mm, seen by Dr. Jane Smith 2023-11-05"),
            content("TEXT", "121030", TextValue="whatever a subject ID looks like"),
            content("PNAME", "121008", PersonName="Smith^Jane"),
            content("DATE", "121031", Date="19690312"),
            content("UIDREF", "121012", UID=CANARY_UID),
            content("IMAGE", "121080", ReferencedSOPSequence=Sequence([reference])),
        ])  # fmt: skip
    outcome = deidentified(report, context)
    number, code, text, subject, person, day, device, image = outcome.dataset.ContentSequence
    assert number.MeasuredValueSequence[0].NumericValue == 12.5
    assert code.ConceptCodeSequence[0].CodeMeaning == "Nodule"
    assert code.ConceptCodeSequence[0].CodeValue == "27925004"
    assert text.TextValue == "Mrs [removed]: nodule of 12.5 mm, seen by Dr. [removed] [removed] [removed]"
    assert subject.TextValue == "REMOVED"
    assert person.PersonName == "REMOVED"
    assert day.Date == "19690101"
    assert mapped_uid(context.secret, CANARY_UID) == device.UID
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == mapped_uid(context.secret, CANARY_UID)
    assert image.ReferencedSOPSequence[0].ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert [entry.ValueType for entry in outcome.dataset.ContentSequence] == [
        "NUM", "CODE", "TEXT", "TEXT", "PNAME", "DATE", "UIDREF", "IMAGE",
    ]  # fmt: skip
    assert verify(outcome.words, encode(outcome.dataset)) == []


def test_report_points_at_the_image_after_both_were_mapped(
    chest_ct: FileDataset, report: FileDataset, context: Context
) -> None:
    evidence = item(ReferencedSOPClassUID=chest_ct.SOPClassUID, ReferencedSOPInstanceUID=chest_ct.SOPInstanceUID)
    series = item(SeriesInstanceUID=chest_ct.SeriesInstanceUID, ReferencedSOPSequence=Sequence([evidence]))
    study = item(StudyInstanceUID=chest_ct.StudyInstanceUID, ReferencedSeriesSequence=Sequence([series]))
    report.CurrentRequestedProcedureEvidenceSequence = Sequence([study])
    image = deidentified(chest_ct, context).dataset
    [study] = deidentified(report, context).dataset.CurrentRequestedProcedureEvidenceSequence
    [series] = study.ReferencedSeriesSequence
    assert study.StudyInstanceUID == image.StudyInstanceUID
    assert series.SeriesInstanceUID == image.SeriesInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID


# ── what is refused or flagged ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sop_class", "reason"),
    [
        ("1.2.840.10008.5.1.4.1.1.104.1", "encapsulated-document"),  # PDF
        ("1.2.840.10008.5.1.4.1.1.104.2", "encapsulated-document"),  # CDA
        ("1.2.840.10008.5.1.4.1.1.77.1.1.1", "video"),
        ("1.2.840.10008.5.1.4.1.1.66", "raw-data"),
        ("1.2.840.10008.5.1.4.1.1.9.4.2", "audio"),
        ("1.2.840.10008.1.3.10", "dicomdir"),
        ("1.3.12.2.1107.5.9.1", "sop-class-unknown"),  # a vendor's own
        ("1.2.840.10008.1.1", "sop-class-unknown"),  # verification is no storage
    ],
)
def test_payload_that_cannot_be_cleaned_is_quarantined(
    chest_ct: FileDataset, context: Context, sop_class: str, reason: str
) -> None:
    chest_ct.SOPClassUID = sop_class
    assert deidentify(chest_ct, context) == Quarantined((reason,))


def test_mpeg_and_missing_pixels_and_missing_uids_are_quarantined(chest_ct: FileDataset, context: Context) -> None:
    film, blank, nobody = copy.deepcopy(chest_ct), copy.deepcopy(chest_ct), copy.deepcopy(chest_ct)
    film.file_meta.TransferSyntaxUID = pydicom.uid.MPEG4HP41
    blank.Rows = 4000
    del nobody.StudyInstanceUID
    assert deidentify(film, context) == Quarantined(("video",))
    assert deidentify(blank, context) == Quarantined(("pixels-missing",))
    assert deidentify(nobody, context) == Quarantined(("uid-missing",))


def test_ultrasound_and_screen_saves_are_suspect_and_declared_annotation_is_said(
    chest_ct: FileDataset, context: Context
) -> None:
    assert deidentified(chest_ct, context).pixels == "plain"
    screen, ultrasound, declared = copy.deepcopy(chest_ct), copy.deepcopy(chest_ct), copy.deepcopy(chest_ct)
    screen.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
    ultrasound.SOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
    ultrasound.BurnedInAnnotation = "NO"  # vendors say so; nobody looked
    declared.BurnedInAnnotation = "YES"
    assert deidentified(screen, context).pixels == "suspect"
    assert deidentified(ultrasound, context).pixels == "suspect"
    assert "BurnedInAnnotation" not in deidentified(ultrasound, context).dataset
    assert deidentified(declared, context).pixels == "burned-in"
    assert deidentified(declared, context).dataset.BurnedInAnnotation == "YES"


def test_text_in_a_number_is_not_passed_on(chest_ct: FileDataset, context: Context) -> None:
    with quietly():
        chest_ct["SliceThickness"] = pydicom.DataElement(0x00180050, "LO", CANARY)
        chest_ct["StudyTime"] = DataElement(0x00080030, "TM", CANARY)
    result = deidentified(chest_ct, context).dataset
    assert "SliceThickness" not in result
    assert not result.StudyTime


def test_endless_nesting_is_quarantined(chest_ct: FileDataset, context: Context) -> None:
    deepest = item(CodeMeaning="bottom")
    for _ in range(40):
        deepest = item(AnatomicRegionSequence=Sequence([deepest]))
    chest_ct.AnatomicRegionSequence = Sequence([deepest])
    assert deidentify(chest_ct, context) == Quarantined(("nested-too-deeply",))


# ── the second look ──────────────────────────────────────────────────────────────────────────────────


def test_verifier_finds_what_an_engine_would_have_missed_and_says_where_not_what(chest_ct: FileDataset) -> None:
    chest_ct.PatientName = "Musterfrau^Erika"
    chest_ct.ImageComments = "Musterfrau's first CT"
    evidence = verify(words_of(chest_ct), encode(chest_ct))
    assert {"name:00204000", "name:00100010", "uid:0020000d", "private:00091001", "raw:name", "raw:uid"} <= set(
        evidence
    )
    assert "marker:PatientIdentityRemoved" in evidence
    assert not any("muster" in code.lower() for code in evidence)


def test_verifier_refuses_what_it_cannot_read() -> None:
    assert verify(Words(), b"not DICOM at all") == ["unreadable:InvalidDicomError"]


def test_opaque_bytes_that_stay_are_searched_too(chest_ct: FileDataset, context: Context) -> None:
    """An ICC profile cannot be cleaned; with the patient's name in it, the instance waits for a person."""
    chest_ct.PatientName = "Musterfrau^Erika"
    chest_ct.ICCProfile = b"desc\0Musterfrau\0"
    assert release(encode(chest_ct), context) == Quarantined(("raw:name",))


def test_nothing_of_an_odd_value_reaches_the_log(
    chest_ct: FileDataset, context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    """pydicom quotes values that do not fit their VR."""
    with quietly():
        chest_ct["PatientBirthDate"] = DataElement(0x00100030, "DA", "born of Musterfrau")
        chest_ct["StudyInstanceUID"] = DataElement(0x0020000D, "UI", "Musterfrau")
    assert isinstance(release(encode(chest_ct), context), Released)
    assert caplog.text == ""


def test_every_table_action_has_a_maker() -> None:
    """A profile's actions are those that the walker and the makers know, and no others."""
    with quietly():
        assert {actions(default())[tag] for tag in DicomDictionary} == set(Action)
