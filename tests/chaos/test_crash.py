"""Whatever is killed, every report arrives, once in effect, and every acknowledged image is there, once."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset

from fleet import NAMES, Backbone, Fleet
from radrelay import send
from radrelay.client import Client, Problem
from radrelay.demo import Show, registered
from radrelay.reading import IDLE_SECONDS, read
from radrelay.samples import SAMPLES, Sample
from radrelay_shared.security import Role

pytestmark = [pytest.mark.external, pytest.mark.timeout(170)]

PATIENCE_SECONDS = 90  # from the last study sent to the last report home
CR = ("dicomdirtests/77654033/CR1/6154", "dicomdirtests/77654033/CR2/6247")
KINDS = (("CT", ("CT_small.dcm",) * 4), ("MR", ("MR_small.dcm",) * 3), ("CR", CR))
PRIORITIES = ("routine", "urgent", "routine", "stat")


@dataclass
class Stream:
    """Studies on their way from two clinics, three radiologists at work, and what came back."""

    fleet: Fleet
    dice: random.Random
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
        sample, datasets = made(len(self.studies), self.dice)
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

    def _acknowledged(self, sample: Sample, clinic: Client, datasets: list[Dataset]) -> Any:
        if sample.over == "dimse":
            outcomes = send.send(datasets, "127.0.0.1", self.fleet.dicom_port, sample.ae_title)
            return (outcome.name for outcome in outcomes if outcome.stored)
        url = clinic.url("/ingest/dicom-web/").rstrip("/")
        web = DICOMwebClient(url, headers={"Authorization": f"Bearer {clinic.token}"})
        answer = web.store_instances(datasets)
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
        async with registered(self.operator, self.show) as tables, asyncio.TaskGroup() as work:
            people = [
                work.create_task(self.radiologist(name, facts["sites"]))
                for name, facts in tables["radiologists"].items()
            ]
            yield
            for each in people:
                each.cancel()

    # ── in the end ───────────────────────────────────────────────────────────────────────────────────

    async def settled(self) -> None:
        """Wait until every report is home and every image in its place; then say what is still missing."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while missing := await self._missing():
            self.fleet.check()
            assert time.monotonic() < deadline, f"not after {PATIENCE_SECONDS} s: {missing}"
            await asyncio.sleep(0.5)

    async def _missing(self) -> list[str]:
        home = {each.get("accession") for each in self.show.webhooks}
        missing = [sample.accession for sample, _ in self.studies if sample.accession not in home]
        known = await self.operator.call("GET", "/ingest/studies?limit=1000")
        missing += [f"{each['study']} is {each['state']}" for each in known if each["state"] != "sealed"]
        return missing

    async def images(self) -> dict[str, Counter[bytes]]:
        """Pixels by accession number, as DICOMweb gives them back: whole instances of whole studies."""
        studies = {
            each["order"]: each["study"] for each in await self.operator.call("GET", "/ingest/studies?limit=1000")
        }
        uids = {
            each["study"]: each["study_instance_uid"]
            for each in await self.operator.call("GET", "/workitems?limit=1000")
        }
        client = self.client("a-viewer", Role.ASSISTANT)
        web = DICOMwebClient(client.url("/dicom-web/").rstrip("/"), headers={"Authorization": f"Bearer {client.token}"})
        found = {}
        for sample, _ in self.studies:
            instances = await asyncio.to_thread(web.retrieve_study, uids[studies[self.orders[sample.accession]]])
            found[sample.accession] = Counter(bytes(each.PixelData) for each in instances)
        return found

    async def nothing_lost_nothing_double(self) -> None:
        """The promises, checked from outside."""
        await self.settled()
        effects = {
            each["webhook_id"]: (each["type"], each["site"], each["patient_id"], each["accession"])
            for each in self.show.webhooks
        }
        wanted = [("report.finalized", each.site, each.patient_id, each.accession) for each, _ in self.studies]
        assert sorted(effects.values()) == sorted(wanted)
        sent = {
            sample.accession: Counter(bytes(each.PixelData) for each in datasets) for sample, datasets in self.studies
        }
        assert await self.images() == sent
        dead = {name: await self.operator.call("GET", f"/ops/{name}/dead-letters") for name in NAMES}
        assert dead == {name: [] for name in NAMES}


def made(number: int, dice: random.Random) -> tuple[Sample, list[Dataset]]:
    """A small study of a synthetic patient; no two of its instances have the same pixels."""
    clinic = SAMPLES[number % 2]  # one sends by C-STORE, the other by STOW-RS
    modality, files = KINDS[number % len(KINDS)]
    sample = replace(
        clinic,
        patient_name=f"Patient^Number{number}",
        patient_id=f"CH-{number:04d}",
        accession=f"ACC-{number:04d}",
        priority=PRIORITIES[number % len(PRIORITIES)],
        modality=modality,
        files=files,
    )
    datasets = list(sample.datasets())
    for dataset in datasets:
        dataset.PixelData = dice.randbytes(len(dataset.PixelData))
    return sample, datasets


def thrown_dice() -> random.Random:
    """A new seed each time; to throw the same again, set RADRELAY_CHAOS_SEED."""
    seed = int(os.environ.get("RADRELAY_CHAOS_SEED") or secrets.randbelow(1_000_000))
    print(f"RADRELAY_CHAOS_SEED={seed}")
    return random.Random(seed)


async def test_each_process_dies_once_and_the_broker_too(fleet: Fleet, servers: Backbone) -> None:
    """SIGKILL at random moments while studies flow: no report and no image is lost, none is double."""
    dice = thrown_dice()
    stream = Stream(fleet, dice)
    async with stream.at_work(), asyncio.TaskGroup() as sending:
        killing = asyncio.create_task(kill_each(fleet, servers, random.Random(dice.random())))
        while len(stream.studies) < 16 or (not killing.done() and len(stream.studies) < 24):
            sending.create_task(stream.send_next())
            await asyncio.sleep(dice.uniform(0.5, 2.5))
        await killing
        await asyncio.to_thread(fleet.wait_ready)
        await stream.nothing_lost_nothing_double()


async def kill_each(fleet: Fleet, servers: Backbone, dice: random.Random) -> None:
    started = time.monotonic()
    for victim in dice.sample((*NAMES, "rabbitmq"), len(NAMES) + 1):
        await asyncio.sleep(dice.uniform(0.5, 3))
        print(f"{time.monotonic() - started:5.1f} s: SIGKILL to {victim}")
        if victim == "rabbitmq":
            await asyncio.to_thread(servers.rabbitmq.kill)
            await asyncio.to_thread(servers.rabbitmq.start)
        else:
            await asyncio.to_thread(fleet.kill, victim)
            await asyncio.sleep(dice.uniform(0, 1.5))
            fleet.restart(victim)
