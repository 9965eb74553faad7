"""The vault: identities, and UIDs of originals, under envelopes, from before the first copy until they are purged."""

from __future__ import annotations

import asyncio
import json
import logging
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import ClassVar, TypeVar

from pydantic import AwareDatetime

from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain.cases import Case, identified, purged
from radrelay_anonymize.domain.identity import Identity
from radrelay_anonymize.domain.profile import Profile
from radrelay_anonymize.domain.pseudonyms import mapped_uid, pseudonym
from radrelay_anonymize.domain.seals import Keyring, key_of, resealed, seal, unseal
from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.errors import NotFound, RadRelayError
from radrelay_shared.ports import Eq, Index

log = logging.getLogger("radrelay.anonymize")

REWRAP_AT_ONCE = 100
SOON, LATER = 60.0, 3600.0  # seconds until entries of older keys are looked for again
MOST_STUDIES = 10_000  # of one patient


class Uids(Aggregate):
    """The UIDs of one batch's originals, sealed: those of the copies follow from them."""

    collection: ClassVar[str] = "uids"
    indexes: ClassVar[tuple[Index, ...]] = (Index("uids", ("study",)), Index("uids", ("key",)))

    id: str  # study and batch
    study: str
    site: str
    sealed: str
    key: str


class Called(Aggregate):
    """What the clinic calls a study's patient now, sealed: reports go back under that, copies stay as they are."""

    collection: ClassVar[str] = "called"
    indexes: ClassVar[tuple[Index, ...]] = (Index("called", ("study",)), Index("called", ("key",)))

    id: str  # study and "called"
    study: str
    site: str
    sealed: str
    key: str
    told_at: AwareDatetime


Entry = TypeVar("Entry", Case, Uids, Called)
Beside = TypeVar("Beside", Uids, Called)
KINDS: tuple[type[Case | Uids | Called], ...] = (Case, Uids, Called)


async def keep(context: AnonymizeContext, site: str, study: str, found: Identity, profile: Profile) -> Case:
    """The study's case with its one identity, sealed before any copy is made: the first that was found.

    The profile stays with it, for all batches of a study fare alike.
    """
    sealed = seal(context.keys, site, study, found.model_dump_json().encode())
    fresh = Case(
        study=study,
        site=site,
        sealed=sealed,
        key=key_of(sealed),
        pseudonym=pseudonym(context.tenant_secret, site, *found.whose),
        profile=profile,
    )
    return await context.store.change(Case, study, partial(identified, fresh=fresh)) or fresh


def identity_in(context: AnonymizeContext, case: Case) -> Identity:
    """Raises `NotFound` if the vault has none, `Invalid` if the entry was changed or its key is not here."""
    if not case.sealed:
        was = "was purged" if case.purged else "is not known: no instance of it could be read"
        raise NotFound(f"the identity of {case.study} {was}")
    return Identity.model_validate_json(unseal(context.keys, case.site, case.study, case.sealed))


async def keep_called(context: AnonymizeContext, site: str, study: str, content: bytes, told_at: datetime) -> None:
    """Remember what the patient is called now, unless a later word is known or the study was purged."""
    case = await context.store.read(Case, study)
    if case is not None and case.purged:
        return
    key = f"{study}.called"
    sealed = seal(context.keys, site, key, content)
    fresh = Called(id=key, study=study, site=site, sealed=sealed, key=key_of(sealed), told_at=told_at)
    await context.store.change(
        Called, key, lambda known: None if known and known.told_at >= told_at else Decision(fresh)
    )


async def current_identity(context: AnonymizeContext, case: Case) -> Identity:
    """The study's identity as the clinic knows it now; raises as `identity_in`."""
    identity = identity_in(context, case)
    entry = await context.store.read(Called, f"{case.study}.called")
    if entry is None or not entry.sealed:
        return identity
    said = json.loads(unseal(context.keys, entry.site, entry.id, entry.sealed))
    return identity.model_copy(update={"patient": identity.patient.model_copy(update=said)})


async def keep_uids(context: AnonymizeContext, case: Case, batch: int, uids: Iterable[str]) -> None:
    """Remember the UIDs of a batch's originals, so that references to copies find the way back."""
    key = f"{case.study}.{batch}"
    content = zlib.compress(json.dumps(sorted(set(uids))).encode())
    sealed = seal(context.keys, case.site, key, content)
    entry = Uids(id=key, study=case.study, site=case.site, sealed=sealed, key=key_of(sealed))
    await context.store.change(Uids, key, lambda _: Decision(entry))


async def uids_of_patient(context: AnonymizeContext, case: Case) -> Mapping[str, str]:
    """UIDs of originals by those of their copies, of all the patient's studies: results refer to priors, too."""
    found: dict[str, str] = {}
    for each in await cases_of_patient(context, case):
        for entry in await context.store.find(Uids, [Eq("study", each.study)], limit=MOST_STUDIES):
            content = unseal(context.keys, entry.site, entry.id, entry.sealed)
            uids: list[str] = json.loads(zlib.decompress(content))
            found |= {mapped_uid(context.tenant_secret, uid): uid for uid in uids}
    return found


async def cases_of_patient(context: AnonymizeContext, case: Case) -> list[Case]:
    """The patient's studies at this site; the case alone if nobody knows whose it is."""
    if not case.pseudonym:
        return [case]
    found = await context.store.find(Case, [Eq("pseudonym", case.pseudonym)], limit=MOST_STUDIES)
    return [each for each in found if each.site == case.site]


async def purge(context: AnonymizeContext, study: str) -> None:
    """Destroy the way back of one study: identity and UIDs. Doing it again changes nothing."""
    await _emptied_all(context, Uids, study)
    await _emptied_all(context, Called, study)
    await context.store.change(Case, study, purged)


async def _emptied_all(context: AnonymizeContext, kind: type[Beside], study: str) -> None:
    for entry in await context.store.find(kind, [Eq("study", study)], limit=MOST_STUDIES):
        await context.store.change(kind, entry.id, _emptied)


def _emptied(entry: Beside | None) -> Decision[Beside] | None:
    return Decision(entry.model_copy(update={"study": "", "sealed": "", "key": ""})) if entry else None


# ── rotation ──


async def rewrap(context: AnonymizeContext) -> None:
    """Move every entry under the current master key, until cancelled: processes with an older keyring make new ones.

    A key that opens none any more (`left_under`) can be taken away.
    """
    while True:
        left = await _left_after_moving(context)
        await asyncio.sleep((SOON if left else LATER) * context.settings.retry_scale)


async def _left_after_moving(context: AnonymizeContext) -> int:
    """Move what can be moved; how many entries could not be."""
    left = 0
    for key in context.keys.retired:
        for kind in KINDS:
            left += await _moved(context, kind, key)
    return left


async def _moved(context: AnonymizeContext, kind: type[Case | Uids | Called], key: str) -> int:
    stuck = 0
    while found := await context.store.find(kind, [Eq("key", key)], limit=REWRAP_AT_ONCE, offset=stuck):
        for entry in found:
            try:
                await context.store.change(kind, entry.id, partial(_under_current_key, keys=context.keys))
            except RadRelayError as error:
                log.warning("an entry of the vault cannot be moved to its current key now", exc_info=error)
                stuck += 1
    return stuck


def _under_current_key(entry: Entry | None, keys: Keyring) -> Decision[Entry] | None:
    if entry is None or not entry.sealed:
        return None
    sealed = resealed(keys, entry.site, entry.sealed)
    return Decision(entry.model_copy(update={"sealed": sealed, "key": key_of(sealed)}))


async def left_under(context: AnonymizeContext, key: str) -> int:
    """How many entries this master key opens."""
    return sum([await context.store.count(kind, [Eq("key", key)]) for kind in KINDS])
