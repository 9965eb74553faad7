"""Make every secret of an installation, once, as files: for deploy/compose.yaml, or for Kubernetes Secrets.

    .venv/bin/python scripts/make_secrets.py [--folder deploy/secrets] [--bus amqps://HOST] [--documents mongodb://HOST]

    <folder>/services/<service>/<setting>   one file per secret setting, mounted at /run/secrets/radrelay
    <folder>/config/                        api_keys.yaml (hashes only), jwks.json
    <folder>/rabbitmq, mongodb, blobs, originals   the servers' own: one user per service, with its own rights only
    <folder>/operator_key                   the API key of the first operator

Nothing has a default password, and nothing is ever overwritten: without the vault's key, the vault is noise.
Which service gets which secret is the chart's table, files/services.yaml.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import secrets
import sys
from pathlib import Path
from typing import Any

import yaml

from radrelay_shared.security import EVERY_SITE, ApiKey, Role, new_api_key

ROOT = Path(__file__).resolve().parent.parent
FACTS = ROOT / "deploy" / "helm" / "radrelay" / "files" / "services.yaml"
BUCKETS = {"blobs": "radrelay-deidentified", "originals": "radrelay-originals"}
S3_VERBS = ("Read", "Write", "List", "Tagging", "GetObjectRetention", "PutObjectRetention")
BUCKET_KEYS = [f"{store}_{part}_key" for store in BUCKETS for part in ("access", "secret")]  # who makes the buckets
VHOST = "radrelay"
Files = dict[str, str]  # path below the folder → text


def password(setting: str = "") -> str:
    """Random bits that need no quoting in URLs, YAML or JavaScript: 256, or as few as MinIO allows in its keys."""
    bits = {"access_key": 80, "secret_key": 160}.get(setting.partition("_")[2], 256)
    return secrets.token_hex(bits // 8)


def key(_: str) -> str:
    """A cryptographic key of 256 bits in Base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def service_secrets(name: str, settings: list[str], bus: str, documents: str, vault_api_key: str) -> Files:
    """The secret settings of one service."""
    makers = {
        "bus_url": lambda _: f"{bus.replace('://', f'://{name}:{password()}@')}/{VHOST}",
        "documents_url": lambda _: f"{documents.replace('://', f'://{name}:{password()}@')}/{database(name)}",
        "vault_api_key": lambda _: vault_api_key,
        **dict.fromkeys(("identity_key", "tenant_secret", "vault_key", "custody_key", "viewer_key"), key),
    }
    return {setting: makers.get(setting, password)(setting) for setting in settings}


def database(service: str) -> str:
    return f"radrelay_{service}"


def password_in(url: str) -> str:
    return url.partition("@")[0].rpartition(":")[2]


def rabbitmq_definitions(services: dict[str, Files]) -> str:
    """One user per service in one virtual host that holds nothing but RadRelay's queues."""
    users = [
        {"name": name, "password_hash": rabbitmq_hash(password_in(files["bus_url"])), "tags": []}
        | {"hashing_algorithm": "rabbit_password_hashing_sha256"}
        for name, files in services.items()
    ]
    everything = {"vhost": VHOST, "configure": ".*", "write": ".*", "read": ".*"}
    permissions = [{"user": name, **everything} for name in services]
    return json.dumps({"users": users, "vhosts": [{"name": VHOST}], "permissions": permissions}, indent=1)


def rabbitmq_hash(plain: str) -> str:
    """Base64 of salt and SHA-256 of salt and password (RabbitMQ, "Credentials and Passwords")."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + plain.encode()).digest()).decode()


def mongodb_users(services: dict[str, Files]) -> str:
    """A script for mongosh: each service reads and writes its own database, and sees no other."""
    lines = [
        f'db.getSiblingDB("{database(name)}").createUser({{user: "{name}", '
        f'pwd: "{password_in(files["documents_url"])}", roles: ["readWrite"]}});'
        for name, files in services.items()
    ]
    return "\n".join(lines) + "\n"


def s3_identities(store: str, services: dict[str, Files]) -> str:
    """The SeaweedFS identities of one server: a pair of keys per service that may use its only bucket."""
    keys = {
        name: (files[f"{store}_access_key"], files[f"{store}_secret_key"])
        for name, files in services.items()
        if f"{store}_access_key" in files
    }
    actions = {
        name: ["Admin"] if name == "buckets" else [f"{verb}:{BUCKETS[store]}" for verb in S3_VERBS] for name in keys
    }
    return json.dumps({"identities": [identity(name, *keys[name], actions[name]) for name in keys]}, indent=1)


def identity(name: str, access_key: str, secret_key: str, actions: list[str]) -> dict[str, Any]:
    return {"name": name, "credentials": [{"accessKey": access_key, "secretKey": secret_key}], "actions": actions}


def api_keys_yaml(*keys: ApiKey) -> str:
    return yaml.safe_dump([key.model_dump(mode="json") for key in keys], sort_keys=False)


def make(bus: str, documents: str) -> Files:
    """Every file of a new installation."""
    facts: dict[str, Any] = yaml.safe_load(FACTS.read_text())
    vault_secret, vault_key = new_api_key("notification", {Role.SERVICE}, {EVERY_SITE})
    operator_secret, operator_key = new_api_key("operator", {Role.OPERATOR}, {EVERY_SITE})
    wanted = {name: fact["secrets"] for name, fact in facts.items()} | {"buckets": BUCKET_KEYS}
    services = {
        name: service_secrets(name, settings, bus, documents, vault_secret) for name, settings in wanted.items()
    }
    clients = {name: services[name] for name in facts}
    return {
        ".gitignore": "*\n",
        "operator_key": operator_secret,
        "config/api_keys.yaml": api_keys_yaml(vault_key, operator_key),
        "config/jwks.json": '{"keys": []}\n',
        "rabbitmq/definitions.json": rabbitmq_definitions(clients),
        "mongodb/root_password": password(),
        "mongodb/users.js": mongodb_users(clients),
        **{f"{store}/s3.json": s3_identities(store, services) for store in BUCKETS},
        **{f"services/{name}/{key}": text for name, files in services.items() for key, text in files.items()},
    }


def write(folder: Path, files: Files) -> None:
    """Only the owner can enter the folder; below it, files are readable, for containers read them as other users."""
    folder.mkdir(parents=True, mode=0o700)
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.parent != folder:
            file.parent.chmod(0o755)
        file.write_text(text)
        file.chmod(0o644)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make every secret of a RadRelay installation, once.")
    parser.add_argument("--folder", type=Path, default=ROOT / "deploy" / "secrets")
    parser.add_argument("--bus", default="amqp://rabbitmq:5672", help="the broker, without user or path")
    parser.add_argument("--documents", default="mongodb://mongodb:27017", help="the server, without user or path")
    given = parser.parse_args()
    if given.folder.exists():
        sys.exit(f"{given.folder} exists: its secrets are in use, or were; back them up and move them away first")
    write(given.folder, make(given.bus, given.documents))
    print(f"Secrets are in {given.folder}. Back them up: without them, stored identities cannot be read.")
    print(f"Add your issuer's public keys to {given.folder}/config/jwks.json.")


if __name__ == "__main__":
    main()
