"""A day of two clinics and three radiologists, from orders and scans to signed reports; the same in both shapes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from fleet import Installation
from radrelay.client import Client, Problem
from radrelay.custody import first_broken
from radrelay.demo import Show, deliver, registered
from radrelay.reading import IDLE_SECONDS, read
from radrelay.samples import SAMPLES, Sample
from radrelay.services import SERVICES
from radrelay_shared.security import Role
from radrelay_shared.testing import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

STAT_HEAD, MR_BRAIN, CR_SPINE = "PRA-7003", "PRA-7001", "SAG-4001"
WET_READ, SECOND_LOOK = "No bleeding; final report follows.", "Discussed with the referring physician by phone."


@dataclass
class Day:
    """What was sent, what came back, and the keys to ask for it."""

    relay: Installation
    show: Show = field(default_factory=Show)
    datasets: dict[str, list[Dataset]] = field(default_factory=dict)  # by accession number
    orders: dict[str, str] = field(default_factory=dict)  # accession number → order key

    @property
    def operator(self) -> Client:
        return self.relay.client("the-operator", Role.OPERATOR)

    async def send_all(self) -> None:
        """Orders first, as clinics do; the STAT comes last."""
        for sample in SAMPLES:
            answer = await self.clinic(sample).call("POST", "/ingest/fhir", json=sample.order())
            self.orders[sample.accession] = answer["order"]
            self.datasets[sample.accession] = list(sample.datasets())
            await self.send(sample.accession, self.datasets[sample.accession])

    async def send(self, accession: str, datasets: list[Dataset]) -> None:
        sample = sample_of(accession)
        await asyncio.to_thread(deliver, sample, datasets, self.clinic(sample), self.relay.dicom_port)

    def clinic(self, sample: Sample) -> Client:
        return self.relay.client(f"{sample.site}-his", Role.SITE, sample.site)

    def reports(self, accession: str) -> list[str]:
        """The types of webhooks about this order, in the order they came."""
        return [each["type"] for each in self.show.webhooks if each.get("accession") == accession]

    async def study(self, accession: str) -> dict[str, Any]:
        """Ingest's view of the study that answered the order."""
        known = await self.operator.call("GET", "/ingest/studies")
        found: dict[str, Any] = next(each for each in known if each["order"] == self.orders[accession])
        return found

    async def uid(self, accession: str) -> str:
        """The de-identified Study Instance UID."""
        key = (await self.study(accession))["study"]
        items = await self.operator.call("GET", "/workitems")
        return str(next(item["study_instance_uid"] for item in items if item["study"] == key))

    async def signer(self, key: str) -> str:
        report = await self.operator.call("GET", f"/reports/{key}")
        return str(report["published"][-1]["version"]["radiologist"])

    def dicomweb(self, role: Role, *sites: str, subject: str = "a-viewer") -> DICOMwebClient:
        client = self.relay.client(subject, role, *sites)
        return DICOMwebClient(
            client.url("/dicom-web/").rstrip("/"), headers={"Authorization": f"Bearer {client.token}"}
        )


def sample_of(accession: str) -> Sample:
    return next(sample for sample in SAMPLES if sample.accession == accession)


async def radiologist(relay: Installation, name: str, sites: list[str]) -> None:
    """Reads what is offered; a STAT gets a wet read first, and a word more after it was signed."""
    client = relay.client(name, Role.RADIOLOGIST, *sites)
    while True:
        item = await client.call("POST", "/worklist/next")
        if item is None:
            await asyncio.sleep(IDLE_SECONDS)
            continue
        report = f"/reports/{item['study']}"
        if item["priority"] == "stat":
            await client.call("PUT", report, json={"impression": WET_READ})
            await client.call("POST", f"{report}/preliminary")
        await read(name, item, client)
        if item["priority"] == "stat":
            await client.call("POST", f"{report}/addendum", json={"text": SECOND_LOOK})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def day(relay: Installation) -> AsyncIterator[Day]:
    """The six studies of the demo, sent, read, and back at their clinics."""
    day = Day(relay)
    async with registered(day.operator, day.show) as tables, asyncio.TaskGroup() as work:
        reading = [
            work.create_task(radiologist(relay, name, facts["sites"])) for name, facts in tables["radiologists"].items()
        ]
        await day.send_all()
        await until(lambda: len(day.show.webhooks) >= len(SAMPLES) + 2)
        yield day
        for task in reading:
            task.cancel()


async def test_every_report_comes_home_to_its_own_clinic_and_patient(day: Day) -> None:
    """Each order is answered once, at the clinic that gave it, under the patient's own name and id."""
    final = [each for each in day.show.webhooks if each["type"] == "report.finalized"]
    assert sorted((each["accession"], each["site"], each["patient"], each["patient_id"]) for each in final) == [
        ("PRA-7001", "prairie", "Anna Whitehorse", "PR-1001"),
        ("PRA-7002", "prairie", "Oskar Lindqvist", "PR-1002"),
        ("PRA-7003", "prairie", "Jane Q Doe", "PR-1003"),
        ("SAG-4001", "sagebrush", "Manuel J Ortiz", "SB-2001"),
        ("SAG-4002", "sagebrush", "Ruth Begay", "SB-2002"),
        ("SAG-4003", "sagebrush", "Leila Haddad", "SB-2003"),
    ]


async def test_each_webhook_comes_once(day: Day) -> None:
    """Where nothing fails, nothing is sent twice."""
    ids = [each["webhook_id"] for each in day.show.webhooks]
    assert len(ids) == len(set(ids)) == 8


async def test_stat_patient_gets_wet_read_then_final_report_then_addendum(day: Day) -> None:
    """Three versions of one report, each delivered."""
    assert sorted(day.reports(STAT_HEAD)) == ["report.addended", "report.finalized", "report.preliminary"]
    key = (await day.study(STAT_HEAD))["study"]
    report = await day.operator.call("GET", f"/reports/{key}")
    assert [each["version"]["status"] for each in report["published"]] == ["preliminary", "final", "appended"]
    assert report["published"][0]["version"]["impression"] == WET_READ
    assert report["published"][2]["version"]["addenda"] == [SECOND_LOOK]


async def test_stat_head_ct_is_triaged_stat_and_says_why(day: Day) -> None:
    """The order's word decides, and the decision names it."""
    decision = await triage(day)
    assert decision["priority"] == "stat"
    assert decision["reasons"][0] == f"STAT asked by order {day.orders[STAT_HEAD]}"
    await until(lambda: clock_is(day, "met"))


async def triage(day: Day) -> dict[str, Any]:
    study = (await day.study(STAT_HEAD))["study"]
    decision: dict[str, Any] = await day.operator.call("GET", f"/triage/studies/{study}")
    return decision


async def clock_is(day: Day, clock: str) -> bool:
    return bool((await triage(day))["clock"] == clock)


async def test_a_search_finds_only_the_studies_of_the_caller_s_clinics(day: Day) -> None:
    """Sagebrush's desk finds its three studies, and Prairie's are as if they were not there."""
    desk = day.dicomweb(Role.ASSISTANT, "sagebrush")
    found = await asyncio.to_thread(desk.search_for_studies)
    uids = {study["0020000D"]["Value"][0] for study in found}
    assert uids == {await day.uid(accession) for accession in ("SAG-4001", "SAG-4002", "SAG-4003")}
    answer = await status_of(day, await day.uid(MR_BRAIN), "sagebrush")
    assert answer == 404


async def status_of(day: Day, study: str, site: str) -> int:
    desk = day.dicomweb(Role.ASSISTANT, site)
    try:
        await asyncio.to_thread(desk.retrieve_study_metadata, study)
    except Exception as error:  # noqa: BLE001  its HTTPError is requests', whichever version that is
        return int(getattr(error, "response").status_code)  # noqa: B009
    return 200


async def test_a_radiologist_sees_what_they_reported_and_no_other_study(day: Day) -> None:
    """Each of the radiologists that read the day, and one that read nothing."""
    items = await day.operator.call("GET", "/workitems")
    signers = {item["study_instance_uid"]: await day.signer(item["study"]) for item in items}
    for name in {*signers.values(), "dr-nobody"}:
        own = {uid for uid, signer in signers.items() if signer == name}
        await until(partial(sees, day, name, own))


async def sees(day: Day, radiologist: str, uids: set[str]) -> bool:
    """Whether storage shows the radiologist these studies and no others."""
    viewer = day.dicomweb(Role.RADIOLOGIST, subject=radiologist)
    found = await asyncio.to_thread(viewer.search_for_studies)
    return {study["0020000D"]["Value"][0] for study in found} == uids


async def test_sending_a_study_again_changes_nothing(day: Day) -> None:
    """A clinic that is not sure sends all of it once more: counted, and no new batch, instance or report."""
    before, uid = await day.study(CR_SPINE), await day.uid(CR_SPINE)
    await day.send(CR_SPINE, day.datasets[CR_SPINE])
    await until(lambda: is_sealed(day, CR_SPINE))
    assert await day.study(CR_SPINE) == before | {"repeats": 3}
    assert len(await instances(day, uid)) == 3
    assert day.reports(CR_SPINE) == ["report.finalized"]


async def is_sealed(day: Day, accession: str) -> bool:
    return bool((await day.study(accession))["state"] == "sealed")


async def test_an_instance_that_comes_late_joins_its_study(day: Day) -> None:
    """One slice more after the report: a second batch, found and retrievable beside the first, pixels whole."""
    uid = await day.uid(MR_BRAIN)
    await day.send(MR_BRAIN, [late := another_slice(day.datasets[MR_BRAIN][0])])
    await until(lambda: has_instances(day, uid, 21))
    study = await day.study(MR_BRAIN)
    assert (study["batches"], study["instances"]) == (2, 21)
    viewer = day.dicomweb(Role.RADIOLOGIST, "prairie", subject=await day.signer(study["study"]))
    metadata = await asyncio.to_thread(viewer.retrieve_study_metadata, uid)
    assert len({each["00080018"]["Value"][0] for each in metadata}) == 21
    slices = await asyncio.to_thread(viewer.retrieve_study, uid)
    assert late.PixelData in [each.PixelData for each in slices]
    assert day.reports(MR_BRAIN) == ["report.finalized"]
    await until(lambda: is_known_to_be_more(day, study["study"]))


async def is_known_to_be_more(day: Day, key: str) -> bool:
    """On the worklist of who signed, and beside the report."""
    report = await day.operator.call("GET", f"/reports/{key}")
    items, signer = await day.operator.call("GET", "/workitems?state=done"), await day.signer(key)
    return report["more_images"] and signer in {item["addendum_by"] for item in items if item["study"] == key}


def another_slice(first: Dataset) -> Dataset:
    late = deepcopy(first)
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    late.PixelData = late.PixelData[::-1]
    return late


async def has_instances(day: Day, uid: str, count: int) -> bool:
    return len(await instances(day, uid)) == count


async def instances(day: Day, uid: str) -> list[str]:
    """The SOP Instance UIDs that a search in the study finds."""
    viewer = day.dicomweb(Role.ASSISTANT)
    found = await asyncio.to_thread(viewer.search_for_instances, uid)
    return [each["00080018"]["Value"][0] for each in found]


async def test_the_custody_of_a_study_is_proven_from_receipt_to_delivery(day: Day) -> None:
    """Each hop in one chain, the owner can read it, another clinic cannot, and everything holds when read again."""
    key = (await day.study(STAT_HEAD))["study"]
    owner, other = (day.relay.client("a-desk", Role.SITE, site) for site in ("prairie", "sagebrush"))
    await until(lambda: all_noted(owner, key))
    hops = await hops_of(owner, key)
    once = ["received", "sealed", "de-identified", "stored"]
    assert [hops.count(kind) for kind in once] == [1, 1, 1, 1]
    assert (hops.count("reported"), hops.count("delivered")) == (3, 3)
    with pytest.raises(Problem, match="no study of this key for you"):
        await other.call("GET", f"/custody/{key}")
    looked, broken = await first_broken(day.operator, None)
    assert (looked >= len(SAMPLES), broken) == (True, None)


async def hops_of(owner: Client, key: str) -> list[str]:
    chain = await owner.call("GET", f"/custody/{key}")
    return [entry["kind"] for entry in chain["entries"]]


async def all_noted(owner: Client, key: str) -> bool:
    hops = await hops_of(owner, key)
    return min(hops.count("reported"), hops.count("delivered")) >= 3


async def test_two_operators_purge_a_study_everywhere_and_the_proof_stays(day: Day) -> None:
    """Held first, it cannot go; then copies, originals and identity go, and its chain of custody still holds."""
    key, uid = (await day.study(CR_SPINE))["study"], await day.uid(CR_SPINE)
    ana, ben = (day.relay.client(name, Role.OPERATOR) for name in ("ana", "ben"))
    await ana.call("POST", f"/purges/{key}", json={"reason": "patient-request"})
    await ben.call("PUT", f"/holds/{key}/case-1")
    with pytest.raises(Problem, match="legal hold"):
        await ben.call("POST", f"/purges/{key}/approve")
    await until(lambda: refuses(ben, "/vault/purge", {"study": key, "scope": "study"}))
    await ben.call("DELETE", f"/holds/{key}/case-1")
    await ben.call("POST", f"/purges/{key}/approve")
    assert await status_of(day, uid, "sagebrush") == 410
    await until(lambda: is_deleted(day, key))
    _, broken = await first_broken(day.operator, key)
    assert broken is None


async def refuses(caller: Client, path: str, wish: dict[str, str]) -> bool:
    """One person's wish alone purges nothing, so it may be repeated."""
    try:
        await caller.call("POST", path, json=wish)
    except Problem as problem:
        return "legal hold" in str(problem)
    return False


async def is_deleted(day: Day, key: str) -> bool:
    chain = await day.operator.call("GET", f"/custody/{key}")
    deleted = {entry["facts"]["what"] for entry in chain["entries"] if entry["kind"] == "deleted"}
    return deleted == {"copies", "originals", "identity"}


async def test_nothing_was_given_up(day: Day) -> None:
    """After all that, no service has a dead letter."""
    letters = {
        service.name: await day.operator.call("GET", f"/ops/{service.name}/dead-letters") for service in SERVICES
    }
    assert letters == {service.name: [] for service in SERVICES}
