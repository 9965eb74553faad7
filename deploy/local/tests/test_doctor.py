"""What is missing or unreachable, in plain words."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from radrelay.doctor import Finding, examine
from radrelay.platform import Platform
from radrelay_shared.testing import until
from servers import free_ports


def about(findings: list[Finding], word: str) -> Finding:
    return next(finding for finding in findings if word in finding.what)


async def test_where_nothing_runs_it_says_how_to_start(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    finding = about(await examine(tmp_path / "none", url), url)
    assert finding == Finding(good=False, what=f"nothing answers at {url}", advice="start it with `radrelay up`")


async def test_a_running_radrelay_has_nothing_to_complain_of(platform: Platform) -> None:
    async def content() -> bool:
        findings = await examine(platform.folder, f"http://127.0.0.1:{platform.http_port}")
        return [finding.good for finding in findings] == [True] * 3

    await until(content)  # a disk that stalls answers late


async def test_another_program_on_the_port_is_not_taken_for_radrelay(tmp_path: Path) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        finding = about(await examine(tmp_path, url), url)
        server.shutdown()
    assert finding == Finding(good=False, what=f"what answers at {url} is not ready", advice="HTTP 404")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://guest:geheim@127.0.0.1:1/", "the bus at 127.0.0.1:1/ does not work"),
        ("carrier-pigeon://loft", "the bus at carrier-pigeon://loft does not work"),
    ],
)
async def test_a_bus_that_cannot_be_reached_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, shown: str
) -> None:
    monkeypatch.setenv("RADRELAY_BUS_URL", url)
    finding = about(await examine(tmp_path, f"http://127.0.0.1:{free_ports(1)[0]}"), "the bus")
    assert (finding.good, finding.what) == (False, shown)
    assert finding.advice
    assert "geheim" not in finding.advice


async def test_stores_that_work_are_said_to_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADRELAY_DOCUMENTS_URL", f"sqlite:///{tmp_path / 'documents.db'}")
    monkeypatch.setenv("RADRELAY_BLOBS_URL", f"file:///{tmp_path / 'blobs'}")
    findings = await examine(tmp_path, f"http://127.0.0.1:{free_ports(1)[0]}")
    assert about(findings, "the document store").good
    assert about(findings, "the blobs bucket").good
