"""A stream of small studies from two clinics, with everyone at work around it, and what must be true in the end."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset

from fleet import NAMES, Fleet
from radrelay import send
from radrelay.client import Client, Problem
from radrelay.demo import Show, registered
from radrelay.reading import IDLE_SECONDS, read
from radrelay.samples import SAMPLES, Sample
from radrelay_shared.security import Role
from radrelay_shared.testing import PATIENCE_SECONDS
from servers import accepts

CR = ("dicomdirtests/77654033/CR1/6154", "dicomdirtests/77654033/CR2/6247")
KINDS = (("CT", ("CT_small.dcm",) * 4), ("MR", ("MR_small.dcm",) * 3), ("CR", CR))
PRIORITIES = ("routine", "urgent", "routine", "stat")


@dataclass
class Stream:
    """Studies on their way from two clinics, three radiologists at work, and what came back."""

    fleet: Fleet
    dice: random.Random
    name: str  # before every accession number
    show: Show = field(default_factory=Show)
    studies: list[tuple[Sample, list[Dataset]]] = field(default_factory=list)
    orders: dict[str, str] = field(default_factory=dict)  # accession number → order key

    def client(self, subject: str, role: Role, *sites: str) -> Client:
        return self.fleet.installation.client(subject, role, *sites)

    @property
    def operator(self) -> Client:
        return self.client("the-operator", Role.OPERATOR)

    # ── in ───────────────────────────────────────────────────────────────────────────────────────────

    async def send_next(self) -> None:
        """One more study, and its order before it; tried until every instance was acknowledged."""
        sample, datasets = made(self.name, len(self.studies), self.dice)
        self.studies.append((sample, datasets))
        clinic = self.client(f"{sample.site}-his", Role.SITE, sample.site)
        order = sample.order()
        while sample.accession not in self.orders:
            try:
                answer = await clinic.call("POST", "/ingest/fhir", json=order)
                self.orders[sample.accession] = answer["order"]
            except Problem:
                await asyncio.sleep(0.3)
        await asyncio.to_thread(self._send, sample, clinic, datasets)

    def _send(self, sample: Sample, clinic: Client, datasets: list[Dataset]) -> None:
        """What was acknowledged is never sent again, what was not always is."""
        waiting = {dataset.SOPInstanceUID: dataset for dataset in datasets}
        while waiting:
            try:
                for uid in self._acknowledged(sample, clinic, list(waiting.values())):
                    del waiting[uid]
            except OSError:  # ConnectionError, and what requests raises
                time.sleep(0.3)

    def _acknowledged(self, sample: Sample, clinic: Client, datasets: list[Dataset]) -> Iterable[str]:
        if sample.over == "dimse":
            if not accepts(self.fleet.dicom_port):  # pynetdicom leaves the socket of a refused connection open
                raise ConnectionRefusedError
            outcomes = send.send(datasets, "127.0.0.1", self.fleet.dicom_port, sample.ae_title)
            return (outcome.name for outcome in outcomes if outcome.stored)
        answer = dicomweb(clinic, "/ingest/dicom-web/").store_instances(datasets)
        return (item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence)

    # ── out ──────────────────────────────────────────────────────────────────────────────────────────

    async def radiologist(self, name: str, sites: list[str]) -> None:
        """Reads what is offered; when RadRelay fails under the hands, goes on with what is claimed."""
        client = self.client(name, Role.RADIOLOGIST, *sites)
        while True:
            try:
                claimed = [each for each in await client.call("GET", "/worklist") if each["state"] == "claimed"]
                item = claimed[0] if claimed else await client.call("POST", "/worklist/next")
                if item:
                    await read(name, item, client)
            except (Problem, OSError):
                await asyncio.sleep(0.3)
            await asyncio.sleep(IDLE_SECONDS)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Everyone registered and at work; in the end the clinics take no more webhooks."""
        async with registered(self.operator, self.show) as tables, asyncio.TaskGroup() as work:
            people = [
                work.create_task(self.radiologist(name, facts["sites"]))
                for name, facts in tables["radiologists"].items()
            ]
            yield
            for each in people:
                each.cancel()
            for endpoint in await self.operator.call("GET", "/webhooks/endpoints"):
                await self.operator.call("DELETE", f"/webhooks/endpoints/{endpoint['id']}")

    # ── in the end ───────────────────────────────────────────────────────────────────────────────────

    async def nothing_lost_nothing_double(self) -> None:
        """Each study's report had its effect once, at its own clinic; each image is there once; no dead letters."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while missing := await self._missing():
            self.fleet.check()
            assert time.monotonic() < deadline, f"not after {PATIENCE_SECONDS} s: {missing}"
            await asyncio.sleep(0.5)
        assert self._effects() == sorted((each.site, each.patient_id, each.accession) for each, _ in self.studies)
        dead = {name: await self.operator.call("GET", f"/ops/{name}/dead-letters") for name in NAMES}
        assert dead == {name: [] for name in NAMES}

    async def _missing(self) -> list[str]:
        """Reports that are not home yet; then batches on their way; then studies whose images are not those sent."""
        home = {each.get("accession") for each in self.show.webhooks}
        if away := [sample.accession for sample, _ in self.studies if sample.accession not in home]:
            return away
        known = await self.operator.call("GET", "/ingest/studies?limit=1000")
        if open_ := [each["study"] for each in known if each["state"] != "sealed"]:
            return open_
        found = await self.images()
        return [each.accession for each, datasets in self.studies if found[each.accession] != pixels(datasets)]

    def _effects(self) -> list[tuple[str, str, str]]:
        """What a receiver does that remembers webhook-ids: each message counts once, however often it comes."""
        assert {each["type"] for each in self.show.webhooks} == {"report.finalized"}
        reports = {each["webhook_id"]: each for each in self.show.webhooks}
        print(f"{len(self.show.webhooks)} webhooks came, {len(reports)} different ones")
        return sorted((each["site"], each["patient_id"], each["accession"]) for each in reports.values())

    async def images(self) -> dict[str, Counter[bytes]]:
        """Pixels by accession number, as DICOMweb gives them back: every instance of every study."""
        known = await self.operator.call("GET", "/ingest/studies?limit=1000")
        items = await self.operator.call("GET", "/workitems?limit=1000")
        keys = {each["order"]: each["study"] for each in known}
        uids = {each["study"]: each["study_instance_uid"] for each in items}
        viewer = dicomweb(self.client("a-viewer", Role.ASSISTANT), "/dicom-web/")
        found = {}
        for sample, _ in self.studies:
            uid = uids[keys[self.orders[sample.accession]]]
            found[sample.accession] = pixels(await asyncio.to_thread(viewer.retrieve_study, uid))
        return found


def pixels(instances: Iterable[Dataset]) -> Counter[bytes]:
    return Counter(bytes(each.PixelData) for each in instances)


def dicomweb(client: Client, path: str) -> DICOMwebClient:
    return DICOMwebClient(client.url(path).rstrip("/"), headers={"Authorization": f"Bearer {client.token}"})


def made(name: str, number: int, dice: random.Random) -> tuple[Sample, list[Dataset]]:
    """A small study of a synthetic patient; no two of its instances have the same pixels."""
    clinic = SAMPLES[number % 2]  # one sends by C-STORE, the other by STOW-RS
    modality, files = KINDS[number % len(KINDS)]
    sample = replace(
        clinic,
        patient_name=f"Patient^Number{number}",
        patient_id=f"{name[0]}-{number:04d}",
        accession=f"{name}-{number:04d}",
        priority=PRIORITIES[number % len(PRIORITIES)],
        modality=modality,
        files=files,
    )
    datasets = list(sample.datasets())
    for dataset in datasets:
        dataset.PixelData = noise(dataset, dice)
    return sample, datasets


def noise(dataset: Dataset, dice: random.Random) -> bytes:
    """Random pixels, in the bits that are shown: what is in the others goes from every copy, for it may be text."""
    samples = np.frombuffer(dice.randbytes(len(dataset.PixelData)), "<u2")
    return bytes((samples & ((1 << dataset.BitsStored) - 1)).data)
