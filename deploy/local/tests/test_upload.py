"""`radrelay upload`: folders over weak links, into a whole RadRelay."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydicom.data import get_testdata_file
from typer.testing import Result

from radrelay import upload
from radrelay.platform import Platform

Command = Callable[..., Awaitable[Result]]
CLINIC = """
sites:
  prairie: {name: Prairie Clinic, jurisdiction: US-MT, ae_titles: [PRAIRIE]}
"""


@pytest.fixture
async def address(platform: Platform, radrelay: Command, tmp_path: Path) -> str:
    """A running RadRelay that knows the clinic."""
    url = f"http://127.0.0.1:{platform.http_port}"
    (tmp_path / "network.yaml").write_text(CLINIC)
    answer = await radrelay("apply", tmp_path / "network.yaml", "--data", tmp_path / "data", "--url", url)
    assert answer.exit_code == 0, answer.output
    return url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images, and a file that is none."""
    files = tmp_path / "disc"
    files.mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm"):
        (files / name).write_bytes(Path(str(get_testdata_file(name, download=False))).read_bytes())
    (files / "README.TXT").write_text("DOE^JANE")
    return files


async def test_a_folder_is_uploaded_and_forgotten_here(
    radrelay: Command, address: str, folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    answer = await radrelay("upload", folder, "--site", "prairie", "--data", data, "--url", address)
    assert (answer.exit_code, answer.stdout) == (0, "2 stored, 0 not\n")
    assert list((data / "uploads").iterdir()) == []


async def test_an_upload_that_breaks_off_goes_on_where_it_was(
    radrelay: Command, address: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, sent = tmp_path / "data", []
    patch = httpx2.Client.patch

    def breaking(http: httpx2.Client, place: str, **request: Any) -> httpx2.Response:
        """The link: it carries one piece, then breaks, then carries again."""
        sent.append(int(request["headers"]["Upload-Offset"]))
        if len(sent) == 2:
            raise httpx2.ConnectError("the link broke")
        return patch(http, place, **request)

    monkeypatch.setattr(httpx2.Client, "patch", breaking)
    monkeypatch.setattr(upload, "PIECE_BYTES", 20_000)
    monkeypatch.setattr(upload, "PAUSES", ())
    words = ("upload", folder, "--site", "prairie", "--data", data, "--url", address)
    broken = await radrelay(*words)
    assert broken.exit_code == 1
    assert "the upload broke off: run the same command again" in broken.output
    again = await radrelay(*words)
    assert (again.exit_code, again.stdout) == (0, "2 stored, 0 not\n")
    assert sent[:3] == [0, 20_000, 20_000]


async def test_a_folder_without_images_is_nothing_to_upload(radrelay: Command, address: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    data = tmp_path / "data"
    answer = await radrelay("upload", tmp_path / "empty", "--site", "prairie", "--data", data, "--url", address)
    assert answer.exit_code == 1
    assert "there is no DICOM file among these" in answer.output


async def test_a_clinic_that_nobody_registered_uploads_nothing(
    radrelay: Command, address: str, folder: Path, tmp_path: Path
) -> None:
    answer = await radrelay("upload", folder, "--site", "nowhere", "--data", tmp_path / "data", "--url", address)
    assert answer.exit_code == 1
    assert "this site is not registered here" in answer.output
