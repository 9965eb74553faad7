"""Clinics, radiologists and endpoints from a file."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import pytest

from radrelay.client import Client, Problem
from radrelay.platform import Platform
from radrelay.register import read, register
from radrelay_shared.errors import Invalid
from radrelay_shared.security import Role


def operator(platform: Platform) -> Client:
    return Client(f"http://127.0.0.1:{platform.http_port}", platform.keys.token("operator", {Role.OPERATOR}, {"*"}))


async def test_applying_a_file_twice_registers_everything_once(platform: Platform) -> None:
    with as_file(files("radrelay") / "data" / "demo.yaml") as file:
        tables = read(file)
    first = await register(tables, operator(platform))
    again = await register(tables, operator(platform))
    assert set(first) == {"prairie", "sagebrush"}
    assert all(secret.startswith("whsec_") for secret in first.values())
    assert again == {}
    assert len(await operator(platform).call("GET", "/ingest/sites")) == 2
    assert len(await operator(platform).call("GET", "/radiologists")) == 3
    assert len(await operator(platform).call("GET", "/webhooks/endpoints")) == 2


async def test_a_site_without_a_jurisdiction_is_refused_with_the_fields_name(platform: Platform) -> None:
    with pytest.raises(Problem, match="jurisdiction"):
        await register(
            {"sites": {"nowhere": {"name": "Nowhere"}}, "radiologists": {}, "webhooks": {}}, operator(platform)
        )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sites: [\n", "is not YAML .line 2."),
        ("", "must have the tables sites, radiologists, webhooks and no others"),
        ("clinics: {a: {}}", "must have the tables"),
        ("sites: [prairie]", "sites must be a table of tables"),
        ("sites: {prairie: Prairie Hospital}", "sites must be a table of tables"),
    ],
)
def test_another_file_is_refused_in_plain_words(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "network.yaml"
    file.write_text(text)
    with pytest.raises(Invalid, match=complaint):
        read(file)
