"""The chart as helm renders it, and the facts it is rendered from."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from radrelay_shared.testing import PATIENCE_SECONDS
from servers import Missing, cannot
from servers.seaweedfs import SeaweedFS

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "radrelay"
EXAMPLE = CHART / "ci" / "example-values.yaml"
Helm = Callable[..., subprocess.CompletedProcess[str]]
Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def facts() -> dict[str, Any]:
    """The table of the seven services."""
    table: dict[str, Any] = yaml.safe_load((CHART / "files" / "services.yaml").read_text())
    return table


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Runs helm and hands back what it said; the caller looks at the return code."""
    fetched = subprocess.run(
        [sys.executable, ROOT / "scripts/get_helm.py"], capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        raise cannot(f"helm cannot be fetched: {(fetched.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    binary = fetched.stdout.strip()

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [binary, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)

    return run


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """Every object of the chart with the example values and these `--set` changes."""

    def manifests(*changes: str, release: str = "radrelay") -> list[dict[str, Any]]:
        sets = [argument for change in changes for argument in ("--set-json", change)]
        done = helm("template", release, CHART, "--values", EXAMPLE, "--kube-version", "1.32", *sets)
        assert done.returncode == 0, done.stderr
        return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]

    return manifests


@pytest.fixture(scope="session")
def manifests(render: Render) -> list[dict[str, Any]]:
    return render()


@pytest.fixture(scope="session")
def make_secrets() -> Callable[[Path], subprocess.CompletedProcess[str]]:
    """Runs the script as an operator does."""

    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "scripts/make_secrets.py"), "--folder", str(folder)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)

    return run


@pytest.fixture(scope="session")
def made(
    tmp_path_factory: pytest.TempPathFactory, make_secrets: Callable[[Path], subprocess.CompletedProcess[str]]
) -> Path:
    """A folder of fresh secrets."""
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    make_secrets(folder).check_returncode()
    return folder


@pytest.fixture(scope="session")
def store(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """One S3 server with the identities of both, for whom compose runs two."""
    try:
        server = SeaweedFS(tmp_path_factory.mktemp("store"))
    except Missing as missing:
        raise cannot(str(missing)) from missing
    for which in ("blobs", "originals"):
        for identity in json.loads((made / which / "s3.json").read_text())["identities"]:
            server._identities.append({**identity, "name": f"{which}-{identity['name']}"})
    server.start()
    yield server
    server.stop()
