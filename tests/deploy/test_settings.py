"""What the chart and compose tell a service is what the service's own settings, routes and secrets are called."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from radrelay_shared.service import Service

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("ingest", "anonymize", "storage", "triage", "assignment", "reporting", "notification")
PREFIX = "RADRELAY_"


def service(name: str) -> Service:
    found: Service = importlib.import_module(f"radrelay_{name}.main").SERVICE
    return found


def chart_environment(name: str) -> dict[str, str]:
    """From k8s/, which another test holds to the chart."""
    manifests = yaml.safe_load_all((ROOT / "k8s" / f"{name}.yaml").read_text())
    (workload,) = [each for each in manifests if each["kind"] in ("Deployment", "StatefulSet")]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def compose_environment(name: str) -> dict[str, str]:
    """With every `${NAME:-default}` as its default and every required one as a word."""
    files = [yaml.safe_load((ROOT / "deploy" / file).read_text()) for file in ("compose.yaml", "compose.query.yaml")]
    environment = {
        key: value for file in files for key, value in file["services"].get(name, {}).get("environment", {}).items()
    }
    return {
        key: value.partition(":-")[2].rstrip("}") or "given" if value.startswith("${") else value
        for key, value in environment.items()
    }


@pytest.mark.parametrize("environment", [chart_environment, compose_environment])
@pytest.mark.parametrize("name", SERVICES)
def test_every_variable_and_secret_is_a_setting_of_its_service(name: str, environment: Any, made: Path) -> None:
    told = {key.removeprefix(PREFIX).lower(): value for key, value in environment(name).items()}
    secrets = {file.name: file.read_text() for file in (made / "services" / name).iterdir()}
    known = service(name).settings.model_fields
    assert set(told) | set(secrets) <= set(known)
    assert not set(told) & set(secrets)

    settings = service(name).settings.model_validate({**told, **secrets})
    assert settings.bus_url.startswith(f"amqp://{name}:")
    assert settings.documents_url.endswith(f"/radrelay_{name}")
    assert (settings.auth_jwks, settings.auth_issuer, settings.api_keys_file) != (None, "", None)


@pytest.mark.parametrize("name", SERVICES)
def test_the_ingress_leads_to_exactly_the_paths_that_a_service_answers(name: str, facts: dict[str, Any]) -> None:
    answered = {*service(name).paths, f"/ops/{name}"}
    if name == "anonymize":
        assert "paths" not in facts[name]
    else:
        assert set(facts[name]["paths"]) == answered


@pytest.mark.parametrize("name", SERVICES)
def test_every_listener_of_the_chart_is_a_setting_of_its_service(name: str, facts: dict[str, Any]) -> None:
    told = {listener["setting"] for listener in facts[name].get("listeners", {}).values()}
    assert told == {field for field in service(name).settings.model_fields if field.endswith("_port")} - {"http_port"}
