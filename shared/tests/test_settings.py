"""Settings: from arguments, then variables, then one file per secret; never at import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from radrelay_shared.connect import connect_blobs, connect_bus, connect_documents
from radrelay_shared.errors import Invalid
from radrelay_shared.settings import ServiceSettings
from radrelay_shared.testing import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of secrets and no variable of RadRelay's but that one."""
    for name in [name for name in os.environ if name.startswith("RADRELAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RADRELAY_SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_the_defaults_need_no_server() -> None:
    settings = ServiceSettings()
    assert (settings.bus_url, settings.documents_url) == ("memory://", "sqlite:///.radrelay/documents.db")
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 8080)
    assert (settings.auth_jwks, settings.api_keys_file, settings.otlp_endpoint) == (None, None, None)


def test_variables_are_read_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ServiceSettings()
    monkeypatch.setenv("RADRELAY_BUS_URL", "amqp://rabbit/")
    monkeypatch.setenv("RADRELAY_HTTP_PORT", "9000")
    monkeypatch.setenv("RADRELAY_API_KEYS_FILE", "/keys.yaml")
    settings = ServiceSettings()
    assert (settings.bus_url, settings.http_port, settings.api_keys_file) == (
        "amqp://rabbit/",
        9000,
        Path("/keys.yaml"),
    )
    assert before.http_port == 8080


def test_a_secret_is_a_file_and_never_printed(folder: Path) -> None:
    (folder / "blobs_secret_key").write_text("s3cret\n")
    (folder / "bus_url").write_text("amqp://triage:pa55@rabbit/")
    settings = ServiceSettings()
    assert settings.blobs_secret_key.get_secret_value() == "s3cret"
    assert settings.bus_url == "amqp://triage:pa55@rabbit/"
    assert "s3cret" not in repr(settings)


def test_arguments_overrule_variables_and_those_overrule_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "http_port").write_text("1")
    assert ServiceSettings().http_port == 1
    monkeypatch.setenv("RADRELAY_HTTP_PORT", "2")
    assert ServiceSettings().http_port == 2
    assert ServiceSettings(http_port=3).http_port == 3


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose passes `RADRELAY_OTLP_ENDPOINT=` when nothing was said."""
    monkeypatch.setenv("RADRELAY_OTLP_ENDPOINT", "")
    monkeypatch.setenv("RADRELAY_HTTP_PORT", "")
    assert (ServiceSettings().otlp_endpoint, ServiceSettings().http_port) == (None, 8080)


def test_without_a_folder_of_secrets_nothing_is_amiss(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("RADRELAY_SECRETS_DIR", str(folder / "missing"))
    assert ServiceSettings().blobs_secret_key == SecretStr("")


def test_a_wrong_value_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADRELAY_HTTP_PORT", "eighty")
    with pytest.raises(ValidationError, match="http_port"):
        ServiceSettings()


def test_nothing_is_read_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports succeed where every setting is nonsense, and open no file of secrets."""
    monkeypatch.setenv("RADRELAY_HTTP_PORT", "nonsense")
    monkeypatch.setenv("RADRELAY_API_KEYS_FILE", "/nonsense")
    program = """
import pkgutil, sys, os
secrets = os.environ["RADRELAY_SECRETS_DIR"]
def hook(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(secrets):
        sys.exit(f"{event} {arguments[0]}")
sys.addaudithook(hook)
import radrelay_shared
for module in pkgutil.walk_packages(radrelay_shared.__path__, "radrelay_shared."):
    __import__(module.name)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("scale", "seconds"), [(1.0, [5, 30, 120, 600, 3600]), (0.5, [2.5, 15, 60, 300, 1800])])
def test_retry_tiers_can_be_shortened(scale: float, seconds: list[float]) -> None:
    assert [tier.total_seconds() for tier in ServiceSettings(retry_scale=scale).retry_tiers] == seconds


async def test_a_url_that_no_adapter_speaks_is_answered_with_those_that_are() -> None:
    with pytest.raises(Invalid, match=r"no bus speaks kafka://; use memory:// or amqp://"):
        await connect_bus("kafka://host")
    with pytest.raises(Invalid, match=r"use sqlite:/// or mongodb://"):
        await connect_documents("postgres://host/db")
    with pytest.raises(Invalid, match=r"use file:/// or s3://"):
        await connect_blobs("ftp://host", SecretStr(""), SecretStr(""))
