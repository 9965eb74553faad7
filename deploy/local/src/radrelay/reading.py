"""A scripted radiologist: takes the next workitem, looks at the pixels over DICOMweb, reports, signs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from dicomweb_client import DICOMwebClient

from radrelay.client import Client

IDLE_SECONDS = 0.15
NEWS_SECONDS = 60  # for the news of a claim to reach storage, which says 404 until then
NOT_FOUND = 404


@dataclass(frozen=True)
class Reading:
    """One study read: how many instances and bytes of pixel data went over the wire."""

    radiologist: str
    study: str
    instances: int
    pixel_bytes: int


async def read_next(radiologist: str, client: Client) -> Reading | None:
    """Claim, look, report, sign; None if there is nothing to read now."""
    item = await client.call("POST", "/worklist/next")
    return None if item is None else await read(radiologist, item, client)


async def read(radiologist: str, item: dict[str, Any], client: Client) -> Reading:
    """Look, report, sign a workitem that is claimed."""
    instances, size = await asyncio.to_thread(look, client, item["study_instance_uid"])
    text = {
        "findings": f"{instances} instances reviewed.",
        "impression": f"Demonstration report on a {item['subspecialty']} study: no finding is claimed.",
    }
    await client.call("PUT", f"/reports/{item['study']}", json=text)
    await client.call("POST", f"/reports/{item['study']}/sign")
    return Reading(radiologist, item["study"], instances, size)


def look(client: Client, study: str) -> tuple[int, int]:
    """Every instance's metadata, and every frame's pixels as stored."""
    url = client.url("/dicom-web/").rstrip("/")
    web = DICOMwebClient(url, headers={"Authorization": f"Bearer {client.token}"})
    metadata, size = described(web, study), 0
    for instance in metadata:
        series, sop = instance["0020000E"]["Value"][0], instance["00080018"]["Value"][0]
        if "00280010" in instance:  # Rows: it has pixels
            frames = range(1, int(instance.get("00280008", {}).get("Value", [1])[0]) + 1)
            pixels = web.retrieve_instance_frames(study, series, sop, list(frames), media_types=("*/*",))
            size += sum(len(frame) for frame in pixels)
    return len(metadata), size


def described(web: DICOMwebClient, study: str) -> list[dict[str, Any]]:
    """Every instance's metadata of a study that was just claimed."""
    deadline = time.monotonic() + NEWS_SECONDS
    while True:
        try:
            found: list[dict[str, Any]] = web.retrieve_study_metadata(study)
            return found
        except OSError as error:  # requests' HTTPError is one
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status != NOT_FOUND or time.monotonic() > deadline:
                raise
        time.sleep(IDLE_SECONDS)
