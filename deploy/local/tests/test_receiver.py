"""The hospital's receiver believes only what is signed with its own secret."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO

import httpx2
import pytest
from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"prairie's secret of thirty-two b").decode()
OTHER = "whsec_" + base64.b64encode(b"sagebrush's secret of 32 bytes..").decode()
REPORT = json.dumps(
    {
        "type": "report.finalized",
        "data": {
            "resourceType": "DiagnosticReport",
            "contained": [
                {"resourceType": "Patient", "name": [{"text": "Jane Q Doe"}], "identifier": [{"value": "PR-1003"}]}
            ],
            "basedOn": [{"identifier": {"value": "PRA-7003"}}],
            "conclusion": "No acute intracranial haemorrhage.",
        },
    }
)


@pytest.fixture
def receiver() -> Iterator[tuple[str, IO[str]]]:
    """The receiver's process: its address, and what it prints."""
    command = [sys.executable, "-m", "radrelay.receiver", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        process.stdin.write(json.dumps({"prairie": SECRET}) + "\n")
        process.stdin.flush()
        yield f"http://127.0.0.1:{port}/", process.stdout
        process.terminate()


def post(url: str, secret: str, body: str = REPORT) -> int:
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", now, REPORT),
    }
    return httpx2.post(url, content=body, headers=headers, timeout=60, trust_env=False).status_code


def test_a_signed_report_is_read_with_its_patient(receiver: tuple[str, IO[str]]) -> None:
    url, printed = receiver
    assert post(url + "prairie", SECRET) == 204
    assert json.loads(printed.readline()) == {
        "site": "prairie",
        "webhook_id": "msg_1",
        "type": "report.finalized",
        "patient": "Jane Q Doe",
        "patient_id": "PR-1003",
        "accession": "PRA-7003",
        "impression": "No acute intracranial haemorrhage.",
    }


def test_what_is_signed_otherwise_is_refused(receiver: tuple[str, IO[str]]) -> None:
    url, _ = receiver
    assert post(url + "prairie", OTHER) == 401  # somebody else's secret
    assert post(url + "prairie", SECRET, REPORT.replace("No acute", "Acute")) == 401  # changed on the way
    assert post(url + "sagebrush", SECRET) == 401  # not this receiver's clinic
    assert httpx2.post(url + "prairie", content=REPORT, timeout=60, trust_env=False).status_code == 401
