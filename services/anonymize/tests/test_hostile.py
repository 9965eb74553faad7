"""Hostile files end in quarantine within bounded time and memory, never in storage; none blocks the studies behind it.

RADRELAY_FUZZ says how many spoilt files are tried (300), RADRELAY_FUZZ_SEED which (any number; printed with -s).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hostile.files import CANARY, CASES, UNREADABLE
from hostile.run import CONTEXT
from radrelay_anonymize.domain import Quarantined, Released, release
from radrelay_shared.events import StudyAnonymized, StudyQuarantined
from radrelay_shared.testing import PATIENCE_SECONDS
from real_files import FILES

if TYPE_CHECKING:
    from services.anonymize.tests.conftest import Bench  # importlib mode gives it no importable name at run time

TESTS = Path(__file__).parents[3] / "tests"
SECONDS = 20  # of the processor, for any file; the slowest here takes three
INPUTS = int(os.environ.get("RADRELAY_FUZZ", "300"))
SEED = int(os.environ.get("RADRELAY_FUZZ_SEED", "20261125"))
SMALL = 64 << 10  # bytes


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    """What became of each file in a process with one gigabyte of address space."""
    command = [sys.executable, "-W", "ignore", "-m", "hostile.run"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return {each["name"]: each for each in map(json.loads, done.stdout.splitlines())}


@pytest.mark.timeout(320)
def test_every_hostile_file_is_answered_in_a_gigabyte_and_in_bounded_time(outcomes: dict[str, dict[str, Any]]) -> None:
    assert outcomes.keys() == CASES.keys()
    assert {name: each["seconds"] for name, each in outcomes.items() if each["seconds"] > SECONDS} == {}


def test_what_nobody_can_read_waits_for_a_person(outcomes: dict[str, dict[str, Any]]) -> None:
    assert {name for name in UNREADABLE if outcomes[name]["reasons"] != ["unreadable"]} == set()


def test_no_odd_file_smuggles_identity_out(outcomes: dict[str, dict[str, Any]]) -> None:
    assert {name for name, each in outcomes.items() if each.get("leaks")} == set()
    assert not [each for each in outcomes.values() if CANARY.lower() in json.dumps(each["reasons"]).lower()]


async def test_hostile_files_neither_stop_their_study_nor_reach_storage(bench: Bench, zenobia: Any) -> None:
    """One of each kind that is small, in one batch with two good slices."""
    hostile = [data for make in UNREADABLE.values() if len(data := make()) < SMALL]
    await bench.receive([zenobia(1), *hostile, zenobia(2)], hostile[:3])
    [told], [held] = bench.downstream.of(StudyAnonymized), bench.downstream.of(StudyQuarantined)
    assert [str(copy.InstanceNumber) for copy in await bench.released(told)] == ["1", "2"]
    assert (held.reasons, held.instances) == (("unreadable",), len(hostile) + 3)


def spoilt(data: bytes, draw: random.Random) -> bytes:
    """With one to six mistakes: bytes overwritten, put in, taken out, moved, or all after them cut off."""
    words = (
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\xfe\xff\0\xe0",
        b"\xfe\xff\xdd\xe0",
        b"SQ",
        b"UN",
        b"UT",
        b"\\",
        b"\x1b$B",
    )
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(128, max(129, min(len(data), 8192)))
        what = draw.choice((draw.choice(words), draw.randbytes(draw.randint(1, 8))))
        end = draw.choice((at, at + len(what), at + draw.randint(0, 64)))
        data = draw.choice((data[:at] + what + data[end:], data[:at] + data[end:] + data[at:end], data[:at]))
    return data


def test_no_spoilt_file_of_a_real_device_breaks_the_engine() -> None:
    files = [file for file in FILES if "test_files" in file.parts]
    corpus = [data for file in files if len(data := file.read_bytes()) < SMALL]
    draw = random.Random(SEED)
    sys.stdout.write(f"RADRELAY_FUZZ_SEED={SEED}: {INPUTS} of {len(corpus)} files\n")
    for number in range(INPUTS):
        outcome = release(spoilt(draw.choice(corpus), draw), CONTEXT)
        assert isinstance(outcome, (Released, Quarantined)), number
        if isinstance(outcome, Released):
            assert outcome.data[:128] == bytes(128), number
            assert outcome.dataset.PatientIdentityRemoved == "YES", number
        else:
            assert not [each for each in outcome.reasons if each.startswith("failed:")], (number, outcome)
