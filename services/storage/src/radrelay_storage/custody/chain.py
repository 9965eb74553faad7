"""One study's chain of custody: links that are only ever added, each bound to the one before by its SHA-256.

A link about a batch binds the SHA-256 of the batch's manifest, and the manifest binds the SHA-256 of each instance, so
that one link proves a thousand instances, one by one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from radrelay_shared.aggregate import Aggregate
from radrelay_shared.ports import Index

Kind = Literal[
    "received",
    "sealed",
    "de-identified",
    "quarantined",
    "stored",
    "derived",
    "served",
    "refused",
    "reported",
    "delivered",
    "held",
    "hold-lifted",
    "purge-proposed",
    "purge-approved",
    "purge-refused",
    "purge-withdrawn",
    "deleted",
    "damaged",
    "restored",
]
Facts = dict[str, str | int]

NOT_YET = 0
START = "0" * 64  # what the first link has in the place of a previous one's hash


@dataclass(frozen=True, slots=True)
class Hop:
    """What happened, once: a second hop of the same `mark` is the same one."""

    kind: Kind
    mark: str
    at: str  # ISO 8601, UTC
    who: str  # a service, or a caller's subject; never a patient
    facts: Facts


class Link(Aggregate):
    """One hop in its study's chain. All of it but `covered` is hashed, and never written again."""

    collection: ClassVar[str] = "custody"
    indexes: ClassVar[tuple[Index, ...]] = (
        Index("custody", ("study", "number")),
        Index("custody", ("study", "mark")),
        Index("custody", ("number", "study")),
        Index("custody", ("covered",)),
    )

    study: str
    site: str
    number: int  # from 1, without a gap
    kind: Kind
    mark: str
    at: str
    who: str
    facts: Facts
    previous: str  # SHA-256 of the link before
    sha256: str
    covered: int = NOT_YET  # by the checkpoint of this number; bookkeeping, proven by the checkpoint itself

    @property
    def id(self) -> str:
        return link_id(self.study, self.number)

    @property
    def intact(self) -> bool:
        return self.sha256 == digest(self.model_dump(exclude={"sha256", "covered"}))


def link_id(study: str, number: int) -> str:
    return f"{study}.{number:06d}"


def linked(last: Link | None, study: str, site: str, hop: Hop) -> Link:
    """The next link of the chain that ends with `last`."""
    body: dict[str, Any] = {
        "study": study,
        "site": site,
        "number": last.number + 1 if last else 1,
        "kind": hop.kind,
        "mark": hop.mark,
        "at": hop.at,
        "who": hop.who,
        "facts": hop.facts,
        "previous": last.sha256 if last else START,
    }
    return Link(**body, sha256=digest(body))


def digest(body: dict[str, Any]) -> str:
    """SHA-256 of JSON with sorted keys, without spaces, in UTF-8."""
    return hashlib.sha256(canonical(body)).hexdigest()


def canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def first_break(links: Sequence[Link]) -> str | None:
    """What is wrong with the first link that does not hold; None if all do."""
    previous = START
    for number, link in enumerate(links, 1):
        if link.number != number:
            return f"entry {number} is missing"
        if not link.intact:
            return f"entry {number} ({link.kind}) was changed: its hash is not that of its text"
        if link.previous != previous:
            return f"entry {number} ({link.kind}) does not follow from entry {number - 1}, which was replaced"
        previous = link.sha256
    return None
