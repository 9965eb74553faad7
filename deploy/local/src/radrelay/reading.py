"""A scripted radiologist: takes the next workitem, looks at the pixels over DICOMweb, reports, signs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from dicomweb_client import DICOMwebClient

from radrelay.client import Client

IDLE_SECONDS = 0.15


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
    metadata: list[dict[str, Any]] = web.retrieve_study_metadata(study)
    size = 0
    for instance in metadata:
        series, sop = instance["0020000E"]["Value"][0], instance["00080018"]["Value"][0]
        if "00280010" in instance:  # Rows: it has pixels
            frames = range(1, int(instance.get("00280008", {}).get("Value", [1])[0]) + 1)
            pixels = web.retrieve_instance_frames(study, series, sop, list(frames), media_types=("*/*",))
            size += sum(len(frame) for frame in pixels)
    return len(metadata), size
