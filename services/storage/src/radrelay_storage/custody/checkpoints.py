"""Signed checkpoints (Ed25519, RFC 8032) over the heads of the chains that grew, each bound to the one before.

A chain that was made anew from some link on, with every hash right, is found out by the checkpoint that signed its
old head. Checkpoints that are taken away at the end leave a gap to the number that was logged last.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from radrelay_shared.aggregate import Aggregate, Decision, Part, Store
from radrelay_shared.errors import Invalid, RadRelayError
from radrelay_shared.ports import Eq, Index
from radrelay_storage.custody.chain import NOT_YET, START, Link, canonical, digest
from radrelay_storage.custody.hops import moment

log = logging.getLogger("radrelay.storage")

KEY_BYTES = 32
KEY_ID_DIGITS = 16
MOST_LINKS = 1000  # under one checkpoint


class Head(Part):
    """Where a chain ended: its last link's number and SHA-256."""

    number: int
    sha256: str


class Checkpoint(Aggregate):
    collection: ClassVar[str] = "checkpoints"
    indexes: ClassVar[tuple[Index, ...]] = (Index("checkpoints", ("number",)),)

    number: int  # from 1, without a gap
    at: str
    heads: dict[str, Head]  # by study
    previous: str  # SHA-256 of the checkpoint before
    key: str  # which one signed
    signature: str = ""  # base64, over all of the above

    @property
    def id(self) -> str:
        return checkpoint_id(self.number)

    @property
    def text(self) -> dict[str, Any]:
        """What is signed, as JSON with sorted keys, without spaces, in UTF-8.

        Heads are signed as hashes, so that whoever reads the proof of one study learns of no other.
        """
        leaves = sorted(leaf(study, head) for study, head in self.heads.items())
        return self.model_dump(exclude={"signature", "heads"}) | {"heads": leaves}

    @property
    def sha256(self) -> str:
        return digest(self.text | {"signature": self.signature})


def leaf(study: str, head: Head) -> str:
    return digest({"study": study, "number": head.number, "sha256": head.sha256})


def checkpoint_id(number: int) -> str:
    return f"{number:09d}"


@dataclass(frozen=True)
class Signer:
    """The key that signs, and the public halves of all that did."""

    private: Ed25519PrivateKey
    public: Mapping[str, Ed25519PublicKey]  # by id

    def signed(self, checkpoint: Checkpoint) -> Checkpoint:
        named = checkpoint.model_copy(update={"key": key_id(self.private.public_key())})
        signature = base64.b64encode(self.private.sign(canonical(named.text))).decode()
        return named.model_copy(update={"signature": signature})

    def vouches(self, checkpoint: Checkpoint) -> bool:
        """Whether a known key signed exactly this."""
        key = self.public.get(checkpoint.key)
        if key is None:
            return False
        try:
            key.verify(base64.b64decode(checkpoint.signature, validate=True), canonical(checkpoint.text))
        except (InvalidSignature, ValueError):
            return False
        return True


def signer(text: str) -> Signer:
    """From private keys, 32 random bytes in base64 each, one a line: the first signs, all are known.

    Raises `Invalid` for anything else.
    """
    try:
        private = [Ed25519PrivateKey.from_private_bytes(base64.b64decode(line, validate=True)) for line in text.split()]
        keys = [each.public_key() for each in private]
        return Signer(private[0], {key_id(each): each for each in keys})
    except (ValueError, IndexError):
        raise Invalid(
            "RADRELAY_CUSTODY_KEY is 32 random bytes in base64 (`openssl rand -base64 32`), one key a line"
        ) from None


def key_id(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:KEY_ID_DIGITS]


def heads_of(links: Sequence[Link]) -> dict[str, Head]:
    """The last of the links of each study."""
    latest = {link.study: link for link in sorted(links, key=lambda link: link.number)}
    return {study: Head(number=link.number, sha256=link.sha256) for study, link in sorted(latest.items())}


def next_checkpoint(last: Checkpoint | None, links: Sequence[Link], at: datetime) -> Checkpoint:
    return Checkpoint(
        number=last.number + 1 if last else 1,
        at=moment(at),
        heads=heads_of(links),
        previous=last.sha256 if last else START,
        key="",
    )


async def last_checkpoint(store: Store) -> Checkpoint | None:
    found = await store.find(Checkpoint, sort="number", descending=True, limit=1)
    return found[0] if found else None


async def cover(store: Store, keys: Signer) -> int:
    """Sign the heads of the chains with links that no checkpoint covers; how many links that were.

    Broken off before the links know of it, they are covered once more.
    """
    links = await store.find(Link, [Eq("covered", NOT_YET)], limit=MOST_LINKS)
    if not links:
        return 0
    made = keys.signed(next_checkpoint(await last_checkpoint(store), links, store.clock()))
    kept = await store.change(Checkpoint, made.id, lambda found: None if found else Decision(made))
    if kept is None or kept.signature != made.signature:
        return 0  # another process was first; what it left open comes next time
    for link in links:
        await store.change(Link, link.id, lambda found: _covered(found, made.number))
    log.info("custody checkpoint %d has SHA-256 %s", made.number, made.sha256)
    return len(links)


def _covered(link: Link | None, number: int) -> Decision[Link] | None:
    return Decision(link.model_copy(update={"covered": number})) if link else None


async def keep_covering(store: Store, keys: Signer, seconds: float) -> None:
    """A checkpoint every so many seconds in which a chain grew, until cancelled."""
    while True:
        try:
            while await cover(store, keys) == MOST_LINKS:
                pass
        except RadRelayError as error:
            log.warning("the ledger cannot be signed now; this is tried again: %s", error.detail)
        await asyncio.sleep(seconds)
