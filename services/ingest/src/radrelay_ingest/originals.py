"""The life of sealed originals in object storage: locked for a while, and deleted when two people decided so."""

from __future__ import annotations

from datetime import datetime, timedelta

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.studies import Study
from radrelay_shared.packs import read_manifest
from radrelay_shared.ports import Blobs


async def lock(context: IngestContext, study: Study) -> None:
    """Lock the newest batch (S3 object lock, compliance mode): until then nobody deletes or overwrites it.

    Counted from when it was whole, so that doing it again changes nothing.
    """
    days = context.settings.originals_lock_days
    if not days or not study.batches:
        return
    batch = study.batches[-1]
    manifest = await read_manifest(context.originals, batch.manifest)
    for key in (*(series.pack for series in manifest.series), batch.manifest, study.words):
        await context.originals.retain(key, batch.completed_at + timedelta(days=days))


async def delete_originals(originals: Blobs, study: Study, before: datetime) -> int:
    """Delete the batches sealed until then, what conflicted with them, and identities beside; how many objects.

    Whom orders and clinic name stays for batches sealed later. Raises `Refused` if one of them is locked.
    """
    needed = study.words if any(each.completed_at > before for each in study.batches) else ""
    folders = [each.manifest.rpartition("/")[0] for each in study.batches if each.completed_at <= before]
    objects = 0
    for folder in (*folders, f"conflicts/{study.study}", f"identities/{study.study}"):
        for key in [info.key async for info in originals.list(f"{folder}/") if info.key != needed]:
            await originals.delete(key)
            objects += 1
    return objects
