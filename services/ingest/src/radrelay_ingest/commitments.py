"""What is durable here, for those who ask before they delete."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.commitments import Commitment, Reference, judged
from radrelay_ingest.domain.studies import Study
from radrelay_ingest.packing import opened
from radrelay_shared.packs import read_manifest
from radrelay_shared.ports import Eq

LOOKED_THROUGH = 500  # of the site's studies, the latest ones; what is not among them is not vouched for


async def verdict_on(context: IngestContext, wish: Commitment) -> tuple[list[Reference], list[tuple[Reference, int]]]:
    """Which of the instances are durable here."""
    found = await durable(context, wish.site, {each.sop_instance_uid for each in wish.references})
    return judged(wish.references, found)


async def durable(context: IngestContext, site: str, wanted: set[str]) -> dict[str, str]:
    """SOP class by SOP instance of those that are in the spool or sealed; looks no further than it needs to."""
    found = await asyncio.to_thread(_in_spool, context, site, wanted)
    studies = await context.store.find(
        Study, [Eq("site", site)], sort="received_at", descending=True, limit=LOOKED_THROUGH
    )
    for study in studies:
        for batch in study.batches:
            if wanted <= found.keys():
                return found
            manifest = await read_manifest(context.originals, batch.manifest)
            instances = [each for series in manifest.series for each in series.instances]
            found |= {
                each.sop_instance_uid: each.sop_class_uid for each in instances if each.sop_instance_uid in wanted
            }
    return found


def _in_spool(context: IngestContext, site: str, wanted: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for study in context.spool.claimed() | context.spool.waiting().keys():
        with suppress(FileNotFoundError):  # it was sealed this moment, and is found there
            if context.spool.arrival(study).site == site:
                heads = (opened(each).head for each in context.spool.batch(study))
                found |= {
                    head.sop_instance_uid: head.sop_class_uid for head in heads if head.sop_instance_uid in wanted
                }
    return found
