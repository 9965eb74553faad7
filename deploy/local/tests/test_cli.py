"""The `radrelay` command: reads well, says what is wrong, never shows a traceback."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from importlib.resources import as_file, files
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from typer.testing import Result

from radrelay import send
from radrelay.platform import Platform
from radrelay_shared.envelope import uuid7
from radrelay_shared.ports import Message
from radrelay_shared.security import Role
from radrelay_shared.testing import PATIENCE_SECONDS, until
from real_files import TEST_FILES
from servers import free_ports

Command = Callable[..., Awaitable[Result]]
RADRELAY = Path(sys.executable).parent / "radrelay"
COMMANDS = {
    "up": "Run all seven services in this process until you stop it",
    "demo": "Do the main job once, on real studies and synthetic patients",
    "apply": "Register the clinics, radiologists and webhook endpoints of a YAML file",
    "token": "Print a bearer token of the local issuer",
    "send": "Send DICOM files by C-STORE",
    "anonymize": "De-identify a folder of DICOM files, nothing else",
    "upload": "Upload DICOM files over a weak link",
    "status": "Show the newest studies and how far each has come",
    "replay": "Try again what services gave up",
    "custody": "The ledger of every instance's custody",
    "doctor": "Say in plain words what is missing or cannot be reached",
}


def url(platform: Platform) -> str:
    return f"http://127.0.0.1:{platform.http_port}"


async def test_the_help_names_every_command_with_a_sentence(radrelay: Command) -> None:
    answer = await radrelay("--help")
    assert answer.exit_code == 0
    assert "studies in, signed reports out" in answer.output
    assert all(f" {command} " in answer.output for command in COMMANDS)


@pytest.mark.parametrize(("command", "sentence"), COMMANDS.items())
async def test_each_commands_help_says_what_it_does(radrelay: Command, command: str, sentence: str) -> None:
    answer = await radrelay(command, "--help")
    assert answer.exit_code == 0
    assert sentence in answer.output


@pytest.mark.parametrize("command", ["apply", "status", "replay"])
async def test_the_help_says_how_to_speak_to_a_deployed_radrelay(radrelay: Command, command: str) -> None:
    answer = await radrelay(command, "--help")
    assert "--token" in answer.output
    assert "RADRELAY_TOKEN" in answer.output


# ── on a RadRelay that is up ─────────────────────────────────────────────────────────────────────────


async def test_a_file_is_applied_and_the_status_is_empty_at_first(platform: Platform, radrelay: Command) -> None:
    here = ("--data", platform.folder, "--url", url(platform))
    with as_file(files("radrelay") / "data" / "demo.yaml") as file:
        applied, again = await radrelay("apply", file, *here), await radrelay("apply", file, *here)
    assert (applied.exit_code, again.exit_code) == (0, 0)
    assert applied.output.count("whsec_") == 2
    assert "whsec_" not in again.output
    assert "Studies and stages" in (await radrelay("status", *here)).output


async def test_with_a_token_the_local_keys_are_not_needed(
    platform: Platform, radrelay: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = ("--data", tmp_path / "no keys here", "--url", url(platform))
    refused = await radrelay("status", *elsewhere)
    assert (refused.exit_code, "there are no keys in" in refused.output) == (1, True)
    token = platform.keys.token("operator", {Role.OPERATOR}, {"*"})
    assert (await radrelay("status", *elsewhere, "--token", token)).exit_code == 0
    monkeypatch.setenv("RADRELAY_TOKEN", token)
    assert (await radrelay("replay", "--list", *elsewhere)).exit_code == 0


async def test_a_token_that_is_none_is_refused_in_one_sentence(platform: Platform, radrelay: Command) -> None:
    answer = await radrelay("status", "--url", url(platform), "--token", "nonsense")
    assert answer.exit_code == 1
    assert "Who is asking?" in answer.output
    assert "Traceback" not in answer.output


async def test_a_dead_letter_is_shown_with_its_reason_and_can_be_tried_again(
    platform: Platform, radrelay: Command
) -> None:
    here = ("--data", platform.folder, "--url", url(platform))
    assert "no such dead letters" in (await radrelay("replay", "--list", *here)).output
    garbage = Message(uuid7(), "radrelay.study.received.v1", urgent=False, body=b'{"not": "an event"}')
    await platform.bus.publish(garbage)
    listed = await radrelay("replay", "--list", *here)
    assert garbage.id in listed.output
    assert "not an event that anonymize understands" in listed.output
    assert "tried again" not in listed.output
    other = await radrelay("replay", "anonymize", "--message", uuid7(), *here)
    assert "tried again" not in other.output
    again = await radrelay("replay", "anonymize", "--message", garbage.id, *here)
    assert "anonymize: 1 tried again" in again.output


async def test_the_doctor_finds_a_running_radrelay_well(platform: Platform, radrelay: Command) -> None:
    async def well() -> Result | None:
        answer = await radrelay("doctor", "--data", platform.folder, "--url", url(platform))
        return answer if answer.exit_code == 0 else None

    assert "is ready" in (await until(well)).output  # a disk that stalls answers late


async def test_a_study_is_sent_from_files_and_what_is_no_dicom_is_named(
    platform: Platform, radrelay: Command, tmp_path: Path
) -> None:
    with as_file(files("radrelay") / "data" / "demo.yaml") as file:
        await radrelay("apply", file, "--data", platform.folder, "--url", url(platform))
    (tmp_path / "notes.txt").write_text("not an image")
    to = ("--to", f"127.0.0.1:{platform.dicom_port}", "--calling", "PRAIRIE_CT")
    sent = await radrelay("send", TEST_FILES / "CT_small.dcm", TEST_FILES / "JPEG2000.dcm", tmp_path / "notes.txt", *to)
    assert "2 stored, 1 not" in sent.output
    assert "notes.txt: not a DICOM file" in sent.output
    assert sent.exit_code == 1
    assert (await radrelay("send", TEST_FILES / "MR_small.dcm", *to)).exit_code == 0


class PassedLate(threading.Event):
    def wait(self, timeout: float | None = None) -> bool:
        passed = super().wait(timeout)
        time.sleep(0.3)
        return passed


async def test_an_answer_is_not_lost_when_the_machine_is_busy(
    platform: Platform, radrelay: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pynetdicom's reactor says that it rests, goes on all the same, and would find the answer to our request."""
    with as_file(files("radrelay") / "data" / "demo.yaml") as file:
        await radrelay("apply", file, "--data", platform.folder, "--url", url(platform))
    made, look = Association.__init__, DIMSEServiceProvider.get_msg

    def busy(association: Association, *arguments: Any) -> None:
        made(association, *arguments)
        association._reactor_checkpoint = PassedLate()
        association._reactor_checkpoint.set()

    def late(provider: DIMSEServiceProvider, block: bool = False) -> Any:  # noqa: FBT001, FBT002  pynetdicom's own
        time.sleep(0.6 if block else 0)
        return look(provider, block)

    monkeypatch.setattr(Association, "__init__", busy)
    monkeypatch.setattr(DIMSEServiceProvider, "get_msg", late)
    monkeypatch.setattr(send, "PATIENCE_SECONDS", 5)
    to = ("--to", f"127.0.0.1:{platform.dicom_port}", "--calling", "PRAIRIE_CT")
    sent = await radrelay("send", TEST_FILES / "CT_small.dcm", TEST_FILES / "JPEG2000.dcm", *to)
    assert (sent.exit_code, "2 stored, 0 not" in sent.output) == (0, True), sent.output


async def test_a_sender_that_no_site_has_is_told_what_to_do(platform: Platform, radrelay: Command) -> None:
    answer = await radrelay(
        "send", TEST_FILES / "CT_small.dcm", "--to", f"127.0.0.1:{platform.dicom_port}", "--calling", "NOBODY"
    )
    assert answer.exit_code == 1
    assert "RADRELAY does not know NOBODY. Send as an AE title that a site has (--calling)" in answer.output


# ── without one ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("to", ["11112", "localhost", "localhost:dicom", ":11112", "localhost:70000"])
async def test_an_address_without_host_or_port_is_explained(radrelay: Command, to: str) -> None:
    answer = await radrelay("send", TEST_FILES / "CT_small.dcm", "--to", to)
    assert answer.exit_code == 2
    assert "say HOST:PORT" in answer.output


async def test_a_title_that_is_too_long_is_explained(radrelay: Command) -> None:
    answer = await radrelay(
        "send", TEST_FILES / "CT_small.dcm", "--calling", "A_VERY_LONG_TITLE", "--to", "127.0.0.1:1"
    )
    assert (answer.exit_code, "is no AE title: 1 to 16" in answer.output) == (1, True)


async def test_files_that_are_no_dicom_are_named_without_connecting(radrelay: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "empty.dcm").touch()
    answer = await radrelay("send", tmp_path, TEST_FILES / "dicomdirtests" / "DICOMDIR", "--to", "127.0.0.1:1")
    assert answer.exit_code == 1
    assert "0 stored, 3 not" in answer.output


async def test_where_nobody_listens_the_address_is_named(radrelay: Command) -> None:
    dicom, http = free_ports(2)
    sent = await radrelay("send", TEST_FILES / "CT_small.dcm", "--to", f"127.0.0.1:{dicom}")
    asked = await radrelay("status", "--token", "any", "--url", f"http://127.0.0.1:{http}")
    assert f"nothing answers at 127.0.0.1:{dicom} (Connection refused)" in sent.output
    assert f"nothing answers at 127.0.0.1:{http}; is it running?" in asked.output
    assert (sent.exit_code, asked.exit_code) == (1, 1)


async def test_a_setting_that_is_nonsense_is_named(radrelay: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADRELAY_DRAIN_SECONDS", "soon")
    answer = await radrelay("doctor", "--url", f"http://127.0.0.1:{free_ports(1)[0]}")
    assert (answer.exit_code, "RADRELAY_DRAIN_SECONDS" in answer.output) == (1, True)


# ── as processes ─────────────────────────────────────────────────────────────────────────────────────


async def test_up_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    http, dicom = free_ports(2)
    process = await asyncio.create_subprocess_exec(
        RADRELAY, "up", "--data", tmp_path, "--http-port", str(http), "--dicom-port", str(dicom),
        "--log-level", "WARNING", stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        said = (await process.stderr.readuntil(b"doctor")).decode()
        process.terminate()
        await process.stderr.read()
        assert await process.wait() == 0
    assert f"RadRelay is up. HTTP http://127.0.0.1:{http}, DICOM 127.0.0.1:{dicom}" in said


@pytest.mark.parametrize("option", ["--http-port", "--dicom-port"])
def test_up_on_a_taken_port_ends_with_a_sentence(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = dict(zip(("--http-port", "--dicom-port"), free_ports(2), strict=True)) | {
            option: taken.getsockname()[1]
        }
        command: list[str | Path] = [RADRELAY, "up", "--data", tmp_path, *map(str, chain.from_iterable(ports.items()))]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert ended.returncode == 1
    assert "is RadRelay running already?" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_demo_does_the_main_job() -> None:
    ended = subprocess.run([RADRELAY, "demo"], capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "6 of 6 reports" in " ".join(ended.stdout.split())
