"""Derived objects over STOW-RS: what is taken is found everywhere, and what could name a patient is not taken."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import config, dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

import findings
from radrelay_shared.errors import Invalid
from radrelay_shared.events import ModelAsked, ReportPreliminary, StudyAnonymized
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import Downstream, client, deliver
from radrelay_storage.derived.identity import Facts, said
from radrelay_storage.derived.judging import Derived, judged, named_in, opened
from radrelay_storage.derived.kinds import KINDS
from radrelay_storage.derived.receiving import Coming
from radrelay_storage.derived.references import Known, Place
from radrelay_storage.derived.refusal import Refusal
from radrelay_storage.derived.surroundings import Surroundings

PATIENT = {"PatientID": "RR-ONE", "PatientName": "RR-ONE", "PatientBirthDate": "", "AccessionNumber": "A-1"}
DUPLICATE, NOT_HERE, BAD_VALUE, MISMATCH, NO_CLASS, NOT_YOU = 0x0111, 0x0112, 0x0106, 0xA900, 0x0122, 0x0124
NOT_DICOM, NO_SYNTAX = 0xC000, 0xC122
STUDIES = "/dicom-web/studies"


@dataclass
class Reading:
    """Storage with a CT of two slices, and a way to send."""

    runtime: Runtime
    slices: list[Dataset]

    async def send(self, *objects: Dataset | bytes, path: str = STUDIES, role: Role = Role.MODEL, **who: Any) -> Any:
        """What STOW-RS answers to these objects in one multipart body."""
        files = [each if isinstance(each, bytes) else findings.encoded(each) for each in objects]
        body = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + each + b"\r\n" for each in files) + b"--b--"
        kind = 'multipart/related; type="application/dicom"; boundary=b'
        async with client(self.runtime, role, **({"sites": ("clinic-a",)} | who)) as caller:
            return await caller.post(path, content=body, headers={"Content-Type": kind})

    async def get(self, path: str, role: Role = Role.ASSISTANT) -> Any:
        async with client(self.runtime, role, sites=("clinic-a",)) as caller:
            return await caller.get(path)


@pytest.fixture
async def reading(
    storage: tuple[Runtime, Downstream],
    pack: Callable[..., Awaitable[StudyAnonymized]],
    image: Callable[..., Dataset],
    assign: Callable[..., Awaitable[None]],
) -> Reading:
    """The model, and the radiologists who reported the study."""
    runtime, _ = storage
    slices = [
        image("CT_small.dcm", 1, number=number, ImagePositionPatient=[0, 0, number - 1], **PATIENT) for number in (1, 2)
    ]
    await deliver(runtime, await pack(runtime, slices))
    await assign(runtime, "key:test", kind=ModelAsked)
    for who in ("key:test", "key:dr-silva"):
        await assign(runtime, who, kind=ReportPreliminary)
    return Reading(runtime, slices)


def reasons(answer: Any) -> list[int]:
    told = answer.json()
    failed = [item for tag in ("00081198", "0008119A") for item in told.get(tag, {}).get("Value", [])]
    return [item["00081197"]["Value"][0] for item in failed]


async def test_what_a_model_made_is_found_and_read_like_every_other_instance(reading: Reading) -> None:
    made = [findings.segmentation(reading.slices), findings.report(reading.slices)]
    answer = await reading.send(*made, findings.presentation(reading.slices), findings.key_objects(reading.slices))
    assert (answer.status_code, reasons(answer)) == (200, []), answer.text
    stored = answer.json()["00081199"]["Value"]
    assert [each["00081155"]["Value"][0] for each in stored] == [f"2.25.1.90{number}.1" for number in (1, 2, 3, 4)]
    (study,) = (await reading.get(STUDIES)).json()
    assert study["00080061"]["Value"] == ["CT", "KO", "PR", "SEG", "SR"]
    assert (study["00201206"]["Value"], study["00201208"]["Value"]) == ([5], [6])
    sent = findings.encoded(made[0])
    path = stored[0]["00081190"]["Value"][0].removeprefix("http://radrelay")
    async with client(reading.runtime, Role.RADIOLOGIST) as caller:
        got = await caller.get(path, headers={"Accept": "application/dicom"})
    assert got.content == sent
    (described,) = (await reading.get(f"{path}/metadata")).json()
    assert described["00620002"]["Value"][0]["00620005"]["Value"] == ["nodule"]
    (found,) = (await reading.get("/dicom-web/instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.66.4")).json()
    assert found["00080018"]["Value"] == ["2.25.1.901.1"]


async def test_one_object_comes_without_multipart_and_is_answered_in_xml(reading: Reading) -> None:
    headers = {"Content-Type": "application/dicom", "Accept": "application/dicom+xml"}
    async with client(reading.runtime, Role.RADIOLOGIST) as caller:
        content = findings.encoded(findings.report(reading.slices))
        answer = await caller.post(f"{STUDIES}/2.25.1", content=content, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+xml")
    assert "2.25.1.902.1" in answer.text


async def test_the_same_object_twice_is_stored_once_and_other_bytes_under_its_name_are_not(reading: Reading) -> None:
    report = findings.report(reading.slices)
    assert (await reading.send(report, report)).status_code == 200
    again = await reading.send(report)
    assert (again.status_code, len(again.json()["00081199"]["Value"])) == (200, 1)
    report.ContentTime = "010203"
    other = await reading.send(report)
    assert (other.status_code, reasons(other)) == (409, [DUPLICATE])
    (study,) = (await reading.get(STUDIES)).json()
    assert study["00201208"]["Value"] == [3]


async def test_a_key_object_may_point_at_a_prior_and_at_what_came_just_before_it(
    reading: Reading, pack: Callable[..., Awaitable[StudyAnonymized]], image: Callable[..., Dataset]
) -> None:
    """The prior is of the same patient; another patient's study is as if it were not there."""
    earlier = image("CT_small.dcm", 2, **PATIENT, StudyDate="20030119")
    stranger = image("CT_small.dcm", 3, **(PATIENT | {"PatientID": "RR-TWO"}), StudyDate="20030119")
    for number, each in ((2, earlier), (3, stranger)):
        await deliver(reading.runtime, await pack(reading.runtime, [each], study=f"st-{number}"))
    segmentation = findings.segmentation(reading.slices)
    both = findings.key_objects([*reading.slices, segmentation])
    compared = findings.key_objects(reading.slices, number=6)
    evidence = findings.key_objects([earlier], study="2.25.1").CurrentRequestedProcedureEvidenceSequence
    compared.CurrentRequestedProcedureEvidenceSequence += evidence
    assert (await reading.send(segmentation, both, compared)).status_code == 200
    strange = findings.key_objects(reading.slices, number=7)
    evidence = findings.key_objects([stranger], study="2.25.1").CurrentRequestedProcedureEvidenceSequence
    strange.CurrentRequestedProcedureEvidenceSequence += evidence
    assert reasons(await reading.send(strange)) == [NOT_HERE]


# ── what is not taken ────────────────────────────────────────────────────────────────────────────────


def changed(**values: Any) -> Callable[[list[Dataset]], Dataset]:
    def made(slices: list[Dataset]) -> Dataset:
        found = findings.report(slices)
        for keyword, value in values.items():
            setattr(found, keyword, value)
        return found

    return made


def private(slices: list[Dataset]) -> Dataset:
    found = findings.report(slices)
    found.private_block(0x0009, "ACME", create=True).add_new(1, "LO", "DOE^JANE")
    return found


def with_element(tag: int, vr: str, value: Any) -> Callable[[list[Dataset]], Dataset]:
    def made(slices: list[Dataset]) -> Dataset:
        found = findings.report(slices)
        found[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)
        return found

    return made


def with_observer(name: str) -> Callable[[list[Dataset]], Dataset]:
    def made(slices: list[Dataset]) -> Dataset:
        found, observer = findings.report(slices), Dataset()
        observer.RelationshipType, observer.ValueType, observer.PersonName = "HAS OBS CONTEXT", "PNAME", name
        found.ContentSequence.append(observer)
        return found

    return made


def of_nowhere(slices: list[Dataset]) -> Dataset:
    found = findings.presentation(slices)
    found.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID = "2.25.99"
    return found


def in_the_images_series(slices: list[Dataset]) -> Dataset:
    return changed(SeriesInstanceUID=str(slices[0].SeriesInstanceUID))(slices)


REFUSED: list[tuple[str, int, Callable[[list[Dataset]], Dataset]]] = [
    ("another patient's ID", BAD_VALUE, changed(PatientID="4711-0815")),
    ("a patient's name", BAD_VALUE, changed(PatientName="Doe^Jane")),
    ("a birth date", BAD_VALUE, changed(PatientBirthDate="19800101")),
    ("another ID of the patient's", BAD_VALUE, changed(OtherPatientIDs="4711")),
    ("a clinic", BAD_VALUE, changed(InstitutionName="Prairie Clinic")),
    ("another accession number", BAD_VALUE, changed(AccessionNumber="PRA-7001")),
    ("the day of the scan as the clinic has it", BAD_VALUE, changed(AcquisitionDate="20250214")),
    ("a private attribute", BAD_VALUE, private),
    ("a patient's name where an observer's is", BAD_VALUE, with_observer("Doe^Jane")),
    ("a telephone number in prose", BAD_VALUE, lambda slices: findings.report(slices, text="call 406-555-0134")),
    ("a titled name in prose", BAD_VALUE, lambda slices: findings.report(slices, text="as Dr. Whitehorse said")),
    ("a date drawn on the image", BAD_VALUE, lambda slices: findings.presentation(slices, text="12/03/1952")),
    ("text in the place of a UID", BAD_VALUE, with_element(0x00200052, "UI", "Jane Doe")),
    ("an overlay", BAD_VALUE, with_element(0x60003000, "OW", b"\0\1")),
    ("a reference to what is not here", NOT_HERE, of_nowhere),
    ("a study that is not here", NOT_HERE, changed(StudyInstanceUID="2.25.77")),
    ("a series of images", MISMATCH, in_the_images_series),
    ("an image", NO_CLASS, lambda slices: slices[0]),
    ("an audio report", NO_CLASS, changed(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.2")),
]


async def test_what_could_identify_somebody_or_leads_nowhere_is_not_taken(
    reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the answer nor the log repeats what it held; what came with it is stored."""
    for number, (case, reason, make) in enumerate(REFUSED, 10):
        answer = await reading.send(make(reading.slices), findings.segmentation(reading.slices, number))
        assert (answer.status_code, reasons(answer)) == (202, [reason]), case
        for word in ("Doe", "4711", "1980", "Prairie", "7001", "20250214", "555", "Whitehorse", "1952", "Jane"):
            assert word not in answer.text, case
            assert word not in caplog.text, case
    (study,) = (await reading.get(STUDIES)).json()
    assert study["00201208"]["Value"] == [2 + len(REFUSED)]


TAKEN: list[tuple[str, Callable[[list[Dataset]], Dataset]]] = [
    ("the study's own values", changed(PatientID="RR-ONE", AccessionNumber="A-1")),
    ("no patient at all", changed(PatientID="", PatientName="", StudyDate="")),
    ("the caller's name as the observer's", with_observer("dr^silva")),
    ("nobody as observer, as OHIF says it", with_observer("unknown^unknown")),
    ("measurements in prose", lambda slices: findings.report(slices, text="nodule of 12 x 8 mm, no change")),
]


async def test_what_comes_from_the_images_or_from_the_caller_is_taken(reading: Reading) -> None:
    for number, (case, make) in enumerate(TAKEN, 10):
        made = make(reading.slices)
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"2.25.1.902.{number}"
        answer = await reading.send(made, role=Role.RADIOLOGIST, subject="dr-silva")
        assert answer.status_code == 200, (case, answer.text)


def doubled(file: bytes) -> bytes:
    """With a second, earlier Patient ID, which pydicom does not show."""
    dataset = dcmread(io.BytesIO(file))
    end = file.index(b"\x10\x00\x20\x00LO")
    assert dataset.PatientID == "RR-ONE"
    return file[:end] + b"\x10\x00\x20\x00LO\x08\x00DOE^JANE" + file[end:]


BROKEN: list[tuple[str, int, Callable[[bytes], bytes]]] = [
    ("no DICOM at all", NOT_DICOM, lambda _: b"no DICOM"),
    ("a file that is cut", NOT_DICOM, lambda file: file[:-5]),
    ("something in the preamble", NOT_DICOM, lambda file: b"DOE^JANE" + file[8:]),
    ("something behind the end", NOT_DICOM, lambda file: file + b"DOE^JANE"),
    ("a patient's ID behind which another stands", NOT_DICOM, doubled),
]


async def test_a_file_that_is_not_what_a_reader_sees_in_it_is_not_taken(reading: Reading) -> None:
    for case, reason, spoil in BROKEN:
        answer = await reading.send(spoil(findings.encoded(findings.report(reading.slices))))
        assert (answer.status_code, reasons(answer)) == (409, [reason]), case
        assert "DOE" not in answer.text


async def test_a_deflated_object_is_not_taken(reading: Reading) -> None:
    report = findings.report(reading.slices)
    report.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    assert reasons(await reading.send(report)) == [NO_SYNTAX]


SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"
HEADER = 400  # bytes from which on the data set is spoilt


@pytest.fixture
def sound(image: Callable[..., Dataset]) -> tuple[bytes, Surroundings]:
    """A report that is taken, and what it is held against."""
    one = image("CT_small.dcm", 1, **PATIENT)
    known = Known("2.25.1", "2.25.1.1", one.SOPClassUID, "")
    place = Place(
        {one.SOPInstanceUID: known}, frozenset(), studies=frozenset({"2.25.1"}), all_series=frozenset({"2.25.1.1"})
    )
    around = Surroundings(Facts(said([one]), "finder", ("20250101", "20991231")), place, frozenset())
    file = findings.encoded(findings.report([one]))
    assert examined(file, around).modality == "SR"
    return file, around


def examined(file: bytes, around: Surroundings) -> Derived:
    coming = Coming()
    with closing(coming.file):
        coming.take(file)
        received = coming.finish()
        dataset = opened(received)
        named_in(dataset)
        return judged(received, dataset, KINDS[SR_CLASS], around)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 10_000), value=st.integers(0, 255), length=st.integers(1, 4))
def test_a_spoilt_file_is_judged_or_refused_and_nothing_else(
    sound: tuple[bytes, Surroundings], at: int, value: int, length: int
) -> None:
    file, around = bytearray(sound[0]), sound[1]
    at = HEADER + at % (len(file) - HEADER)
    file[at : at + length] = bytes([value]) * length
    with suppress(Invalid, Refusal):
        examined(bytes(file), around)


# ── who may send ─────────────────────────────────────────────────────────────────────────────────────

SENDERS: dict[Role, int] = {
    Role.RADIOLOGIST: 200,
    Role.MODEL: 200,
    Role.ASSISTANT: 403,
    Role.SITE: 403,
    Role.REFERRER: 403,
    Role.OPERATOR: 403,
    Role.AUDITOR: 403,
    Role.SERVICE: 403,
}


async def test_who_sees_nothing_but_copies_may_send(reading: Reading) -> None:
    """For one's own sites; another site's study is as if it were not there."""
    assert set(SENDERS) == set(Role)
    report = findings.report(reading.slices)
    for role, status in SENDERS.items():
        assert (await reading.send(report, role=role)).status_code == status, role
        elsewhere = await reading.send(report, role=role, sites=("clinic-b",))
        assert elsewhere.status_code == (409 if status == 200 else 403), role
        named = await reading.send(report, role=role, sites=("clinic-b",), path=f"{STUDIES}/2.25.1")
        assert named.status_code == (404 if status == 200 else 403), role
    other = await reading.send(report, path=f"{STUDIES}/2.25.1")
    assert other.status_code == 200


async def test_a_pdf_is_taken_of_a_model_that_vouches_for_it_and_of_nobody_else(reading: Reading) -> None:
    pdf = findings.document(reading.slices[0])
    assert reasons(await reading.send(pdf, role=Role.RADIOLOGIST)) == [NOT_YOU]
    pdf.BurnedInAnnotation = "YES"
    assert reasons(await reading.send(pdf)) == [MISMATCH]
    pdf.BurnedInAnnotation, pdf.EncapsulatedDocument = "NO", b"MZ\x90\x00"
    assert reasons(await reading.send(pdf)) == [MISMATCH]
    assert (await reading.send(findings.document(reading.slices[0]))).status_code == 200


async def test_a_body_without_instances_or_in_another_form_or_too_long_is_refused(reading: Reading) -> None:
    assert (await reading.send()).status_code == 400
    async with client(reading.runtime, Role.MODEL) as model:
        answer = await model.post(STUDIES, content=b"{}", headers={"Content-Type": "application/dicom+json"})
        assert answer.status_code == 415
    context = reading.runtime.context
    context.settings = context.settings.model_copy(update={"derived_bytes": 1000})
    assert (await reading.send(findings.segmentation(reading.slices))).status_code == 413
    assert len((await reading.get(f"{STUDIES}/2.25.1/instances")).json()) == 2
