"""`radrelay anonymize`: a folder in, verified copies and a report out."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from typer.testing import Result

from radrelay_shared.testing import PATIENCE_SECONDS

ROOT = Path(__file__).parents[3]
Command = Callable[..., Awaitable[Result]]


def slice_of(folder: Path, number: int, patient: str = "Quillfeather^Zenobia", **tags: str) -> None:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    dataset.PatientName, dataset.PatientID = patient, patient[:6]
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.{len(patient)}", f"1.2.{len(patient)}.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.{len(patient)}.1.{number}"
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    folder.mkdir(exist_ok=True)
    dataset.save_as(folder / f"{patient}-{number}.dcm")


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    """Two patients; one slice names the first one in a description that its own header does not explain."""
    folder = tmp_path / "in"
    for number in (1, 2):
        slice_of(folder, number)
    slice_of(folder, 3, PatientName="Q^Z", SeriesDescription="Head of Quillfeather")
    slice_of(folder, 1, patient="Okonkwo^William")
    return folder


async def test_a_folder_becomes_copies_without_identity(radrelay: Command, originals: Path, tmp_path: Path) -> None:
    out, data = tmp_path / "out", tmp_path / "data"
    answer = await radrelay("anonymize", originals, out, "--data", data, "--jobs", 1)
    assert (answer.exit_code, answer.stdout.split(";")[0]) == (0, "4 de-identified, 0 held back")
    copies = [pydicom.dcmread(each) for each in sorted(out.rglob("*.dcm"))]
    assert len({str(each.PatientName) for each in copies}) == 2
    assert all(str(each.PatientName).startswith("RR-") for each in copies)
    content = b"".join(each.read_bytes() for each in out.rglob("*.dcm")).lower()
    assert [word for word in (b"quillfeather", b"zenobia", b"okonkwo", b"william") if word in content] == []
    assert json.loads((out / "report.json").read_text())["released"] == 4


async def test_the_same_folder_again_gives_the_same_copies(radrelay: Command, originals: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        await radrelay("anonymize", originals, tmp_path / name, "--data", tmp_path / "data", "--jobs", 2)
    one, two = (
        {str(each.relative_to(tmp_path / name)): each.read_bytes() for each in (tmp_path / name).rglob("*.dcm")}
        for name in ("one", "two")
    )
    assert one == two
    assert len(one) == 4


def test_a_cine_larger_than_its_memory_is_copied_in_pieces(tmp_path: Path) -> None:
    """256 MiB in one file; the pixels of the copy are compared with the original's."""
    command = [sys.executable, "-m", "benchmarks.anonymize_memory", "folder", str(256 << 20), str(tmp_path)]
    told = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS, cwd=ROOT).stdout
    )
    assert told["mb"] < 200


async def test_what_cannot_leave_is_named_with_its_reason_and_fails_the_command(
    radrelay: Command, originals: Path, tmp_path: Path
) -> None:
    (originals / "notes.txt").write_text("Zenobia")
    answer = await radrelay("anonymize", originals, tmp_path / "out", "--data", tmp_path / "data", "--jobs", 1)
    assert answer.exit_code == 1
    assert "notes.txt: unreadable" in answer.output
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert (report["files"], report["held"], report["reasons"]) == (5, 1, {"unreadable": 1})


@pytest.mark.parametrize(
    ("words", "reason"),
    [(("--profile", "none-of-ours"), "there is no such profile"), ((), "apart from that of the originals")],
    ids=["an unknown profile", "copies among the originals"],
)
async def test_a_wish_that_makes_no_sense_is_refused_in_plain_words(
    radrelay: Command, originals: Path, tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    out = tmp_path / "out" if words else originals / "out"
    answer = await radrelay("anonymize", originals, out, "--data", tmp_path / "data", *words)
    assert answer.exit_code == 1
    assert reason in answer.output
