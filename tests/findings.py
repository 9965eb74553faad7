"""What models and viewers make of images, by highdicom: segmentation, report, marks, key objects; a PDF."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import highdicom as hd
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

SOFTWARE = {
    "manufacturer": "Nodule works",
    "manufacturer_model_name": "Finder",
    "software_versions": "1.2",
    "device_serial_number": "7",
}


def uids(study: str, number: int) -> dict[str, Any]:
    """`uids("2.25.1", 3)`: instance 2.25.1.903.1 of the derived series 2.25.1.903."""
    series = f"{study}.{900 + number}"
    return {
        "series_instance_uid": series,
        "series_number": 900 + number,
        "sop_instance_uid": f"{series}.1",
        "instance_number": 1,
    }


def segmentation(images: Sequence[Dataset], number: int = 1) -> Dataset:
    """A nodule of 20 x 20 pixels in each slice."""
    kind = {"name": "Finder", "version": "1.2", "family": codes.cid7162.ArtificialIntelligence}
    nodule = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="nodule",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Nodule,
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(**kind),
        tracking_uid="2.25.4711",
        tracking_id="nodule 1",
    )
    mask = np.zeros((len(images), images[0].Rows, images[0].Columns), bool)
    mask[:, 40:60, 40:60] = True
    names = uids(images[0].StudyInstanceUID, number)
    return quiet(hd.seg.Segmentation, list(images), mask, "BINARY", [nodule], **SOFTWARE, **names)


def report(images: Sequence[Dataset], number: int = 2, text: str = "nodule 1") -> Dataset:
    """The nodule measured (TID 1500), in the first slice."""
    context = hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(uid="2.25.4712", name="Finder"),
        )
    )
    outline = hd.sr.ImageRegion(
        graphic_type="POLYLINE",
        graphic_data=np.array([[40.0, 40.0], [60.0, 60.0], [60.0, 40.0], [40.0, 40.0]]),
        source_image=hd.sr.SourceImageForRegion.from_source_image(images[0]),
    )
    nodule = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid="2.25.4711", identifier=text),
        referenced_region=outline,
        measurements=[hd.sr.Measurement(name=codes.SCT.Diameter, value=5.0, unit=codes.UCUM.Millimeter)],
    )
    content = hd.sr.MeasurementReport(
        observation_context=context,
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[nodule],
    )
    names = uids(images[0].StudyInstanceUID, number)
    return quiet(
        hd.sr.Comprehensive3DSR, evidence=list(images), content=content[0], manufacturer="Nodule works", **names
    )


def presentation(images: Sequence[Dataset], number: int = 3, text: str = "nodule?") -> Dataset:
    """The nodule marked with a word in a layer of its own (GSPS)."""
    layer = hd.pr.GraphicLayer("MARKS", 1)
    word = hd.pr.TextObject(text, "PIXEL", bounding_box=(1, 1, 30, 30))
    return quiet(
        hd.pr.GrayscaleSoftcopyPresentationState,
        list(images),
        content_label="MARKS",
        graphic_annotations=[hd.pr.GraphicAnnotation(list(images), layer, text_objects=[word])],
        graphic_layers=[layer],
        **SOFTWARE,
        **uids(images[0].StudyInstanceUID, number),
    )


def key_objects(images: Sequence[Dataset], number: int = 4, study: str = "") -> Dataset:
    """These images, said to be of interest."""
    names = uids(study or images[0].StudyInstanceUID, number)
    content = hd.ko.KeyObjectSelection(codes.DCM.OfInterest, list(images), description="look at these")
    return quiet(hd.ko.KeyObjectSelectionDocument, list(images), content, manufacturer="Nodule works", **names)


def document(image: Dataset, number: int = 5, content: bytes = b"%PDF-1.4\n%%EOF\n") -> Dataset:
    """A PDF about an image's study."""
    found = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        setattr(found, keyword, image.get(keyword, ""))
    names = uids(image.StudyInstanceUID, number)
    found.StudyInstanceUID, found.SeriesInstanceUID = image.StudyInstanceUID, names["series_instance_uid"]
    found.SOPClassUID, found.SOPInstanceUID = EncapsulatedPDFStorage, names["sop_instance_uid"]
    found.file_meta.MediaStorageSOPClassUID, found.file_meta.MediaStorageSOPInstanceUID = (
        found.SOPClassUID,
        found.SOPInstanceUID,
    )
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.Modality, found.BurnedInAnnotation, found.DocumentTitle = "DOC", "NO", "Nodule statistics"
    found.ContentDate = found.SeriesDate = datetime.now(UTC).strftime("%Y%m%d")
    found.MIMETypeOfEncapsulatedDocument, found.EncapsulatedDocument = (
        "application/pdf",
        content + bytes(len(content) % 2),
    )
    return found


def quiet(make: Any, *arguments: Any, **named: Any) -> Dataset:
    """highdicom warns of what old test images lack; what it makes shares elements with the images."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_back(make(*arguments, **named))


def read_back(dataset: Dataset) -> Dataset:
    found: Dataset = dcmread(io.BytesIO(encoded(dataset)))
    return found


def encoded(dataset: Dataset) -> bytes:
    """As a DICOM file."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
