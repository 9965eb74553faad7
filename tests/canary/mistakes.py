"""Requests that are wrong and full of marks, so that an error text could quote them."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

from pynetdicom import AE
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.sop_class import Verification

from canary.orders import order
from canary.patients import CEDAR
from canary.scenario import BOUNDARY, Day, multipart
from canary.studies import as_file, image
from radrelay_shared.dicom.asking import keep_answers
from radrelay_shared.security import Role

MARK = CEDAR.mark
Request = tuple[str, str, Role, dict[str, Any]]
FHIR = "/ingest/fhir"


def requests() -> Iterator[Request]:
    """(Method, path, role, what goes with it)."""
    for body in (*wrong_orders(), b'{"resourceType": "Bundle", "patient": "' + MARK.encode(), f'"{MARK}"'.encode()):
        yield "POST", FHIR, Role.SITE, {"content": body, "headers": {"Content-Type": "application/fhir+json"}}
    for uploaded in wrong_uploads():
        yield "POST", "/ingest/dicom-web/studies", Role.SITE, uploaded
    mark, uid = MARK, CEDAR.study_uid(1)
    yield "POST", f"/ingest/dicom-web/studies/{uid}", Role.SITE, multipart(CEDAR, b"not DICOM")
    yield "POST", f"/ingest/dicom-web/studies/{mark}", Role.SITE, multipart(CEDAR, b"not DICOM")
    for query in (f"PatientName={mark}*", f"PatientComments={mark}", f"StudyDate={mark}", f"limit={mark}"):
        yield "GET", f"/dicom-web/studies?{query}", Role.RADIOLOGIST, {}
    yield "GET", f"/dicom-web/studies?includefield={mark}", Role.RADIOLOGIST, {}
    yield "GET", f"/dicom-web/studies?StudyInstanceUID={uid}", Role.RADIOLOGIST, {}
    for path in (
        f"/dicom-web/studies/{uid}/metadata",
        f"/dicom-web/studies/{mark}",
        f"/workitems/{mark}/x",
        f"/dicom-web/{mark}",
    ):
        yield "GET", path, Role.RADIOLOGIST, {}
    for path in (f"/ingest/studies/{mark}", f"/triage/studies/{mark}", f"/workitems/{mark}", f"/reports/{mark}"):
        yield "GET", path, Role.OPERATOR, {}
    for path in (f"/webhooks/deliveries/{mark}", f"/webhooks/deliveries?study={mark}", f"/workitems?state={mark}"):
        yield "GET", path, Role.OPERATOR, {}
    yield "PUT", f"/reports/{mark.lower()}", Role.RADIOLOGIST, {"json": {"findings": mark, "impression": [mark]}}
    yield "PUT", f"/radiologists/{mark}", Role.OPERATOR, {"json": {"name": mark, "time_zone": mark}}
    yield "PUT", f"/ingest/sites/{mark}", Role.OPERATOR, {"json": {"name": mark, "jurisdiction": mark}}
    yield "POST", "/webhooks/endpoints", Role.OPERATOR, {"json": {"site": "cedar", "url": f"http://{mark}:1@x/"}}
    yield "POST", "/vault/reidentify", Role.SERVICE, {"json": {"study": mark.lower(), "purpose": mark}}
    yield "POST", "/vault/reidentify", Role.SERVICE, {"json": {"study": mark.lower(), "purpose": "delivery"}}
    yield "GET", "/workitems", Role.OPERATOR, {"headers": {"Authorization": f"Bearer {mark}"}}
    yield "GET", "/workitems", Role.OPERATOR, {"headers": {"X-API-Key": f"rrk_{mark}.x"}}
    yield "POST", FHIR, Role.SITE, {"json": order(CEDAR, 9), "headers": {"X-RadRelay-Site": mark}}
    yield "GET", "/workitems", Role.OPERATOR, {"headers": {"traceparent": mark, "tracestate": f"clinic={mark.lower()}"}}
    traced = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "tracestate": f"clinic={mark.lower()}"}
    yield "POST", FHIR, Role.SITE, {"json": order(CEDAR, 9), "headers": traced}
    yield mark, "/workitems", Role.OPERATOR, {}


def wrong_orders() -> Iterator[bytes]:
    """An order with the patient in the wrong place, one mistake each."""
    mistakes: tuple[tuple[str, Any], ...] = (
        ("resourceType", MARK),
        ("status", MARK),
        ("intent", [MARK]),
        ("priority", CEDAR.name),
        ("subject", MARK),
        ("subject", {"reference": f"Patient/{MARK}", "display": CEDAR.family}),
        ("subject", {"identifier": MARK}),
        ("identifier", [{"type": {"text": "ACSN"}, "value": CEDAR.accession(1)}]),
        ("identifier", MARK),
    )
    for name, value in mistakes:
        bundle = order(CEDAR, 1)
        bundle["entry"][1]["resource"][name] = value
        yield json.dumps(bundle).encode()
    for name, value in (("name", [{"family": {"is": MARK}, "given": 7}]), ("birthDate", [MARK]), ("identifier", MARK)):
        bundle = order(CEDAR, 9)
        bundle["entry"][0]["resource"] |= {"name": [], "identifier": [], name: value}
        yield json.dumps(bundle).encode()


def wrong_uploads() -> Iterator[dict[str, Any]]:
    """What is no instance, or half of one, or without an end."""
    whole = as_file(image("CT_small.dcm", CEDAR, 8), CEDAR)
    yield multipart(CEDAR, whole[:2000])
    yield multipart(CEDAR, whole[:-500])
    yield multipart(CEDAR, f"{MARK} is no DICOM file".encode())
    yield multipart(CEDAR, b"")
    yield multipart(CEDAR, whole.replace(CEDAR.study_uid(8).encode() + b".1.1", MARK.encode().ljust(32, b"x")[:32]))
    endless = multipart(CEDAR, whole)
    yield {**endless, "content": endless["content"].replace(f"--{BOUNDARY}--".encode(), MARK.encode())}
    yield {"content": whole[:2000], "headers": {"Content-Type": f"application/dicom; name={MARK}"}}
    yield {"content": whole, "headers": {"Content-Type": f"multipart/related; boundary={MARK * 20}"}}


async def provoke(day: Day) -> None:
    """Make every mistake; each must be refused in RadRelay's own words, and none may break it."""
    for number, (method, path, role, request) in enumerate(requests(), 1):
        sites = ("cedar",) if role is Role.SITE else ()
        answer = await day.ask(method, path, role, *sites, **request)
        assert answer.status_code < 500, f"mistake {number} at {method} {path} broke something: {answer.text}"
        day.evidence.add("problems", f"{number}: {method} {path}", f"{dict(answer.headers)} ".encode() + answer.content)
    await asyncio.to_thread(shout, day.relay.dicom_port)


def shout(port: int) -> None:
    """Over DICOM: no PDU at all, half of one, an unknown caller, and a user name that is a patient's."""
    for said in (f"{CEDAR.name}\r\n".encode(), b"\x01\x00\x00\x00\x00\xff" + CEDAR.name.encode()):
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(said)
    for calling in ("STRANGER", CEDAR.site.upper()):
        caller = AE(calling)
        caller.add_requested_context(Verification)
        user = UserIdentityNegotiation()
        user.user_identity_type, user.primary_field = 1, CEDAR.name.encode()
        association = caller.associate("127.0.0.1", port, ae_title=MARK, ext_neg=[user])
        keep_answers(association)
        if association.is_established:
            association.send_c_echo()
            association.release()
