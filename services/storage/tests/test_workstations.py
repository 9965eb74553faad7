"""Workstations over DIMSE: dcmtk's own query and retrieve programs, against the running service."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydicom import dcmread
from pydicom.dataset import Dataset

from radrelay_shared.events import StudyAnonymized
from radrelay_shared.testing import PATIENCE_SECONDS, deliver, running, until
from radrelay_storage.main import SERVICE
from servers import free_ports

HERE = {"address": "127.0.0.1"}


@dataclass
class Room:
    """A reading room: where RadRelay answers it, and where its workstation listens."""

    port: int
    own_port: int
    folder: Path

    async def ask(self, program: str, *words: str, title: str = "READING1") -> tuple[int, str]:
        """Run one of dcmtk's programs in the folder; its exit status and what it said."""
        process = await asyncio.create_subprocess_exec(
            program,
            "-v",
            "-aet",
            title,
            "-aec",
            "RADRELAY",
            *words,
            "127.0.0.1",
            str(self.port),
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
        return process.returncode or 0, said.decode(errors="replace")

    def received(self) -> list[str]:
        files = [each for each in self.folder.iterdir() if each.is_file()]
        return sorted(str(dcmread(each).SOPInstanceUID) for each in files)


@pytest.fixture
async def room(
    tmp_path: Path,
    pack: Callable[..., Awaitable[StudyAnonymized]],
    image: Callable[..., Dataset],
    assign: Callable[..., Awaitable[None]],
) -> AsyncIterator[Room]:
    """Two CT slices and an MR of clinic A, a CT of clinic B, assigned to the workstation's radiologist; another CT."""
    if shutil.which("findscu") is None or shutil.which("getscu") is None:
        pytest.fail("dcmtk is not installed (`make servers`)")
    [own_port] = free_ports(1)
    who = {"roles": ["radiologist"], **HERE}
    stations = [
        {"ae_title": "READING1", "port": own_port, "subject": "dr-a", "sites": ["clinic-a"], **who},
        {"ae_title": "READING2", "subject": "room-2", "sites": ["clinic-b"], **who},
        {"ae_title": "ELSEWHERE", "subject": "room-3", "sites": ["*"], **who, "address": "192.0.2.1"},
    ]
    file = tmp_path / "workstations.yaml"
    file.write_text(yaml.safe_dump(stations))
    folder = tmp_path / "room"
    folder.mkdir()
    settings: dict[str, Any] = {"query_port": 0, "query_host": "127.0.0.1", "workstations_file": file}
    settings["claim_seconds"] = 0.1
    async with running(SERVICE, tmp_path, **settings) as (runtime, _):
        ours = [image("CT_small.dcm", 1, number=number) for number in (1, 2)]
        await deliver(runtime, await pack(runtime, [*ours, image("MR_small.dcm", 1, series=2)], site="clinic-a"))
        other = await pack(runtime, [image("CT_small.dcm", 2)], site="clinic-b", study="st-2")
        await deliver(runtime, other)
        await deliver(runtime, await pack(runtime, [image("CT_small.dcm", 3)], study="st-3"))
        for study in (1, 2):
            await assign(runtime, "dr-a", study)
        context: Any = runtime.context
        address = await until(lambda: context.query_address)
        yield Room(address[1], own_port, folder)


FINDS = [
    ("PATIENT", ("PatientID",), 1),
    ("STUDY", ("StudyInstanceUID",), 1),
    ("STUDY", ("StudyInstanceUID", "ModalitiesInStudy=MR"), 1),
    ("STUDY", ("StudyInstanceUID", "ModalitiesInStudy=US"), 0),
    ("SERIES", ("StudyInstanceUID=2.25.1", "SeriesInstanceUID"), 2),
    ("SERIES", ("StudyInstanceUID=2.25.1", "SeriesInstanceUID", "Modality=CT"), 1),
    ("IMAGE", ("StudyInstanceUID=2.25.1", "SeriesInstanceUID=2.25.1.1", "SOPInstanceUID"), 2),
    ("STUDY", ("StudyInstanceUID=2.25.2",), 0),
    ("STUDY", ("StudyInstanceUID=2.25.3",), 0),
]


@pytest.mark.parametrize("root", ["-P", "-S"], ids=["patient root", "study root"])
async def test_findscu_finds_what_its_room_may_see(room: Room, root: str) -> None:
    for level, keys, matches in FINDS:
        words = [word for key in (f"QueryRetrieveLevel={level}", *keys) for word in ("-k", key)]
        status, said = await room.ask("findscu", root, *words)
        assert (status, said.count("(Pending)")) == (0, matches), said


async def test_getscu_is_sent_a_study_and_then_a_single_series(room: Room) -> None:
    study = ("-k", "StudyInstanceUID=2.25.1")
    assert (await room.ask("getscu", "-S", "-k", "QueryRetrieveLevel=STUDY", *study))[0] == 0
    assert room.received() == ["2.25.1.1.1", "2.25.1.1.2", "2.25.1.2.1"]
    for each in room.folder.iterdir():
        each.unlink()
    series = ("-k", "SeriesInstanceUID=2.25.1.2")
    assert (await room.ask("getscu", "-S", "-k", "QueryRetrieveLevel=SERIES", *study, *series))[0] == 0
    assert room.received() == ["2.25.1.2.1"]


async def test_movescu_has_a_study_sent_to_its_own_listener(room: Room) -> None:
    words = ("-S", "-aem", "READING1", "--port", str(room.own_port), "-k", "QueryRetrieveLevel=STUDY")
    status, said = await room.ask("movescu", *words, "-k", "StudyInstanceUID=2.25.1")
    assert status == 0, said
    assert room.received() == ["2.25.1.1.1", "2.25.1.1.2", "2.25.1.2.1"]


@pytest.mark.parametrize("destination", ["READING2", "NOBODY"])
async def test_nothing_is_moved_to_where_nobody_is_known_to_listen(room: Room, destination: str) -> None:
    words = ("-S", "-aem", destination, "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=2.25.1")
    status, said = await room.ask("movescu", *words)
    assert status != 0, said
    assert room.received() == []


@pytest.mark.parametrize("study", ["2.25.2", "2.25.3"], ids=["of another site", "of nobody's"])
async def test_a_study_that_is_not_the_workstation_s_is_not_sent(room: Room, study: str) -> None:
    await room.ask("getscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
    assert room.received() == []


@pytest.mark.parametrize("title", ["UNKNOWN", "ELSEWHERE"])
async def test_an_unknown_title_or_address_is_not_admitted(room: Room, title: str) -> None:
    status, said = await room.ask("findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", title=title)
    assert status != 0
    assert "Rejected" in said


async def test_a_known_workstation_is_answered_an_echo(room: Room) -> None:
    assert (await room.ask("echoscu"))[0] == 0
