"""Attributes in XML, for clients that ask for it (PS3.19 §A.1, PS3.18 §8.7.3.4)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from xml.etree.ElementTree import fromstring

import httpx2
from pydicom.dataset import Dataset

from radrelay_shared.events import StudyAnonymized
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import Downstream, client, deliver
from radrelay_storage.nativexml import native

XML = 'multipart/related; type="application/dicom+xml"'
Running = tuple[Runtime, Downstream]
Pack = Callable[..., Awaitable[StudyAnonymized]]
Image = Callable[..., Dataset]


def test_every_kind_of_value_has_its_place_in_the_native_model() -> None:
    instance = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane^^Dr", "Ideographic": "山田"}]},
        "00080018": {"vr": "UI", "Value": ["2.25.7"]},
        "00280030": {"vr": "DS", "Value": [0.5, None, 2]},
        "00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["SPS-1"]}}]},
        "00091001": {"vr": "LO", "Value": ["private & <odd>"]},
        "7FE00010": {"vr": "OW", "BulkDataURI": "http://radrelay/bulk"},
        "00100020": {"vr": "LO"},
    }
    assert native(instance).decode().split("?>\n")[1] == (
        '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
        '<DicomAttribute tag="00080018" vr="UI" keyword="SOPInstanceUID">'
        '<Value number="1">2.25.7</Value></DicomAttribute>'
        '<DicomAttribute tag="00091001" vr="LO"><Value number="1">private &amp; &lt;odd&gt;</Value></DicomAttribute>'
        '<DicomAttribute tag="00100010" vr="PN" keyword="PatientName"><PersonName number="1">'
        "<Alphabetic><FamilyName>Doe</FamilyName><GivenName>Jane</GivenName><NamePrefix>Dr</NamePrefix></Alphabetic>"
        "<Ideographic><FamilyName>山田</FamilyName></Ideographic></PersonName></DicomAttribute>"
        '<DicomAttribute tag="00100020" vr="LO" keyword="PatientID" />'
        '<DicomAttribute tag="00280030" vr="DS" keyword="PixelSpacing">'
        '<Value number="1">0.5</Value><Value number="3">2</Value></DicomAttribute>'
        '<DicomAttribute tag="00400275" vr="SQ" keyword="RequestAttributesSequence"><Item number="1">'
        '<DicomAttribute tag="00400009" vr="SH" keyword="ScheduledProcedureStepID">'
        '<Value number="1">SPS-1</Value></DicomAttribute></Item></DicomAttribute>'
        '<DicomAttribute tag="7FE00010" vr="OW" keyword="PixelData"><BulkData uri="http://radrelay/bulk" />'
        "</DicomAttribute></NativeDicomModel>"
    )


def uids(answer: httpx2.Response) -> list[str | None]:
    """The SOP Instance UID of each part."""
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(XML)
    parts = re.findall(rb"Content-Type: application/dicom\+xml\r\n\r\n(.*?)\r\n--", answer.content, re.DOTALL)
    found = [fromstring(each).find("{*}DicomAttribute[@keyword='SOPInstanceUID']/{*}Value") for each in parts]  # noqa: S314  our own
    return [None if each is None else each.text for each in found]


async def test_searches_and_metadata_come_as_one_document_per_part(storage: Running, pack: Pack, image: Image) -> None:
    runtime, _ = storage
    await deliver(runtime, await pack(runtime, [image("CT_small.dcm", 1, number=number) for number in (1, 2)]))
    both, series = ["2.25.1.1.1", "2.25.1.1.2"], "/dicom-web/studies/2.25.1/series/2.25.1.1"
    async with client(runtime, Role.ASSISTANT) as viewer:
        viewer.headers["accept"] = XML
        assert uids(await viewer.get("/dicom-web/studies")) == [None]
        assert uids(await viewer.get("/dicom-web/studies?PatientID=nobody")) == []
        assert uids(await viewer.get(f"{series}/instances")) == both
        assert uids(await viewer.get("/dicom-web/studies/2.25.1/metadata")) == both
        assert uids(await viewer.get(f"{series}/metadata")) == both
        assert uids(await viewer.get(f"{series}/instances/2.25.1.1.2/metadata")) == both[1:]
