"""Results that come back: a report or a segmentation of de-identified images, under the patient's own name again."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import date

import pytest
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from radrelay_anonymize.domain import Context, Deidentified, deidentify
from radrelay_anonymize.domain.identity import identity_of
from radrelay_anonymize.domain.pseudonyms import mapped_uid
from radrelay_anonymize.domain.restore import Return, restored
from radrelay_shared.dicom.reading import elements, quietly, texts
from radrelay_shared.errors import Invalid


def uids(dataset: Dataset) -> list[tuple[int, str]]:
    """Every UID in the data set, nested ones too, with its attribute."""
    with quietly():
        return [(int(each.tag), uid) for each in elements(dataset) if each.VR == "UI" for uid in texts(each)]


def references(dataset: Dataset) -> list[str]:
    """The UIDs of studies, series and instances in it, in their order: its own and those it refers to."""
    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "ReferencedSOPInstanceUID")
    return [uid for tag, uid in uids(dataset) if keyword_for_tag(tag) in names]


def way_back(original: FileDataset, context: Context) -> Return:
    known = {mapped_uid(context.secret, uid): uid for _, uid in uids(original)}
    return Return(identity_of(original), context.pseudonym, context.date_shift, known)


def copy_of(original: FileDataset, context: Context) -> FileDataset:
    outcome = deidentify(original, context)
    assert isinstance(outcome, Deidentified)
    return outcome.dataset


@pytest.fixture
def zenobias_report(report: FileDataset) -> FileDataset:
    """A report with a patient, a day and an order of its own."""
    report.PatientName, report.PatientID, report.IssuerOfPatientID = "Quillfeather^Zenobia", "ZQ-778812", "BOZEMAN-MPI"
    report.PatientBirthDate, report.PatientSex, report.AccessionNumber = "19510704", "F", "ACC-5551942"
    report.ReferringPhysicianName, report.StudyDate = "Marlowe^Tess", "20250301"
    return report


@pytest.fixture
def segmentation(chest_ct: FileDataset, context: Context) -> FileDataset:
    """What a model makes of the copy of a CT slice: its own UIDs and dates, and references to the copy."""
    image = copy_of(chest_ct, context)
    made = copy.deepcopy(image)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    made.SOPInstanceUID, made.SeriesInstanceUID, made.Modality = "2.25.777", "2.25.778", "SEG"
    made.ContentDate, made.SeriesDate, made.AcquisitionDate = "20261125", "20261125", image.StudyDate
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    derivation = Dataset()
    derivation.SourceImageSequence = Sequence([source])
    made.DerivationImageSequence = Sequence([derivation])
    made.PersonName = context.pseudonym
    return made


def test_a_report_that_went_out_comes_back_with_every_uid_name_and_number(
    zenobias_report: FileDataset, context: Context
) -> None:
    sent = copy_of(zenobias_report, context)
    assert not set(references(sent)) & set(references(zenobias_report))
    back = restored(sent, way_back(zenobias_report, context))
    assert len(references(back)) > 10
    assert references(back) == references(zenobias_report)
    assert (str(back.PatientName), back.PatientID, back.IssuerOfPatientID) == (
        "Quillfeather^Zenobia",
        "ZQ-778812",
        "BOZEMAN-MPI",
    )
    assert (back.PatientBirthDate, back.PatientSex, back.AccessionNumber) == ("19510704", "F", "ACC-5551942")
    assert (str(back.ReferringPhysicianName), back.StudyDate) == ("Marlowe^Tess", "20250301")


def test_a_segmentation_points_to_the_original_image_again(
    segmentation: FileDataset, chest_ct: FileDataset, context: Context
) -> None:
    back = restored(segmentation, way_back(chest_ct, context))
    [source] = back.DerivationImageSequence[0].SourceImageSequence
    assert source.ReferencedSOPInstanceUID == chest_ct.SOPInstanceUID
    assert (back.StudyInstanceUID, back.FrameOfReferenceUID) == (
        chest_ct.StudyInstanceUID,
        chest_ct.FrameOfReferenceUID,
    )
    assert (back.PatientName, back.PatientID) == (chest_ct.PatientName, chest_ct.PatientID)
    assert back.PersonName == chest_ct.PatientName


def test_what_the_result_brought_itself_stays(
    segmentation: FileDataset, chest_ct: FileDataset, context: Context
) -> None:
    back = restored(segmentation, way_back(chest_ct, context))
    assert (back.SOPInstanceUID, back.file_meta.MediaStorageSOPInstanceUID) == ("2.25.777", "2.25.777")
    assert (back.ContentDate, back.SeriesDate) == ("20261125", "20261125")
    assert (back.StudyDate, back.AcquisitionDate) == (chest_ct.StudyDate, chest_ct.StudyDate)


def test_nothing_says_any_more_that_the_identity_was_removed(
    segmentation: FileDataset, chest_ct: FileDataset, context: Context
) -> None:
    assert segmentation.PatientIdentityRemoved == "YES"
    back = restored(segmentation, way_back(chest_ct, context))
    assert not {"PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"} & set(
        keywords(back)
    )


def keywords(dataset: Dataset) -> Iterator[str]:
    for each in dataset:
        yield each.keyword


@pytest.mark.parametrize(("offset", "moved"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_date_is_the_images_if_it_is_of_the_studys_day_or_next_to_it(
    segmentation: FileDataset, chest_ct: FileDataset, context: Context, offset: int, *, moved: bool
) -> None:
    day = date.fromordinal(date.fromisoformat(segmentation.StudyDate).toordinal() + offset)
    segmentation.ContentDate = f"{day:%Y%m%d}"
    back = restored(segmentation, way_back(chest_ct, context))
    expected = date.fromordinal(day.toordinal() + 70) if moved else day  # ten weeks, as the context says
    assert back.ContentDate == f"{expected:%Y%m%d}"


def test_a_result_of_another_patient_gets_no_name(
    segmentation: FileDataset, chest_ct: FileDataset, context: Context
) -> None:
    segmentation.PatientID = "RR-SOMEBODYELSE"
    with pytest.raises(Invalid, match="not of this study's patient"):
        restored(segmentation, way_back(chest_ct, context))
