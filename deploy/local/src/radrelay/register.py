"""Clinics, radiologists and webhook endpoints from one YAML file, registered through the platform's own APIs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from radrelay.client import Client


def read(file: Path) -> dict[str, dict[str, Any]]:
    """The file's three tables: sites, radiologists, webhooks (each by id)."""
    tables = yaml.safe_load(file.read_text())
    return {name: tables.get(name) or {} for name in ("sites", "radiologists", "webhooks")}


async def register(tables: dict[str, dict[str, Any]], operator: Client) -> dict[str, str]:
    """Register everything; doing it again changes nothing but webhooks. Returns each endpoint's secret by site."""
    for site, facts in tables["sites"].items():
        await operator.call("PUT", f"/ingest/sites/{site}", json=facts)
    for radiologist, facts in tables["radiologists"].items():
        await operator.call("PUT", f"/radiologists/{radiologist}", json=facts)
    secrets = {}
    for site, facts in tables["webhooks"].items():
        answer = await operator.call("POST", "/webhooks/endpoints", json={"site": site, **facts})
        secrets[site] = answer["secret"]
    return secrets
