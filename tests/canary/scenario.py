"""One day of two clinics: studies and orders full of marks, reports on them, every question that can be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from canary.orders import order
from canary.patients import CEDAR, JUNIPER, PATIENTS, Patient
from canary.studies import JAPANESE, as_file, capture, image, letter, report
from canary.wiretap import Evidence, Listener
from fleet import NAMES, Installation
from radrelay.reading import read_next
from radrelay.register import register
from radrelay.send import send
from radrelay_shared.security import Role
from radrelay_shared.testing import PATIENCE_SECONDS

SITES = {
    who.site: {
        "name": f"{who.site} clinic",
        "jurisdiction": "US-MT",
        "ae_titles": [who.site.upper()],
        "quiet_seconds": 0.5,
        "stat_quiet_seconds": 0.2,
    }
    for who in PATIENTS
}
RADIOLOGIST = {
    "name": "Dr Day",
    "licences": ["US-MT"],
    "subspecialties": ["neuro", "chest", "body", "msk", "cardiac", "breast", "nuclear", "general"],
    "time_zone": "UTC",
    "shifts": [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "00:00", "to": "00:00"}],
    "sites": list(SITES),
    "max_open": 9,
}
CT, ULTRASOUND, REPORT, LETTER, MR = 1, 2, 3, 4, 1  # studies of their patient
EXPECTED = [
    (CEDAR.site, "report.finalized"),
    (CEDAR.site, "report.finalized"),
    (CEDAR.site, "report.finalized"),
    (CEDAR.site, "study.quarantined"),
    (JUNIPER.site, "report.finalized"),
]
BOUNDARY = "a-boundary-of-tests"


@dataclass
class Day:
    """Who does what, and where it is written down."""

    relay: Installation
    listener: Listener
    http: httpx2.AsyncClient
    evidence: Evidence = field(init=False)

    def __post_init__(self) -> None:
        self.evidence = self.listener.evidence
        self.operator = self.relay.client("op", Role.OPERATOR)

    async def register(self, collector: str) -> None:
        webhooks = {site: {"url": f"{collector}/hooks/{site}"} for site in SITES}
        tables: dict[str, dict[str, Any]] = {"sites": SITES, "radiologists": {"dr-day": RADIOLOGIST}}
        self.listener.secrets |= await register({**tables, "webhooks": webhooks}, self.operator)

    async def feed(self) -> None:
        """Orders before studies, after them, and without them; over both ways in."""
        await self.order(CEDAR, CT, "stat")
        ct = [image("CT_small.dcm", CEDAR, CT, instance=number) for number in (1, 2)]
        ultrasound = image("examples_ybr_color.dcm", CEDAR, ULTRASOUND)
        await asyncio.to_thread(self.send, [*ct, ultrasound, capture(CEDAR, ULTRASOUND, instance=2)], CEDAR)
        await self.stow(CEDAR, as_file(report(CEDAR, REPORT), CEDAR), as_file(letter(CEDAR, LETTER), CEDAR))
        await self.stow(JUNIPER, as_file(image("MR_small.dcm", JUNIPER, MR, JAPANESE), JUNIPER))
        await self.order(CEDAR, REPORT)
        await self.order(JUNIPER, MR)

    async def order(self, who: Patient, study: int, priority: str = "routine") -> None:
        clinic = self.relay.client(f"{who.site}-his", Role.SITE, who.site)
        await clinic.call("POST", "/ingest/fhir", json=order(who, study, priority))

    def send(self, datasets: Sequence[Any], who: Patient) -> None:
        outcomes = list(send(list(datasets), "127.0.0.1", self.relay.dicom_port, who.site.upper()))
        assert all(outcome.stored for outcome in outcomes), outcomes

    async def stow(self, who: Patient, *files: bytes) -> None:
        answer = await self.ask("POST", "/ingest/dicom-web/studies", Role.SITE, who.site, **multipart(who, *files))
        assert answer.status_code == 200, answer.text

    async def read(self, patience: float = PATIENCE_SECONDS) -> None:
        """A radiologist reads whatever is offered until every webhook came."""
        client = self.relay.client("dr-day", Role.RADIOLOGIST, *SITES)
        async with asyncio.timeout(patience):
            while sorted(self.listener.received) != EXPECTED:
                if await read_next("dr-day", client) is None:
                    await asyncio.sleep(0.1)

    async def ask_everything(self) -> None:
        """Every answer that is there to be had, by whoever may have it."""
        studies = [each["study"] for each in await self.operator.call("GET", "/ingest/studies")]
        uids = [item["study_instance_uid"] for item in await self.operator.call("GET", "/workitems")]
        for path in dicomweb_paths(uids):
            await self.note("DICOMweb answers", path, Role.RADIOLOGIST)
        for path in other_paths(studies):
            await self.note("other answers", path, Role.AUDITOR if "audit" in path else Role.OPERATOR)
        await self.note("other answers", "/worklist", Role.RADIOLOGIST)
        for name in NAMES:
            await self.note("dead letters", f"/ops/{name}/dead-letters", Role.OPERATOR)

    async def note(self, place: str, path: str, role: Role) -> None:
        answer = await self.ask("GET", path, role, headers={"Accept": accept(path)})
        assert answer.is_success, f"{path}: {answer.text}"
        self.evidence.add(place, path, f"{dict(answer.headers)} ".encode() + answer.content)

    async def ask(self, method: str, path: str, role: Role, *sites: str, **request: Any) -> httpx2.Response:
        client = self.relay.client("dr-day" if role is Role.RADIOLOGIST else str(role), role, *sites)
        headers = {"Authorization": f"Bearer {client.token}"} | request.pop("headers", {})
        return await self.http.request(method, client.url(path), headers=headers, **request)


def dicomweb_paths(uids: Sequence[str]) -> list[str]:
    found = ["/dicom-web/studies?includefield=all", "/dicom-web/series?includefield=all"]
    for uid in uids:
        study = f"/dicom-web/studies/{uid}"
        found += [study, f"{study}/metadata", f"{study}/instances?includefield=all"]
    return found


def other_paths(studies: Sequence[str]) -> list[str]:
    found = ["/ingest/studies", "/triage/studies", "/workitems", "/radiologists", "/webhooks/endpoints"]
    found += ["/webhooks/deliveries", "/vault/quarantine", *(f"/openapi/{name}.json" for name in NAMES)]
    return found + [f"{prefix}{study}" for study in studies for prefix in ("/ingest/studies/", "/vault/audit?study=")]


def accept(path: str) -> str:
    whole = path.startswith("/dicom-web/studies/") and path.count("/") == 3
    return 'multipart/related; type="application/dicom"; transfer-syntax=*' if whole else "application/json"


def multipart(who: Patient, *files: bytes) -> dict[str, Any]:
    """A STOW-RS body whose part headers name the patient, too."""
    named = f'Content-Disposition: attachment; filename="{who.mark}.dcm"\r\nContent-Location: file:///{who.mark}.dcm'
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n{named}\r\n\r\n".encode()
    body = b"".join(head + file + b"\r\n" for file in files) + f"--{BOUNDARY}--\r\n".encode()
    kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    return {"content": body, "headers": {"Content-Type": kind}}
