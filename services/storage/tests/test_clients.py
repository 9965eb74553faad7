"""`dicomweb-client`, the reference client in Python, over a real connection: every call round trips."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from dicomweb_client import DICOMwebClient
from PIL import Image as Picture
from pydicom import dcmread
from pydicom.dataset import Dataset

import findings
from radrelay_shared.events import ModelAsked, StudyAnonymized
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import PATIENCE_SECONDS, Downstream, client, deliver, served
from real_files import TEST_FILES

EXPLICIT, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
Running = tuple[Runtime, Downstream]
Pack = Callable[..., Awaitable[StudyAnonymized]]
Image = Callable[..., Dataset]
Assign = Callable[..., Awaitable[None]]


@asynccontextmanager
async def dicomweb(runtime: Runtime) -> AsyncIterator[DICOMwebClient]:
    """A client with an API key of the service over a real connection."""
    async with served(runtime) as address:
        key = client(runtime, Role.MODEL, sites=("clinic-a",)).headers["authorization"]
        yield DICOMwebClient(f"{address}/dicom-web", headers={"Authorization": key})


async def call(method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await asyncio.to_thread(method, *arguments, **options)


@pytest.fixture
async def pacs(storage: Running, pack: Pack, image: Image, assign: Assign) -> AsyncIterator[DICOMwebClient]:
    """One study of two CT slices, a cine loop in JPEG and a structured report, which a model was asked about."""
    runtime, _ = storage
    patient = {"PatientID": "P-1", "PatientName": "ANON^1"}
    images = [
        image("CT_small.dcm", 1, series=1, number=1, **patient),
        image("CT_small.dcm", 1, series=1, number=2, **patient),
        image("examples_ybr_color.dcm", 1, series=2, **patient),
        image("test-SR.dcm", 1, series=3, **patient),
    ]
    await deliver(runtime, await pack(runtime, images))
    await assign(runtime, "key:test", kind=ModelAsked)
    async with dicomweb(runtime) as found:
        yield found


async def test_search_for_studies_series_and_instances(pacs: DICOMwebClient) -> None:
    (study,) = await call(pacs.search_for_studies, search_filters={"PatientID": "P-1"}, fields=["PatientAge"])
    assert study["0020000D"]["Value"] == ["2.25.1"]
    assert sorted(study["00080061"]["Value"]) == ["CT", "SR", "US"]
    assert await call(pacs.search_for_studies, search_filters={"PatientID": "P-9"}) == []
    series = await call(pacs.search_for_series, "2.25.1", get_remaining=True)
    assert sorted(each["0020000E"]["Value"][0] for each in series) == ["2.25.1.1", "2.25.1.2", "2.25.1.3"]
    found = await call(pacs.search_for_instances, "2.25.1", "2.25.1.1", limit=1, get_remaining=True)
    assert [each["00080018"]["Value"][0] for each in found] == ["2.25.1.1.1", "2.25.1.1.2"]
    assert len(await call(pacs.search_for_instances, "2.25.1")) == 4


async def test_retrieve_study_series_and_instance(pacs: DICOMwebClient) -> None:
    whole = await call(pacs.retrieve_study, "2.25.1")
    assert {each.SOPInstanceUID for each in whole} == {"2.25.1.1.1", "2.25.1.1.2", "2.25.1.2.1", "2.25.1.3.1"}
    series = await call(lambda: list(pacs.iter_series("2.25.1", "2.25.1.1")))
    assert [each.SOPInstanceUID for each in series] == ["2.25.1.1.1", "2.25.1.1.2"]
    cine = await call(pacs.retrieve_instance, "2.25.1", "2.25.1.2", "2.25.1.2.1")
    assert cine.file_meta.TransferSyntaxUID == JPEG
    assert cine.PixelData == dcmread(TEST_FILES / "examples_ybr_color.dcm").PixelData
    slice_two = await call(pacs.retrieve_instance, "2.25.1", "2.25.1.1", "2.25.1.1.2")
    assert np.array_equal(slice_two.pixel_array, dcmread(TEST_FILES / "CT_small.dcm").pixel_array)


async def test_retrieve_metadata_of_study_series_and_instance(pacs: DICOMwebClient) -> None:
    assert len(await call(pacs.retrieve_study_metadata, "2.25.1")) == 4
    first, second = map(Dataset.from_json, await call(pacs.retrieve_series_metadata, "2.25.1", "2.25.1.1"))
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 2)
    assert (first.Rows, first.Columns, first.PixelSpacing) == (128, 128, [0.661468, 0.661468])
    one = await call(pacs.retrieve_instance_metadata, "2.25.1", "2.25.1.1", "2.25.1.1.2")
    assert Dataset.from_json(one).SOPInstanceUID == "2.25.1.1.2"


async def test_retrieve_frames_in_any_stored_or_plain_form(pacs: DICOMwebClient) -> None:
    ct = ("2.25.1", "2.25.1.1", "2.25.1.1.1")
    expected = dcmread(TEST_FILES / "CT_small.dcm").pixel_array
    for media_types in (None, ("application/octet-stream",), (("application/octet-stream", EXPLICIT),)):
        (frame,) = await call(pacs.retrieve_instance_frames, *ct, frame_numbers=[1], media_types=media_types)
        assert np.array_equal(np.frombuffer(frame, "<i2").reshape(128, 128), expected)
    cine = ("2.25.1", "2.25.1.2", "2.25.1.2.1")
    loop = await call(pacs.retrieve_instance_frames, *cine, frame_numbers=[30, 1], media_types=(("image/jpeg", JPEG),))
    assert [Picture.open(io.BytesIO(frame)).size for frame in loop] == [(320, 240), (320, 240)]
    streamed = await call(lambda: list(pacs.iter_instance_frames(*cine, frame_numbers=[30, 1])))
    assert streamed == loop
    (plain,) = await call(
        pacs.retrieve_instance_frames, *cine, frame_numbers=[1], media_types=("application/octet-stream",)
    )
    assert len(plain) == 320 * 240 * 3
    with pytest.raises(requests.HTTPError, match="404"):
        await call(pacs.retrieve_instance_frames, *cine, frame_numbers=[31])


async def test_retrieve_rendered_pictures(pacs: DICOMwebClient) -> None:
    ct = ("2.25.1", "2.25.1.1", "2.25.1.1.1")
    options = {"media_types": ("image/png",), "params": {"window": "40,80,linear"}}
    picture = Picture.open(io.BytesIO(await call(pacs.retrieve_instance_rendered, *ct, **options)))
    assert (picture.format, picture.size, picture.mode) == ("PNG", (128, 128), "L")
    cine = ("2.25.1", "2.25.1.2", "2.25.1.2.1")
    picture = Picture.open(io.BytesIO(await call(pacs.retrieve_instance_frames_rendered, *cine, frame_numbers=[30])))
    assert (picture.format, picture.size, picture.mode) == ("JPEG", (320, 240), "RGB")
    with pytest.raises(requests.HTTPError, match="406"):
        await call(pacs.retrieve_instance_rendered, "2.25.1", "2.25.1.3", "2.25.1.3.1")


async def test_a_series_that_breaks_off_is_an_error_for_the_client(
    pacs: DICOMwebClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second slice is damaged on disk: the client must not take the first one for the whole series."""
    pack = tmp_path / "deidentified" / "objects" / "st-1" / "000001" / "0001.pack"
    content = bytearray(pack.read_bytes())
    content[-1000] ^= 1
    pack.write_bytes(content)
    pacs.set_http_retry_params(retry=False)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        await call(pacs.retrieve_series, "2.25.1", "2.25.1.1")
    assert "study st-1: SOP instance 2.25.1.1.2 is not as it was stored" in caplog.text


async def test_store_instances(pacs: DICOMwebClient) -> None:
    slices = await call(pacs.retrieve_series, "2.25.1", "2.25.1.1")
    made = [findings.report(slices[:1]), findings.key_objects(slices[:1])]
    answer = await call(pacs.store_instances, datasets=made, study_instance_uid="2.25.1")
    assert [each.ReferencedSOPInstanceUID for each in answer.ReferencedSOPSequence] == ["2.25.1.902.1", "2.25.1.904.1"]
    report = await call(pacs.retrieve_instance, "2.25.1", "2.25.1.902", "2.25.1.902.1")
    assert report == made[0]
