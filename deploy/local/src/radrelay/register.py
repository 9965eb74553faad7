"""Clinics, radiologists and webhook endpoints from one YAML file, registered through the platform's own APIs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from radrelay.client import Client
from radrelay_shared.errors import Invalid

TABLES = ("sites", "radiologists", "webhooks")


def read(file: Path) -> dict[str, dict[str, Any]]:
    """The file's three tables: sites, radiologists, webhooks (each by id); raises `Invalid` for another file."""
    try:
        found = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        raise Invalid(f"{file} is not YAML{f' (line {where.line + 1})' if where else ''}") from error
    if not isinstance(found, dict) or not set(found) <= set(TABLES):
        raise Invalid(f"{file} must have the tables {', '.join(TABLES)} and no others")
    tables = {name: found.get(name) or {} for name in TABLES}
    for name, table in tables.items():
        if not isinstance(table, dict) or not all(isinstance(facts, dict) for facts in table.values()):
            raise Invalid(f"{file}: {name} must be a table of tables, by id")
    return tables


async def register(tables: dict[str, dict[str, Any]], operator: Client) -> dict[str, str]:
    """Register everything; doing it again changes nothing. Returns each new endpoint's secret by site."""
    for site, facts in tables["sites"].items():
        await operator.call("PUT", f"/ingest/sites/{site}", json=facts)
    for radiologist, facts in tables["radiologists"].items():
        await operator.call("PUT", f"/radiologists/{radiologist}", json=facts)
    listed = await operator.call("GET", "/webhooks/endpoints") if tables["webhooks"] else []
    known = {(each["site"], each["url"]) for each in listed if not each["disabled"]}
    secrets = {}
    for site, facts in tables["webhooks"].items():
        if (site, facts.get("url")) in known:
            continue
        answer = await operator.call("POST", "/webhooks/endpoints", json={"site": site, **facts})
        secrets[site] = answer["secret"]
    return secrets
