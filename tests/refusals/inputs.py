"""What the clinics send, and what goes wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from radrelay.samples import Sample
from refusals.relay import PRAIRIE

BRAIN = Sample(
    PRAIRIE, "PRAIRIE", "Doe^Jane", "PR-1", "19800101", "F", "ACC-1", "routine", "30746-2", "MR brain", "MR",
    ("MR_small.dcm",), "stow",
)  # fmt: skip
HEART = replace(BRAIN, accession="ACC-2", modality="US", files=("examples_ybr_color.dcm",))  # larger than the room left
UNKNOWN_SOP_CLASS = "1.2.826.0.1.3680043.8.498.1.1"


def encoded(sample: Sample) -> bytes:
    [file] = sample.encoded()
    return file


WRONG_UPLOADS = {
    "a text file": b"I am a letter, not an image",
    "no bytes at all": b"",
    "half a header": encoded(BRAIN)[:3000],
    "half an image": encoded(BRAIN)[:-700],
    "no preamble": encoded(BRAIN)[128:],
}
WRONG_CREDENTIALS = {
    "no token": {"Authorization": "Bearer me"},
    "a password": {"Authorization": "Basic b3A6b3A="},
    "a wrong key": {"X-API-Key": "rrk_notification.guess"},
    "no key": {"X-API-Key": "guess"},
}


def wrong_orders() -> Iterator[Any]:
    """(Body, status, what the answer says) of orders that cannot be taken."""
    without_patient = BRAIN.order()
    del without_patient["entry"][1]["resource"]["subject"]
    missing = "ServiceRequest.subject: the patient is missing"
    yield pytest.param(without_patient, 422, missing, id="without a patient")
    patient_elsewhere = BRAIN.order()
    del patient_elsewhere["entry"][0]
    elsewhere = "ServiceRequest.subject: it refers to a Patient that is neither contained nor in the Bundle"
    yield pytest.param(patient_elsewhere, 422, elsewhere, id="patient not in it")
    nameless = BRAIN.order()
    nameless["entry"][0]["resource"] = {"resourceType": "Patient"}
    yield pytest.param(nameless, 422, "Patient: there is neither an identifier nor a name", id="patient without name")
    without_number = BRAIN.order()
    del without_number["entry"][1]["resource"]["identifier"]
    number = "ServiceRequest.identifier of type ACSN: the accession number is missing"
    yield pytest.param(without_number, 422, number, id="without accession number")
    yield pytest.param({"resourceType": "Patient"}, 422, "resourceType: a ServiceRequest or a Bundle", id="no order")
    yield pytest.param(b'{"resourceType": ', 422, "check these fields: body", id="half of JSON")
    yield pytest.param(b"", 422, "check these fields: body", id="nothing")
    yield pytest.param(b"\xff\xfe\x00", 400, "error parsing the body", id="no text")
    yield pytest.param(b"[" * 100_000, 400, "error parsing the body", id="JSON without an end")
    yield pytest.param(b" " * (1 << 21), 413, "at most 1048576 bytes", id="two megabytes")
