"""Carrying out what two people decided, and proposing what a policy lets go. Broken off, all of it is done again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from radrelay_shared.aggregate import Decision
from radrelay_shared.errors import Conflict, NotFound, RadRelayError, Refused
from radrelay_shared.ports import Eq, Range
from radrelay_storage.access import every_series
from radrelay_storage.attributes import tag
from radrelay_storage.context import StorageContext
from radrelay_storage.custody.chain import Hop
from radrelay_storage.custody.hops import hop, moment
from radrelay_storage.custody.ledger import record
from radrelay_storage.derived.storing import settle
from radrelay_storage.domain import Series, Study, series_key
from radrelay_storage.following import share
from radrelay_storage.lifecycle import keeping as acts
from radrelay_storage.lifecycle.keeping import POLICY, Agreement, Keeping, Proposal, Purged
from radrelay_storage.lifecycle.policy import DAYS, Kept, Rule, age_in_years, keep_until
from radrelay_storage.relations import Relations

log = logging.getLogger("radrelay.storage")

PAGE = 100
SELF = "storage"
MANIFEST = "/manifest.json"


async def decide(context: StorageContext, study: str, act: Callable[[Keeping], Decision[Keeping] | None]) -> Keeping:
    """Change what is known of a study's keeping; `NotFound` if there is, and was, no such study."""
    fresh = await as_it_is(context, study)
    return await context.store.change(Keeping, study, lambda found: act(found or fresh)) or fresh


async def as_it_is(context: StorageContext, study: str) -> Keeping:
    """What is known of a study's keeping, also if nobody has decided anything yet."""
    found = await context.store.read(Keeping, study)
    if found is not None:
        return found
    live = await context.store.read(Study, study)
    if live is None:
        raise NotFound("there is no study of this key for you here")
    return Keeping(study=study, site=live.site, study_instance_uid=live.study_instance_uid)


# ── the ledger's side of it ──────────────────────────────────────────────────────────────────────────


async def note(context: StorageContext, keeping: Keeping, *hops: Hop) -> None:
    await record(context.store, keeping.study, keeping.site, hops)


def proposal_hops(proposal: Proposal) -> list[Hop]:
    """The proposal, and each agreement but the proposer's own."""
    said = hop(
        "purge-proposed", f"purge-proposed {moment(proposal.at)}", proposal.at, proposal.by, reason=proposal.reason
    )
    others = [each for each in proposal.agreed if each.by != proposal.by]
    return [said, *(approval_hop(each) for each in others)]


def approval_hop(agreement: Agreement) -> Hop:
    return hop("purge-approved", f"purge-approved {agreement.by} {moment(agreement.at)}", agreement.at, agreement.by)


async def approve(context: StorageContext, study: str, by: str) -> Keeping:
    """Agree to a purge; a refusal is in the ledger, too, and with the last agreement the study goes."""
    now = context.clock()
    live = await context.store.read(Study, study)
    batches = tuple(each.batch for each in live.batches) if live else ()
    try:
        keeping = await decide(context, study, partial(acts.approved, by=by, at=now, batches=batches))
    except Refused as refusal:
        if known := await context.store.read(Keeping, study):
            mark = f"purge-refused {by} {moment(now)}"
            await note(context, known, hop("purge-refused", mark, now, by, why=refusal.detail))
        raise
    if keeping.purged is None and keeping.proposal is not None:
        await note(context, keeping, *proposal_hops(keeping.proposal))
    elif keeping.purged is not None:
        await carry_out(context, study)
    return keeping


# ── carrying out ─────────────────────────────────────────────────────────────────────────────────────


async def carry_out(context: StorageContext, study: str) -> None:
    """Hide the study, delete its copies, and leave the proof: ledger and tombstone."""
    keeping = await context.store.read(Keeping, study)
    if keeping is None or keeping.purged is None or keeping.purged.carried_out:
        return
    await note(context, keeping, *proposal_hops(keeping.purged.proposal))
    await settle(study, context)
    await _unshared(context, study)
    await _forgotten(context, Study, study)
    for each in await every_series(study, context):
        await _forgotten(context, Series, series_key(study, each.series_instance_uid))
    context.seen.forget()
    objects = await _deleted(context, study, keeping.purged)
    gone = hop("deleted", "deleted copies", keeping.purged.at, SELF, what="copies", objects=objects)
    await note(context, keeping, gone)
    await context.store.change(Keeping, study, acts.carried_out)


async def _unshared(context: StorageContext, study: str) -> None:
    """Nobody sees the patient's earlier studies through this one any more."""
    found = await context.store.read(Study, study)
    if found is not None:
        nobody = Relations(change=found.relations.change + 1)
        await share(found.model_copy(update={"relations": nobody}), context)


async def _forgotten(context: StorageContext, kind: type[Study | Series], key: str) -> None:
    """Raises `Conflict` while events of it, or objects derived from it, are still on their way."""
    found = await context.store.documents.get(kind.collection, key)
    if found is not None and found.state.get("claim"):
        raise Conflict(f"derived objects of {key} come at this moment")
    if found is not None:
        await context.store.documents.delete(kind.collection, key, revision=found.revision)


async def _deleted(context: StorageContext, study: str, purged: Purged) -> int:
    """Delete every object of the study's batches, here and in the pack cache; how many there were."""
    keys = [info.key async for info in context.blobs.list(f"{study}/")]
    for key in (key for key in keys if key.endswith(MANIFEST)):
        await context.shelf.forget(key)
    for key in keys:  # in order, and so packs before the manifest that names them
        await context.blobs.delete(key)
    log.info("%d objects of %s, batches %s, were purged", len(keys), study, purged.batches)
    return len(keys)


# ── what runs beside ─────────────────────────────────────────────────────────────────────────────────


async def finish_purges(context: StorageContext) -> None:
    """Go on with what a crash, or a store that could not be reached, broke off."""
    for each in await context.store.find(Keeping, [Eq("state", "purging")], sort="study", limit=PAGE):
        try:
            await carry_out(context, each.study)
        except (Conflict, RadRelayError) as error:
            log.warning("the purge of %s goes on later: %s", each.study, error.detail)


async def propose_expired(context: StorageContext, rules: Sequence[Rule]) -> int:
    """Propose what the policy lets go, and nothing more: people decide. How many proposals that made."""
    now, made, offset = context.clock(), 0, 0
    shortest = min((rule.years for rule in rules), default=0)
    old = [Range("received_at", high=(now - timedelta(days=DAYS * shortest)).isoformat())]
    while page := await context.store.find(Study, old, sort="received_at", limit=PAGE, offset=offset):
        offset += len(page)
        made += sum([await _proposed(context, study, rules, now) for study in page])
    return made


async def _proposed(context: StorageContext, study: Study, rules: Sequence[Rule], now: datetime) -> bool:
    found = keep_until(rules, kept(study))
    keeping = await context.store.read(Keeping, study.study)
    if found is None or now.date() < found[0] or (keeping and (keeping.holds or keeping.proposal or keeping.purged)):
        return False
    act = partial(acts.proposed, reason="expired", by=f"{POLICY}{found[1].rule}", at=now)
    keeping = await decide(context, study.study, act)
    if keeping.proposal:
        await note(context, keeping, *proposal_hops(keeping.proposal))
    return True


def kept(study: Study) -> Kept:
    ages = study.attributes.get(tag("PatientAge"), {}).get("Value", [""])
    return Kept(study.jurisdiction, study.modalities, study.received_at, age_in_years(str(ages[0])))
