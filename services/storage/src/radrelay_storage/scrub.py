"""The scrubber: reads every stored byte again at a set rate, round after round, and has what is bad made again."""

from __future__ import annotations

import asyncio
import logging
from typing import ClassVar

from pydantic import AwareDatetime

from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.errors import RadRelayError
from radrelay_shared.events import PackDamaged, PackRestored
from radrelay_storage.context import StorageContext
from radrelay_storage.custody.chain import Link
from radrelay_storage.custody.hops import hop, moment
from radrelay_storage.custody.ledger import first_links, record, whole_chain
from radrelay_storage.custody.objects import Fault, first_fault
from radrelay_storage.custody.verify import living
from radrelay_storage.domain import DERIVED

log = logging.getLogger("radrelay.storage")

CURSOR = "cursor"
SELF = "storage"


class Progress(Aggregate):
    """How far the round under way has come; what was read since the last write of it is read again after a crash."""

    collection: ClassVar[str] = "scrub"

    after: str = ""  # the study that was read last
    rounds: int = 0


class Damage(Aggregate):
    """A batch of which something was bad."""

    collection: ClassVar[str] = "damages"

    study: str
    site: str
    batch: int
    object: str  # key
    why: str
    at: AwareDatetime
    restored: bool = False


def damage_id(study: str, batch: int) -> str:
    return f"{study}.{batch}"


async def scrub(context: StorageContext) -> None:
    """Round after round until cancelled, a rest before each and after an error; at 0 bytes a second, never.

    The first rest is for readers: a store that has just begun to read a pack for nobody keeps them waiting.
    """
    if not context.settings.scrub_bytes_per_second:
        await asyncio.Event().wait()
    going_on = False
    while True:
        if not going_on:
            await asyncio.sleep(context.settings.scrub_rest_seconds)
        try:
            going_on = await scrub_next(context)
        except RadRelayError as error:
            log.warning("the scrubber goes on later: %s", error.detail)
            going_on = False


async def scrub_next(context: StorageContext) -> bool:
    """Read the next study of the round; False at the round's end."""
    store = context.store
    progress = await store.read(Progress, CURSOR) or Progress()
    page = await first_links(store, progress.after, (), limit=1)
    for first in page:
        await _study(context, first.study)
    done = Progress(after=page[0].study, rounds=progress.rounds) if page else Progress(rounds=progress.rounds + 1)
    await store.change(Progress, CURSOR, lambda _: Decision(done))
    return bool(page)


async def _study(context: StorageContext, study: str) -> None:
    rate = context.settings.scrub_bytes_per_second

    async def pace(length: int) -> None:
        await asyncio.sleep(length / rate)

    for link in living(await whole_chain(context.store, study)):
        manifest, sha256 = str(link.facts["manifest"]), str(link.facts.get("manifest_sha256", ""))
        if fault := await first_fault(context.blobs, manifest, sha256, pace):
            await _damaged(context, link, fault, sha256)


async def _damaged(context: StorageContext, link: Link, fault: Fault, sha256: str) -> None:
    """Note it and ask for the batch to be made again: in every round, for as long as it is bad."""
    now, batch = context.clock(), int(link.facts["batch"])
    derived = batch >= DERIVED  # there are no originals of it
    mended = "restore it from a backup" if derived else "it is made again from the originals"
    log.error("%s is damaged: %s; %s", fault.object, fault.why, mended)
    damage = Damage(study=link.study, site=link.site, batch=batch, object=fault.object, why=fault.why, at=now)
    told = PackDamaged(site=link.site, study=link.study, batch=batch, object=fault.object, manifest_sha256=sha256)
    asked = [] if derived else [told]
    seen = hop("damaged", f"damaged {batch} {moment(now)}", now, SELF, batch=batch, object=fault.object, why=fault.why)
    await record(context.store, link.study, link.site, [seen])
    await context.store.change(Damage, damage_id(link.study, batch), lambda _: Decision(damage, asked))


async def is_restored(context: StorageContext, event: PackRestored) -> bool:
    """Believe it once it was read again; as long as it is bad, every round asks anew."""
    for link in living(await whole_chain(context.store, event.study)):
        if link.facts["batch"] != event.batch:
            continue
        sha256 = str(link.facts.get("manifest_sha256", ""))
        if fault := await first_fault(context.blobs, str(link.facts["manifest"]), sha256):
            log.error("batch %d of %s was made again, and is still bad: %s", event.batch, event.study, fault)
            return False

    def mended(damage: Damage | None) -> Decision[Damage] | None:
        return Decision(damage.model_copy(update={"restored": True})) if damage else None

    await context.store.change(Damage, damage_id(event.study, event.batch), mended)
    return True
