"""Names in every script, IDs with their issuers, and one accession number at two clinics: from order and images to the
signed webhook, unharmed. The names are those of pydicom's character set files (PS3.5 annexes H, I, J and others)."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pydicom
import pytest
import pytest_asyncio
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.uid import generate_uid

from hl7_messages import ORM, sent
from radrelay_shared.security import Role
from refusals.relay import PRAIRIE, SAGEBRUSH, Relay, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Case:
    file: str  # of pydicom's, whose name the images bear, in its own character set
    ordered: str  # the name as the order writes it
    charset: str  # MSH-18
    encoding: str
    heard: tuple[tuple[str, str], ...]  # family and given name in each spelling


CASES = {
    "Japanese, ISO 2022": Case(
        "chrH31.dcm", "Yamada^Tarou~山田^太郎^^^^^L^I", "~ISO IR87", "iso2022_jp",
        (("Yamada", "Tarou"), ("山田", "太郎"), ("やまだ", "たろう")),
    ),
    "Japanese, with half-width kana": Case(
        "chrH32.dcm", "ヤマダ^タロウ^^^^^L^P", "~ISO IR87", "iso2022_jp",
        (("ﾔﾏﾀﾞ", "ﾀﾛｳ"), ("山田", "太郎"), ("やまだ", "たろう")),
    ),
    "Korean": Case(
        "chrI2.dcm", "홍^길동", "KS X 1001", "euc_kr", (("Hong", "Gildong"), ("洪", "吉洞"), ("홍", "길동")),
    ),
    "Cyrillic": Case("chrRuss.dcm", "Люкceмбypг", "8859/5", "iso8859-5", (("Люкceмбypг", ""),)),  # noqa: RUF001
    "Arabic": Case("chrArab.dcm", "قباني^لنزار", "8859/6", "iso8859-6", (("قباني", "لنزار"),)),
    "Greek": Case("chrGreek.dcm", "Διονυσιος", "8859/7", "iso8859-7", (("Διονυσιος", ""),)),
    "Hebrew": Case("chrHbrw.dcm", "שרון^דבורה", "8859/8", "iso8859-8", (("שרון", "דבורה"),)),
    "Chinese, GB 18030": Case(
        "chrX2.dcm", "王^小东", "GB 18030-2000", "gb18030", (("Wang", "XiaoDong"), ("王", "小东")),
    ),
    "Chinese, UTF-8": Case(
        "chrX1.dcm", "Wang^Xiaodong", "UNICODE UTF-8", "utf-8", (("Wang", "XiaoDong"), ("王", "小東")),
    ),
    "German": Case("chrGerm.dcm", "Aeneas^Ruediger", "", "ascii", (("Äneas", "Rüdiger"),)),
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Relay]:
    """With every patient's order and images on their way."""
    async with running(tmp_path_factory.mktemp("unharmed")) as found:
        for number, case in enumerate(CASES.values()):
            await order(found, PRAIRIE, case, f"N-{number}", "PRAIRIE-MPI")
            stored = await found.stow(PRAIRIE, images(case.file, f"N-{number}", "PRAIRIE-MPI"))
            assert stored.status_code == 200
        yield found


def images(file: str, accession: str, issuer: str) -> bytes:
    """An MR slice of this patient, the name in the bytes and the character set of its file."""
    [path] = get_charset_files(file)
    named = pydicom.dcmread(path)
    dataset = pydicom.dcmread(str(get_testdata_file("MR_small.dcm", download=False)))
    dataset.SpecificCharacterSet = named.SpecificCharacterSet
    dataset.PatientName = named.PatientName
    dataset.PatientID, dataset.IssuerOfPatientID, dataset.AccessionNumber = "MRN-1", issuer, accession
    dataset.PatientBirthDate, dataset.PatientSex = "19800101", "F"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


async def order(relay: Relay, site: str, case: Case, accession: str, issuer: str) -> None:
    message = ORM.replace("UNICODE UTF-8", case.charset).replace("DOE^JANE^Q", case.ordered).replace("|CT||", "|MR||")
    message = message.replace("ACC123", accession).replace("123456^^^HOSP_A", f"MRN-1^^^{issuer}")
    message = message.replace("PL100", f"P-{accession}").replace("FL100", f"F-{accession}")
    content, headers = sent(message, case.encoding), {"Content-Type": "application/hl7-v2"}
    answer = await relay.ask("POST", "/ingest/hl7", Role.SITE, site, content=content, headers=headers)
    assert "MSA|AA" in answer.text, answer.text


def names(resource: dict[str, list[dict[str, str]]]) -> tuple[tuple[str, str], ...]:
    return tuple((name.get("family", ""), "".join(name.get("given", ()))) for name in resource["name"])


@pytest.mark.parametrize("name", CASES)
async def test_a_patient_comes_home_under_the_name_in_the_images(relay: Relay, name: str) -> None:
    """The order was matched (its priority is STAT), nothing was held back, and every letter is there."""
    case, accession = CASES[name], f"N-{list(CASES).index(name)}"
    heard = await relay.hear(PRAIRIE, "report.finalized", accession)
    patient = heard["contained"][0]
    assert names(patient) == case.heard
    assert patient["identifier"] == [{"value": "MRN-1", "assigner": {"display": "PRAIRIE-MPI"}}]
    sealed = [each for each in await relay.ingested() if each["state"] == "sealed"]  # others may be on their way yet
    assert sealed
    assert all(each["order"] and not each["notes"] for each in sealed)


async def test_one_accession_number_and_one_patient_id_at_two_clinics_are_two_patients(relay: Relay) -> None:
    mine, yours = CASES["Korean"], CASES["Arabic"]
    for site, case, issuer in ((PRAIRIE, mine, "PRAIRIE-MPI"), (SAGEBRUSH, yours, "SAGE-MPI")):
        await order(relay, site, case, "SAME-1", issuer)
        assert (await relay.stow(site, images(case.file, "SAME-1", issuer))).status_code == 200
    for site, case, issuer in ((PRAIRIE, mine, "PRAIRIE-MPI"), (SAGEBRUSH, yours, "SAGE-MPI")):
        patient = (await relay.hear(site, "report.finalized", "SAME-1"))["contained"][0]
        assert names(patient) == case.heard
        assert patient["identifier"][0]["assigner"] == {"display": issuer}


async def test_a_merge_sends_the_report_home_under_the_surviving_id(relay: Relay) -> None:
    case = CASES["Cyrillic"]
    await order(relay, SAGEBRUSH, case, "MERGED-1", "SAGE-MPI")
    merge = (
        r"MSH|^~\&|HIS|HOSP_A|TELERAD|HUB|20261101120000||ADT^A40|A40-1|P|2.5.1"
        "\nPID|1||MRN-9^^^SAGE-MPI^MR\nMRG|MRN-1^^^SAGE-MPI^MR\n"
    )
    headers = {"Content-Type": "application/hl7-v2"}
    answer = await relay.ask("POST", "/ingest/hl7", Role.SITE, SAGEBRUSH, content=sent(merge), headers=headers)
    assert "MSA|AA" in answer.text
    assert (await relay.stow(SAGEBRUSH, images(case.file, "MERGED-1", "SAGE-MPI"))).status_code == 200
    patient = (await relay.hear(SAGEBRUSH, "report.finalized", "MERGED-1"))["contained"][0]
    assert patient["identifier"] == [{"value": "MRN-9", "assigner": {"display": "SAGE-MPI"}}]
    assert names(patient) == case.heard
