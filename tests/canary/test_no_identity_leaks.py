"""No identity outside the identified zone: not in any event, queue, log, trace, object, document, answer or address.

Once in one process, once as seven processes on real servers; the same day in both.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import SecondaryCaptureImageStorage

from canary.mistakes import provoke
from canary.patients import CEDAR, JUNIPER, PATIENTS, Patient, Thing, traces
from canary.scenario import CT, MR, ULTRASOUND, Day
from canary.studies import CORNER, capture
from canary.wiretap import Evidence, Listener, all_in_one, said_into, seven_processes
from radrelay_shared.dicom.multipart import Begin, Data, Splitter

SHAPES = [
    pytest.param(all_in_one, id="all-in-one"),
    pytest.param(seven_processes, id="seven-processes", marks=pytest.mark.external),
]
OUTSIDE = (
    "events", "logs", "telemetry", "blobs", "documents", "dead letters", "DICOMweb answers", "other answers",
    "problems", "addresses",
)  # fmt: skip


@pytest.fixture(scope="module", params=SHAPES)
def evidence(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """All that was seen of one day."""
    return asyncio.run(watch(request.param, tmp_path_factory.mktemp("canary")))


async def watch(shape: type, folder: Path) -> Evidence:
    evidence = Evidence()
    listener = Listener(evidence)
    async with (
        listener.listening() as collector,
        shape(folder, evidence, collector) as relay,
        httpx2.AsyncClient(timeout=60, trust_env=False) as http,
    ):
        day = Day(relay, listener, http)
        await day.register(collector)
        await day.feed()
        await day.read()
        await provoke(day)
        await day.ask_everything()
    return evidence


@pytest.mark.parametrize("place", OUTSIDE)
def test_nothing_outside_the_identified_zone_names_a_patient(evidence: Evidence, place: str) -> None:
    things = evidence.places[place]
    assert things, f"nothing was seen in {place}: the test looks in the wrong place"
    found = [trace for thing in things for trace in traces(thing, *PATIENTS)]
    assert not found, "\n".join(found)


def test_a_picture_in_which_the_patient_is_named_comes_out_without_the_name(evidence: Evidence) -> None:
    """Bytes cannot tell: here the corner of the picture is looked at."""
    assert (capture(CEDAR, ULTRASOUND, instance=2).pixel_array[CORNER] > 200).sum() > 1000
    copies = [copy for thing in evidence.places["DICOMweb answers"] for copy in instances(thing.content)]
    [picture] = [copy.pixel_array for copy in copies if copy.SOPClassUID == SecondaryCaptureImageStorage]
    assert picture[CORNER].max() < 60
    assert (picture > 100).any()


def instances(answer: bytes) -> Iterator[FileDataset]:
    """The files in an answer of WADO-RS, if it is one."""
    boundary = re.search(rb"application/dicom\".*?boundary=\"?([-\w]+)", answer[:2000])
    if boundary is None:
        return
    content = bytearray()
    for each in Splitter(boundary[1].decode()).feed(answer):
        if isinstance(each, Begin):
            content = bytearray()
        elif isinstance(each, Data):
            content += each.content
        else:
            yield pydicom.dcmread(io.BytesIO(content))


def test_the_brokers_own_files_name_no_patient(evidence: Evidence) -> None:
    """Where there is a broker, its files hold the events, retried and dead ones, too."""
    files = evidence.places["broker"]
    assert not files or any(b"radrelay.study.stored.v1" in file.content for file in files)
    assert not [trace for file in files for trace in traces(file, *PATIENTS)]


def test_standard_error_is_json_lines_and_nothing_else(evidence: Evidence) -> None:
    """Neither a warning nor a traceback of a foreign library, which would quote what it was given."""
    lines = [line for log in evidence.places["logs"] for line in log.content.decode().splitlines()]
    assert all({"time", "level", "service", "logger", "message"} <= json.loads(line).keys() for line in lines)


def test_a_warning_that_quotes_a_value_is_logged_without_its_text(tmp_path: Path) -> None:
    with said_into(tmp_path / "log"), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"Invalid value for VR UI: {CEDAR.name!r}", stacklevel=1)
    [line] = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["logger"] == "py.warnings"
    assert not list(traces(Thing("log", line.encode()), CEDAR))


@pytest.mark.parametrize("who", PATIENTS, ids=lambda who: who.site)
def test_the_search_finds_each_patient_among_the_originals(evidence: Evidence, who: Patient) -> None:
    found = "\n".join(trace for thing in evidence.places["originals"] for trace in traces(thing, who))
    for meaning in ("family name", "given name", "ideographic name", "UID", "birth", "record number", "telephone"):
        assert f"{meaning} of {who.site}'s patient" in found
    assert "a date as the clinic sent it" in found


@pytest.mark.parametrize("hidden", [
    b"study of Zqcanary^Zqruthie", b"zqCANARY", "仮名鳥様".encode(), "仮名鳥".encode("utf-16-le"),
    "仮名鳥".encode("iso2022_jp"), "ZQRUTHIE".encode("utf-16-be"), b"MRN 6044 1823 9057", b"born 13.02.1937",
    b"urn:oid:1.2.826.0.1.3680043.9999.1.1", b'"Value": ["10070517"]', b"1007-05-17T10:11:12",
    b"eyJwIjoiWnFjYW5hcnkifQ==", b"%E4%BB%AE%E5%90%8D%E9%B3%A5", b"\\u4eee\\u540d\\u9ce5", b"5A7163616E617279",
])  # fmt: skip
def test_the_search_knows_this_spelling(hidden: bytes) -> None:
    """In the encodings of files, wires and databases, and through base64, URLs, JSON and hexadecimal."""
    assert list(traces(Thing("a log line", b"set aside: " + hidden + b"."), CEDAR))


@pytest.mark.parametrize("who", PATIENTS, ids=lambda who: who.site)
def test_the_owning_clinic_reads_its_own_patient_and_order(evidence: Evidence, who: Patient) -> None:
    bodies = [json.loads(thing.content) for thing in evidence.places[f"webhooks of {who.site}"]]
    reports = [body["data"] for body in bodies if body["type"] == "report.finalized"]
    study = CT if who is CEDAR else MR
    mine = next(each for each in reports if each["basedOn"][0]["identifier"]["value"] == who.accession(study))
    patient, images = mine["contained"]
    assert patient["name"][0]["text"] == f"{who.given} {who.family}"
    assert patient["name"][1]["family"] == who.ideographic[0]
    assert patient["identifier"][0]["value"] == who.id
    assert patient["birthDate"] == who.born
    assert images["identifier"][0]["value"] == f"urn:oid:{who.study_uid(study)}"


@pytest.mark.parametrize(("clinic", "other"), [(CEDAR, JUNIPER), (JUNIPER, CEDAR)], ids=["cedar", "juniper"])
def test_no_clinic_hears_of_another_clinics_patient(evidence: Evidence, clinic: Patient, other: Patient) -> None:
    heard = evidence.places[f"webhooks of {clinic.site}"]
    assert heard
    assert not [trace for thing in heard for trace in traces(thing, other)]


def test_the_clinic_hears_by_accession_number_which_study_is_held_back(evidence: Evidence) -> None:
    notices = [json.loads(thing.content) for thing in evidence.places["webhooks of cedar"]]
    held = [each["data"] for each in notices if each["type"] == "study.quarantined"]
    assert [(each["accession_number"], each["reasons"]) for each in held] == [
        ("ZQCANARY718304", ["encapsulated-document"])
    ]
