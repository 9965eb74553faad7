"""deploy/compose.yaml, deploy/Caddyfile and the secrets they stand on, read as data: no Docker is needed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
QUERY: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.query.yaml").read_text())
MakeSecrets = Callable[[Path], subprocess.CompletedProcess[str]]
SERVICES = ("ingest", "anonymize", "storage", "triage", "assignment", "reporting", "notification")


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE["services"][name]
    return found


def neighbours(name: str) -> set[str]:
    """Everything that shares a network with this service."""
    own = set(service(name)["networks"])
    return {other for other in COMPOSE["services"] if own.intersection(service(other)["networks"])} - {name}


def binds(name: str) -> dict[str, str]:
    """Container path → path beside compose.yaml."""
    mounts = [mount for mount in service(name)["volumes"] if isinstance(mount, dict)]
    return {mount["target"]: mount["source"] for mount in mounts if mount["type"] == "bind"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_built_from_the_one_dockerfile_and_confined(name: str) -> None:
    assert service(name)["build"] == {"context": "..", "dockerfile": "deploy/Dockerfile", "args": {"SERVICE": name}}
    assert service(name)["read_only"] is True
    assert service(name)["cap_drop"] == ["ALL"]
    assert service(name)["security_opt"] == ["no-new-privileges:true"]
    assert service(name)["mem_limit"]
    assert "/tmp" in service(name)["volumes"]  # noqa: S108  a path in the container


def test_the_image_runs_as_a_number_that_is_not_root_and_without_a_shell() -> None:
    last_stage = (DEPLOY / "Dockerfile").read_text().split("\nFROM ")[-1]
    assert "\nUSER 10001:0\n" in last_stage  # Kubernetes cannot tell who a name is
    assert '\nENTRYPOINT ["radrelay-service"]\n' in last_stage
    assert '\n    CMD ["python", ' in last_stage


def test_no_password_stands_in_any_file_that_compose_reads() -> None:
    text = (DEPLOY / "compose.yaml").read_text() + (DEPLOY / "Caddyfile").read_text()
    assert not re.search(r"://[^/\s]*:[^/\s]*@", text), "a URL with a password"
    for each in COMPOSE["services"].values():
        for variable in each.get("environment", {}):
            assert not re.search(r"PASS(WORD)?$|SECRET|_KEY$", variable), variable


def test_reading_zone_has_no_way_to_the_vault_or_the_originals() -> None:
    for name in ("storage", "triage", "assignment", "reporting"):
        assert neighbours(name).isdisjoint({"anonymize", "originals", "ingest"})
    assert "originals" not in neighbours("notification")
    assert neighbours("anonymize").isdisjoint({"ingress", "storage", "triage", "assignment", "reporting"})
    assert neighbours("originals") == {"ingest", "anonymize", "rabbitmq", "mongodb", "buckets"}


def test_only_notification_and_the_front_have_a_way_out() -> None:
    inside = {name for name, network in COMPOSE["networks"].items() if (network or {}).get("internal")}
    outside = {name for name in COMPOSE["services"] if not inside.issuperset(service(name)["networks"])}
    assert outside == {"notification", "ingest", "ingress"}
    assert set(service("ingest")["networks"]) - inside == {"front"}
    assert all(listen.startswith("${") and ":-127.0.0.1}" in listen for listen in published())


def test_workstations_reach_storage_only_where_that_is_chosen() -> None:
    storage = QUERY["services"]["storage"]
    assert set(QUERY["services"]) == {"storage"}
    assert set(storage["networks"]) == set(QUERY["networks"]) - set(COMPOSE["networks"])
    port = storage["environment"]["RADRELAY_QUERY_PORT"]
    assert storage["ports"] == [f"${{RADRELAY_QUERY_LISTEN:-127.0.0.1}}:{port}:{port}"]
    assert Path(storage["environment"]["RADRELAY_WORKSTATIONS_FILE"]).parent == Path("/etc/radrelay")


def published() -> list[str]:
    return [port for each in COMPOSE["services"].values() for port in each.get("ports", [])]


def test_every_service_reaches_what_it_stands_on() -> None:
    for name in SERVICES:
        addresses = [str(value) for value in service(name)["environment"].values()]
        hosts = {host for address in addresses for host in re.findall(r"^(?:s3|http)://([a-z]+):", address)}
        assert neighbours(name).issuperset(hosts | {"rabbitmq", "mongodb"}), name
    assert neighbours("ingress").issuperset(set(SERVICES) - {"anonymize"})


def test_caddy_sends_every_path_where_the_chart_sends_it(facts: dict[str, Any]) -> None:
    caddyfile = (DEPLOY / "Caddyfile").read_text()
    assert caddyfile.count("reverse_proxy") == 6
    for name, fact in facts.items():
        if "paths" in fact:
            paths = " ".join(f"{path} {path}/*" for path in fact["paths"])
            assert f"@{name} path {paths}\n\treverse_proxy @{name} {name}:8080\n" in caddyfile


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_finds_exactly_its_own_secrets(made: Path, facts: dict[str, Any], name: str) -> None:
    assert binds(name)["/run/secrets/radrelay"] == f"./secrets/services/{name}"
    assert {file.name for file in (made / "services" / name).iterdir()} == set(facts[name]["secrets"])


def test_every_bound_path_is_made_by_the_script_or_kept_in_the_repository(made: Path) -> None:
    for name in COMPOSE["services"]:
        for source in binds(name).values():
            found = made / source.removeprefix("./secrets/") if "/secrets/" in source else DEPLOY / source
            assert found.exists(), source
            assert stat.S_IMODE(found.stat().st_mode) & 0o004, f"{source}: containers read it as another user"


def test_secrets_are_closed_to_other_users_and_to_git(made: Path) -> None:
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert (made / ".gitignore").read_text() == "*\n"


def test_secrets_are_never_made_over_others(
    made: Path, make_secrets: Callable[[Path], subprocess.CompletedProcess[str]]
) -> None:
    before = (made / "services/anonymize/vault_key").read_text()
    again = make_secrets(made)
    assert again.returncode == 1
    assert "its secrets are in use" in again.stderr
    assert (made / "services/anonymize/vault_key").read_text() == before


def test_the_vaults_key_is_256_bits_in_base64(made: Path) -> None:
    assert len(base64.b64decode((made / "services/anonymize/vault_key").read_text(), validate=True)) == 32


def test_no_two_secrets_are_alike_but_the_two_ends_of_one(made: Path) -> None:
    values = [file.read_text() for file in (made / "services").rglob("*") if file.is_file()]
    assert len(values) == len(set(values))
    assert min(map(len, values)) >= 20


def test_the_broker_knows_each_service_by_the_password_in_its_url(made: Path) -> None:
    definitions = json.loads((made / "rabbitmq/definitions.json").read_text())
    hashes = {user["name"]: base64.b64decode(user["password_hash"]) for user in definitions["users"]}
    assert set(hashes) == set(SERVICES)
    for name, salted in hashes.items():
        user, password = re.findall(r"//(.*):(.*)@", (made / f"services/{name}/bus_url").read_text())[0]
        assert user == name
        assert hashlib.sha256(salted[:4] + password.encode()).digest() == salted[4:]
    assert {grant["vhost"] for grant in definitions["permissions"]} == {"radrelay"}


def test_the_database_gives_each_service_its_own_and_no_other(made: Path) -> None:
    script = (made / "mongodb/users.js").read_text()
    granted = re.findall(
        r'getSiblingDB\("(\w+)"\)\.createUser\({user: "(\w+)", pwd: "(\w+)", roles: \["readWrite"\]}', script
    )
    assert granted == [
        (f"radrelay_{name}", name, re.findall(r":(\w+)@", (made / f"services/{name}/documents_url").read_text())[0])
        for name in SERVICES
    ]


def test_storage_keys_open_no_originals(made: Path) -> None:
    clients = {
        store: {identity["name"] for identity in json.loads((made / store / "s3.json").read_text())["identities"]}
        for store in ("blobs", "originals")
    }
    assert clients == {
        "blobs": {"anonymize", "storage", "reporting", "notification", "buckets"},
        "originals": {"ingest", "anonymize", "buckets"},
    }


def test_the_vault_admits_notification_by_its_key(made: Path) -> None:
    keys = {key["id"]: key for key in yaml.safe_load((made / "config/api_keys.yaml").read_text())}
    presented = (made / "services/notification/vault_api_key").read_text()
    assert keys["notification"]["sha256"] == hashlib.sha256(presented.encode()).hexdigest()
    assert keys["notification"]["roles"] == ["service"]
    assert keys["operator"]["roles"] == ["operator"]
