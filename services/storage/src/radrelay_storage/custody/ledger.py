"""Writing in the ledger and reading it. A chain cannot fork: a link's number is its key, and only one gets it."""

from __future__ import annotations

from collections.abc import Sequence

from radrelay_shared.aggregate import Decision, Store
from radrelay_shared.errors import Conflict
from radrelay_shared.ports import Eq, Range, Where
from radrelay_storage.custody.chain import Hop, Link, linked

RACES = 100
PAGE = 1000


async def record(store: Store, study: str, site: str, hops: Sequence[Hop]) -> None:
    """Add what is not in the chain yet; durable on return. Doing it again changes nothing."""
    for each in hops:
        await _record(store, study, site, each)


async def _record(store: Store, study: str, site: str, hop: Hop) -> None:
    """The last link is read first, so that whoever wrote the same hop meanwhile is either seen or in the way."""
    for _ in range(RACES):
        last = await last_link(store, study)
        if await store.find(Link, [Eq("study", study), Eq("mark", hop.mark)], limit=1):
            return
        link = linked(last, study, site, hop)
        if await _added(store, link):
            return
    raise Conflict(f"the ledger of {study} is written by others all the time; this comes again later")


async def _added(store: Store, link: Link) -> bool:
    kept = await store.change(Link, link.id, lambda found: None if found else Decision(link))
    return kept is not None and kept.sha256 == link.sha256


async def last_link(store: Store, study: str) -> Link | None:
    found = await store.find(Link, [Eq("study", study)], sort="number", descending=True, limit=1)
    return found[0] if found else None


async def links_of(store: Store, study: str, *, after: int = 0, limit: int = PAGE) -> list[Link]:
    """The study's links from the one after this number on, in order."""
    where: list[Where] = [Eq("study", study), Range("number", low=after + 1)]
    return await store.find(Link, where, sort="number", limit=limit)


async def first_links(store: Store, after: str, within: Sequence[Where], *, limit: int = PAGE) -> list[Link]:
    """The first link of each study whose key comes after this one, a page of them, by key."""
    later = f"{after}!"  # sorts before everything that begins with the key
    return await store.find(Link, [Eq("number", 1), Range("study", low=later), *within], sort="study", limit=limit)


async def whole_chain(store: Store, study: str) -> list[Link]:
    found: list[Link] = []
    while more := await links_of(store, study, after=found[-1].number if found else 0):
        found += more
    return found
