"""Bad input gets a clear error and loses nothing: one RadRelay meets all of it in turn, and works on."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import sysconfig
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydicom.dataset import FileDataset

from canary.wiretap import Evidence, Listener
from radrelay import send
from radrelay.keys import Keys
from radrelay.services import SERVICES
from radrelay_shared.security import Role
from radrelay_shared.testing import PATIENCE_SECONDS, until
from refusals.inputs import (
    BRAIN,
    HEART,
    UNKNOWN_SOP_CLASS,
    WRONG_CREDENTIALS,
    WRONG_UPLOADS,
    encoded,
    wrong_orders,
)
from refusals.relay import PRAIRIE, SAGEBRUSH, Relay, running
from servers import free_ports

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Relay]:
    async with running(tmp_path_factory.mktemp("refusals")) as found:
        yield found


def c_store(relay: Relay, dataset: FileDataset, calling: str = "PRAIRIE") -> send.Sent:
    [outcome] = send.send([dataset], "127.0.0.1", relay.platform.dicom_port, calling)
    return outcome


# ── uploads ──────────────────────────────────────────────────────────────────────────────────────────

REASON_UNREADABLE = 0xC000


@pytest.mark.parametrize(
    "upload",
    WRONG_UPLOADS.values(),
    ids=WRONG_UPLOADS,
)
async def test_what_is_no_whole_dicom_file_is_refused_and_its_neighbour_is_kept(relay: Relay, upload: bytes) -> None:
    before = {each["study"] for each in await relay.ingested()}
    alone = await relay.stow(PRAIRIE, upload)
    assert alone.status_code == 409
    assert reasons(alone.json()) == [REASON_UNREADABLE]
    assert {each["study"] for each in await relay.ingested()} == before
    both = await relay.stow(PRAIRIE, upload, encoded(replace(BRAIN, accession="")))
    assert both.status_code == 202
    assert len(both.json()["00081199"]["Value"]) == 1
    assert len({each["study"] for each in await relay.ingested()} - before) == 1


def reasons(answer: dict[str, Any]) -> list[int]:
    """Failure Reason (0008,1197) of every part that failed, with UIDs or without."""
    failed = [item for tag in ("00081198", "0008119A") for item in answer.get(tag, {}).get("Value", [])]
    return [item["00081197"]["Value"][0] for item in failed]


async def test_an_upload_without_any_part_is_malformed(relay: Relay) -> None:
    answer = await relay.stow(PRAIRIE)
    assert (answer.status_code, answer.json()["detail"]) == (400, "the body is empty: there is no instance in it")


async def test_a_body_of_another_kind_is_told_what_to_send(relay: Relay) -> None:
    headers = {"Content-Type": "application/zip"}
    path = "/ingest/dicom-web/studies"
    answer = await relay.ask("POST", path, Role.SITE, PRAIRIE, content=b"PK", headers=headers)
    assert answer.status_code == 415
    assert answer.json()["detail"].startswith('send multipart/related; type="application/dicom"')


async def test_radrelay_send_names_each_file_that_it_cannot_send_and_sends_the_others(
    relay: Relay, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("I am a letter")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "half.dcm").write_bytes(encoded(BRAIN)[:900])
    (tmp_path / "whole.dcm").write_bytes(encoded(BRAIN))
    command = Path(sysconfig.get_path("scripts")) / "radrelay"
    address = f"127.0.0.1:{relay.platform.dicom_port}"
    arguments = (str(tmp_path), "--to", address, "--calling", "PRAIRIE")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(str(command), "send", *arguments, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert process.returncode == 1
    assert b"letter.txt: not a" in err
    assert b"empty.dcm: not a" in err
    assert b"Traceback" not in err
    assert b"1 stored" in out


async def test_thirty_silent_connections_do_not_shut_a_scanner_out(relay: Relay) -> None:
    with ExitStack() as open_ones:
        for _ in range(30):
            open_ones.enter_context(socket.create_connection(("127.0.0.1", relay.platform.dicom_port), 5))
        outcome = await asyncio.to_thread(c_store, relay, next(iter(BRAIN.datasets())))
    assert outcome.stored, outcome.message


async def test_a_scanner_that_nobody_registered_is_told_so(relay: Relay) -> None:
    with pytest.raises(ConnectionError, match="RADRELAY does not know STRANGER"):
        await asyncio.to_thread(c_store, relay, next(iter(BRAIN.datasets())), "STRANGER")


async def test_an_unknown_sop_class_is_kept_and_quarantined_and_the_clinic_hears_of_it(relay: Relay) -> None:
    [dataset] = replace(BRAIN, accession="ACC-ODD").datasets()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UNKNOWN_SOP_CLASS
    outcome = await asyncio.to_thread(c_store, relay, dataset)
    assert outcome.stored
    notice = await relay.hear(PRAIRIE, "study.quarantined", "ACC-ODD")
    assert notice["reasons"] == ["sop-class-unknown"]
    held = await relay.get("/vault/quarantine")
    assert notice["study"] in {each["study"] for each in held}
    assert (await relay.get(f"/ingest/studies/{notice['study']}"))["instances"] == 1


# ── orders ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("body", "status", "said"), tuple(wrong_orders()))
async def test_an_order_that_cannot_be_taken_is_told_why(relay: Relay, body: Any, status: int, said: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/fhir+json"}
    answer = await relay.ask("POST", "/ingest/fhir", Role.SITE, PRAIRIE, content=content, headers=headers)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == status
    assert said in answer.json()["detail"]


# ── who asks ─────────────────────────────────────────────────────────────────────────────────────────


def endpoints(relay: Relay) -> Iterator[tuple[str, str]]:
    """Method and path of every endpoint of every service, but health."""
    for runtime in relay.platform.runtimes:
        yield "GET", f"/openapi/{runtime.service.name}.json"
        for path, methods in runtime.app.openapi()["paths"].items():
            if path not in ("/livez", "/readyz"):
                yield from ((method.upper(), filled(path)) for method in methods)


def filled(path: str) -> str:
    return "/".join("x" if part.startswith("{") else part for part in path.split("/"))


@pytest.mark.parametrize("credential", ["none", "another issuer's", "no role"])
async def test_every_endpoint_refuses_who_is_not_known_here(relay: Relay, tmp_path: Path, credential: str) -> None:
    stranger = Keys(tmp_path)
    stranger.ensure()
    headers, status = {
        "none": ({}, 401),
        "another issuer's": ({"Authorization": f"Bearer {stranger.token('me', set(Role), {'*'})}"}, 401),
        "no role": ({"Authorization": f"Bearer {relay.keys.token('me', set(), {'*'})}"}, 403),
    }[credential]
    asked = list(endpoints(relay))
    assert len(asked) > 50
    for method, path in asked:
        answer = await relay.http.request(method, path, headers=headers, content=b"")
        for_whom_it_knows = status == 403 and path.startswith("/openapi/")
        assert answer.status_code == (200 if for_whom_it_knows else status), f"{method} {path}: {answer.text}"


@pytest.mark.parametrize(
    "headers",
    WRONG_CREDENTIALS.values(),
    ids=WRONG_CREDENTIALS,
)
async def test_a_wrong_credential_is_told_what_to_send(relay: Relay, headers: dict[str, str]) -> None:
    answer = await relay.http.get("/workitems", headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["title"] == "Who is asking?"


async def test_another_clinics_study_is_not_there_for_its_neighbour(relay: Relay) -> None:
    mine = replace(BRAIN, accession="ACC-MINE", patient_id="M-2")
    order = await relay.order(mine)
    assert (await relay.stow(PRAIRIE, encoded(mine))).status_code == 200
    await relay.hear(PRAIRIE, "report.finalized", "ACC-MINE")
    [study] = [each["study"] for each in await relay.ingested() if each["order"] == order]
    [delivery] = await relay.get(f"/webhooks/deliveries?study={study}")
    [item] = [each for each in await relay.get("/workitems") if each["study"] == study]
    uid = item["study_instance_uid"]
    for path, role in (
        (f"/ingest/studies/{study}", Role.SITE),
        (f"/dicom-web/studies/{uid}/metadata", Role.RADIOLOGIST),
        (f"/dicom-web/studies/{uid}", Role.RADIOLOGIST),
        (f"/dicom-web/studies/{uid}/series", Role.RADIOLOGIST),
        (f"/triage/studies/{study}", Role.RADIOLOGIST),
        (f"/workitems/{item['workitem']}", Role.RADIOLOGIST),
        (f"/reports/{study}", Role.RADIOLOGIST),
        (f"/webhooks/deliveries/{delivery['id']}", Role.SITE),
        (f"/vault/audit?study={study}", Role.AUDITOR),
    ):
        own, other = await relay.ask("GET", path, role, PRAIRIE), await relay.ask("GET", path, role, SAGEBRUSH)
        assert own.is_success, f"{path}: {own.text}"
        assert other.status_code == 404, f"{path}: {other.text}"
    for path, role in (
        (f"/dicom-web/studies?StudyInstanceUID={uid}", Role.RADIOLOGIST),
        (f"/webhooks/deliveries?study={study}", Role.SITE),
    ):
        assert len(await relay.get(path, role, PRAIRIE)) == 1
        assert await relay.get(path, role, SAGEBRUSH) == []
    assert study not in json.dumps(await relay.get("/ingest/studies", Role.SITE, SAGEBRUSH))
    resent = await relay.ask("POST", f"/webhooks/deliveries/{delivery['id']}/resend", Role.SITE, SAGEBRUSH)
    assert resent.status_code == 404


async def test_a_machine_cannot_send_for_another_clinic(relay: Relay) -> None:
    headers = {"X-RadRelay-Site": SAGEBRUSH}
    answer = await relay.ask("POST", "/ingest/fhir", Role.SITE, PRAIRIE, json=BRAIN.order(), headers=headers)
    assert answer.status_code == 404


async def test_the_same_accession_number_at_two_clinics_is_two_orders(relay: Relay) -> None:
    mine = replace(BRAIN, accession="SAME-1", patient_name="Mine^Mary", patient_id="M-1")
    yours = replace(mine, site=SAGEBRUSH, patient_name="Yours^Yolanda", patient_id="Y-1")
    assert await relay.order(mine) != await relay.order(yours)
    for sample in (mine, yours):
        assert (await relay.stow(sample.site, encoded(sample))).status_code == 200
        heard = await relay.hear(sample.site, "report.finalized", "SAME-1")
        assert heard["contained"][0]["identifier"][0]["value"] == sample.patient_id
    assert b"Yours" not in b"".join(relay.bodies(PRAIRIE))
    assert b"Mine" not in b"".join(relay.bodies(SAGEBRUSH))


# ── what is full or away ─────────────────────────────────────────────────────────────────────────────


async def test_a_full_disk_sends_everybody_away_and_works_again_by_itself(relay: Relay) -> None:
    [heart] = HEART.datasets()
    file = io.BytesIO()
    heart.save_as(file, enforce_file_format=True)
    await relay.at_rest()  # or the disk would not stay full
    before = {each["study"] for each in await relay.ingested()}
    relay.disk.fill(relay.ingest)
    try:
        scanner = await asyncio.to_thread(c_store, relay, heart)
        assert (scanner.stored, scanner.message) == (False, "refused: RadRelay has no room; send again later")
        upload = await relay.stow(PRAIRIE, file.getvalue())
        assert (upload.status_code, upload.headers["retry-after"]) == (507, "5")
        assert upload.json()["title"] == "No room left"
        assert {each["study"] for each in await relay.ingested()} == before
    finally:
        relay.disk.clear(relay.ingest)
    assert (await asyncio.to_thread(c_store, relay, heart)).stored
    assert (await relay.stow(PRAIRIE, file.getvalue())).status_code == 200
    assert len({each["study"] for each in await relay.ingested()} - before) == 1


async def test_a_report_for_a_receiver_that_is_down_waits_for_it(relay: Relay) -> None:
    [port] = free_ports(1)
    clinic, hook = Listener(Evidence()), {"site": SAGEBRUSH, "url": f"http://127.0.0.1:{port}/hooks/{SAGEBRUSH}"}
    answer = await relay.ask("POST", "/webhooks/endpoints", Role.SITE, SAGEBRUSH, json=hook)
    endpoint = answer.json()
    clinic.secrets[SAGEBRUSH] = endpoint["secret"]
    assert (await relay.stow(SAGEBRUSH, encoded(replace(BRAIN, site=SAGEBRUSH, accession="ACC-WAIT")))).is_success
    await relay.hear(SAGEBRUSH, "report.finalized", "ACC-WAIT")  # at its other receiver, which is up
    tried = await until(lambda: waiting(relay, endpoint["id"], "pending"))
    assert (tried["state"], tried["attempts"][0]["status"]) == ("pending", None)
    assert tried["attempts"][0]["problem"].startswith("not reachable")
    async with clinic.listening(port):
        await until(lambda: waiting(relay, endpoint["id"], "delivered"))
    assert clinic.received == [(SAGEBRUSH, "report.finalized")]
    await relay.ask("DELETE", f"/webhooks/endpoints/{endpoint['id']}", Role.SITE, SAGEBRUSH)


async def waiting(relay: Relay, endpoint: str, state: str) -> dict[str, Any]:
    """The one delivery to this endpoint, if it was tried and is in this state."""
    found = [each for each in await relay.get("/webhooks/deliveries") if each["endpoint"] == endpoint]
    assert len(found) <= 1
    return next((each for each in found if each["attempts"] and each["state"] == state), {})


# ── and after all that ───────────────────────────────────────────────────────────────────────────────


async def test_after_all_of_this_a_study_is_read_as_ever_and_nothing_lies_dead(relay: Relay) -> None:
    last = replace(BRAIN, accession="ACC-LAST", patient_name="Last^Laura")
    await relay.order(last)
    assert (await relay.stow(PRAIRIE, encoded(last))).status_code == 200
    heard = await relay.hear(PRAIRIE, "report.finalized", "ACC-LAST")
    assert heard["contained"][0]["name"][0]["text"] == "Laura Last"
    await relay.at_rest()
    assert all(each["state"] == "sealed" for each in await relay.ingested())
    for service in SERVICES:
        assert await relay.get(f"/ops/{service.name}/dead-letters") == []
    await until(relay.is_ready)
