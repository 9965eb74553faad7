"""What is missing or unreachable, in plain words."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from radrelay.client import problem_of
from radrelay.services import SERVICES
from radrelay_shared.connect import connect_blobs, connect_bus, connect_documents
from radrelay_shared.errors import RadRelayError
from radrelay_shared.ports import Blobs, Bus, Documents
from radrelay_shared.service import WATCHDOG_SECONDS
from radrelay_shared.settings import ServiceSettings

ROOM_BYTES = 2 << 30
ANSWER_SECONDS = 2 * WATCHDOG_SECONDS  # whoever is not ready says so by then


@dataclass(frozen=True)
class Finding:
    good: bool
    what: str
    advice: str = ""


async def examine(data: Path, url: str) -> list[Finding]:
    """Every check, in the order in which one would fix things."""
    findings = [python(), room(data), await running(url)]
    settings = ServiceSettings()
    if "RADRELAY_BUS_URL" in os.environ:
        findings.append(await reach("the bus", settings.bus_url, connect_bus(settings.bus_url)))
    if "RADRELAY_DOCUMENTS_URL" in os.environ:
        documents = connect_documents(settings.documents_url)
        findings.append(await reach("the document store", settings.documents_url, documents))
    for name in ("blobs", "originals"):
        place = getattr(settings, f"{name}_url")
        if place:
            access, secret = getattr(settings, f"{name}_access_key"), getattr(settings, f"{name}_secret_key")
            findings.append(await reach(f"the {name} bucket", place, connect_blobs(place, access, secret)))
    return findings


def python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(sys.version_info >= (3, 11), f"Python {version} and {len(SERVICES)} services are installed")


def room(data: Path) -> Finding:
    """Below the reserve, ingest tells scanners to wait."""
    place = data if data.exists() else Path()
    free = shutil.disk_usage(place).free
    advice = "" if free > ROOM_BYTES else "make room: below its reserve RadRelay accepts no images (A700H, HTTP 507)"
    return Finding(free > ROOM_BYTES, f"{free / 1e9:.1f} GB are free where {data} is", advice)


async def running(url: str) -> Finding:
    try:
        async with httpx2.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False) as http:
            answer = await http.get(f"{url}/readyz")
    except httpx2.TransportError:
        return Finding(good=False, what=f"nothing answers at {url}", advice="start it with `radrelay up`")
    if answer.is_success:
        return Finding(good=True, what=f"RadRelay at {url} is ready")
    return Finding(good=False, what=f"what answers at {url} is not ready", advice=str(problem_of(answer)))


async def reach(what: str, url: str, connecting: Coroutine[Any, Any, Bus | Documents | Blobs]) -> Finding:
    """Connect and ask the port itself; the URL is shown without its password."""
    place = f"{what} at {url.rpartition('@')[2]}"
    try:
        port = await connecting
        await port.healthy()
        await port.close()
    except RadRelayError as error:
        return Finding(good=False, what=f"{place} does not work", advice=error.detail)
    return Finding(good=True, what=f"{place} works")
