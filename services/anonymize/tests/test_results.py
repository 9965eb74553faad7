"""Results over the vault's route: a whole round trip, from originals to copies to a result under the patient's name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from radrelay_shared.dicom.reading import encode, read
from radrelay_shared.events import StudyAnonymized
from radrelay_shared.security import Role
from radrelay_shared.testing import client

if TYPE_CHECKING:
    from services.anonymize.tests.conftest import Bench  # importlib mode gives it no importable name at run time

File = Callable[..., bytes]


def finding(images: list[FileDataset]) -> bytes:
    """What a model says of these copies: a result with references to all of them."""
    result = copy.deepcopy(images[0])
    del result.PixelData
    result.SOPClassUID = result.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"
    result.SOPInstanceUID, result.SeriesInstanceUID, result.Modality = "2.25.777", "2.25.778", "SR"
    result.CurrentRequestedProcedureEvidenceSequence = Sequence([evidence(each) for each in images])
    return encode(result)


def evidence(image: FileDataset) -> Dataset:
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedSOPSequence = image.SeriesInstanceUID, Sequence([instance])
    study.StudyInstanceUID, study.ReferencedSeriesSequence = image.StudyInstanceUID, Sequence([series])
    return study


def referred(result: FileDataset) -> list[tuple[str, str, str]]:
    return [
        (study.StudyInstanceUID, series.SeriesInstanceUID, instance.ReferencedSOPInstanceUID)
        for study in result.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]


async def returned(bench: Bench, study: str, content: bytes, role: Role = Role.SERVICE) -> Any:
    async with client(bench.runtime, role) as http:
        return await http.post(
            f"/vault/results/{study}", content=content, headers={"Content-Type": "application/dicom"}
        )


async def test_a_finding_about_this_study_and_a_prior_comes_back_with_every_reference(
    bench: Bench, zenobia: File
) -> None:
    await bench.receive([zenobia(1), zenobia(2)], [zenobia(1, series=2, file="MR_small.dcm")])
    await bench.receive([zenobia(1, study=2)], study="st-prior")
    images = [image for told in bench.downstream.of(StudyAnonymized) for image in await bench.released(told)]
    answer = await returned(bench, "st-one", finding(images))
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("application/dicom", "no-store")
    result = read(answer.content)
    assert referred(result) == [
        ("1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1"),
        ("1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.2"),
        ("1.2.3.1", "1.2.3.1.2", "1.2.3.1.2.1"),
        ("1.2.3.2", "1.2.3.2.1", "1.2.3.2.1.1"),
    ]
    assert (str(result.PatientName), result.PatientID) == ("Quillfeather^Zenobia", "ZQ-778812")
    assert result.StudyDate == read(zenobia(1)).StudyDate


async def test_a_result_of_another_patients_study_gets_no_name(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(1)])
    await bench.receive([zenobia(1, study=2, PatientID="OTHER")], study="st-other")
    mine, others = bench.downstream.of(StudyAnonymized)
    answer = await returned(bench, "st-one", finding(await bench.released(others)))
    assert (answer.status_code, "Quillfeather" in answer.text) == (422, False)
    assert (await returned(bench, "st-one", finding(await bench.released(mine)), Role.RADIOLOGIST)).status_code == 403


async def test_what_is_no_dicom_is_refused(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(1)])
    assert (await returned(bench, "st-one", b"no DICOM")).status_code == 422
