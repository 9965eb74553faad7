"""Verification: chain, checkpoints and objects of one study, to the first thing that does not hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from radrelay_shared.aggregate import Store
from radrelay_shared.errors import NotFound
from radrelay_shared.ports import Blobs
from radrelay_storage.custody.chain import NOT_YET, START, Link, first_break, link_id
from radrelay_storage.custody.checkpoints import Checkpoint, Head, Signer, checkpoint_id
from radrelay_storage.custody.ledger import whole_chain
from radrelay_storage.custody.objects import first_fault

HAVE_OBJECTS = ("de-identified", "derived")


class Verdict(BaseModel):
    """What was looked at, and the first thing that is not as it should be."""

    subject: Annotated[str, Field(description="a study's key, or `checkpoint N`")]
    entries: int
    batches: int = 0  # whose objects were read again
    uncovered: int = 0  # entries that no checkpoint has signed yet
    broken: str | None = None


async def verify_study(store: Store, blobs: Blobs, keys: Signer | None, study: str) -> Verdict:
    """Read everything again; takes as long as reading the study does. `NotFound` if the ledger has no such study."""
    links = await whole_chain(store, study)
    if not links:
        raise NotFound("the ledger has no study of this key")
    live = living(links)
    return Verdict(
        subject=study,
        entries=len(links),
        batches=len(live),
        uncovered=sum(link.covered == NOT_YET for link in links),
        broken=await first([_broken_chain(links), _broken_checkpoint(store, keys, links), _broken_object(blobs, live)]),
    )


async def first(checks: Sequence[AsyncIterator[str]]) -> str | None:
    """The first word of the first check that has anything to say."""
    for check in checks:
        async for broken in check:
            return broken
    return None


async def _broken_chain(links: Sequence[Link]) -> AsyncIterator[str]:
    if broken := first_break(links):
        yield broken


async def _broken_checkpoint(store: Store, keys: Signer | None, links: Sequence[Link]) -> AsyncIterator[str]:
    """Those that cover the chain: signed by a known key, and for the links that are there."""
    for number in sorted({link.covered for link in links} - {NOT_YET}):
        checkpoint = await store.read(Checkpoint, checkpoint_id(number))
        if checkpoint is None:
            yield f"checkpoint {number} is missing"
            return
        if broken := unsigned(checkpoint, keys):
            yield broken
        head = checkpoint.heads.get(links[0].study)
        if head is None or not any(same(link, head) for link in links):
            yield f"checkpoint {number} signed another chain than the one that is there"


async def _broken_object(blobs: Blobs, live: Sequence[Link]) -> AsyncIterator[str]:
    for link in live:
        manifest, sha256 = str(link.facts["manifest"]), str(link.facts.get("manifest_sha256", ""))
        if fault := await first_fault(blobs, manifest, sha256):
            yield f"object {fault}"


def living(links: Sequence[Link]) -> list[Link]:
    """The links whose batches are there, of copies and of what was derived from them: made, and not deleted since."""
    gone = max(
        (link.number for link in links if link.kind == "deleted" and link.facts.get("what") == "copies"), default=0
    )
    return [link for link in links if link.kind in HAVE_OBJECTS and link.number > gone]


def unsigned(checkpoint: Checkpoint, keys: Signer | None) -> str | None:
    if keys is None:
        return f"checkpoint {checkpoint.number} cannot be verified: RADRELAY_CUSTODY_KEY is not set"
    if not keys.vouches(checkpoint):
        return f"checkpoint {checkpoint.number} was changed, or signed with a key that is not known here"
    return None


def same(link: Link, head: Head) -> bool:
    return (link.number, link.sha256) == (head.number, head.sha256)


async def verify_checkpoint(store: Store, keys: Signer | None, number: int) -> Verdict:
    """One checkpoint: its signature, its place after the one before, and that every head it signed is still there."""
    checkpoint = await store.read(Checkpoint, checkpoint_id(number))
    if checkpoint is None:
        raise NotFound(f"there is no checkpoint {number}")
    broken = await first([_broken_place(store, keys, checkpoint), _broken_heads(store, checkpoint)])
    return Verdict(subject=f"checkpoint {number}", entries=len(checkpoint.heads), broken=broken)


async def _broken_place(store: Store, keys: Signer | None, checkpoint: Checkpoint) -> AsyncIterator[str]:
    if broken := unsigned(checkpoint, keys):
        yield broken
    before = await store.read(Checkpoint, checkpoint_id(checkpoint.number - 1)) if checkpoint.number > 1 else None
    if checkpoint.previous != (before.sha256 if before else START):
        yield f"checkpoint {checkpoint.number} does not follow from checkpoint {checkpoint.number - 1}"


async def _broken_heads(store: Store, checkpoint: Checkpoint) -> AsyncIterator[str]:
    for study, head in checkpoint.heads.items():
        link = await store.read(Link, link_id(study, head.number))
        if link is None or not same(link, head):
            yield f"entry {head.number} of {study}, signed by checkpoint {checkpoint.number}, is missing or replaced"
