"""Whom and what a study's orders and its clinic name: ingest keeps it among the originals, anonymize cleans text of it.

identities/<study>/words-<sha256>.json   of that content, so the same words have the same key
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from radrelay_shared.errors import Invalid
from radrelay_shared.events import Key
from radrelay_shared.ports import Blobs, put_once

LONGEST, MOST = 256, 1000  # characters of a value; values of a kind
MOST_BYTES = 8 << 20  # more than such values can take in JSON

Value = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)]
Values = Annotated[tuple[Value, ...], Field(max_length=MOST)]


class Named(BaseModel):
    """Values as messages and registers spell them. Identity: it stays in the identified zone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    people: Values = ()  # PN (PS3.5 §6.2.1), or as people write it
    numbers: Values = ()  # of patients, orders and visits; telephones
    dates: Values = ()  # of birth, YYYYMMDD
    places: Values = ()  # addresses, line by line
    institutions: Values = ()  # what clinics and their services are called, and where they are

    @classmethod
    def of(cls, **said: Iterable[str]) -> Named:
        """Each value once, the first ones as far as the bounds go."""
        return cls(**{kind: _bounded(values) for kind, values in said.items()})

    @classmethod
    def union(cls, *several: Named) -> Named:
        """All of them; where that is too much, the first ones count more."""
        return cls.of(
            **{kind: [value for each in several for value in getattr(each, kind)] for kind in cls.model_fields}
        )

    def __or__(self, other: Named) -> Named:
        return Named.union(self, other)


def _bounded(values: Iterable[str]) -> tuple[str, ...]:
    whole = (each.encode(errors="replace").decode() for each in values)  # JSON can say half a surrogate pair
    said = dict.fromkeys(text for each in whole if (text := each.strip()[:LONGEST].strip()))
    return tuple(said)[:MOST]


async def keep_named(originals: Blobs, study: Key, named: Named) -> Key:
    """Durable on return; the key of it. Doing it again changes nothing."""
    content = named.model_dump_json(exclude_defaults=True).encode()
    key = _key(study, content)
    await put_once(originals, key, content)
    return key


async def read_named(originals: Blobs, study: Key, key: Key) -> Named:
    """What was kept; `NotFound` if it is not there, `Invalid` if it is another study's, changed, or out of bounds."""
    content = await originals.read(key, length=MOST_BYTES + 1)
    try:
        if len(content) <= MOST_BYTES and key == _key(study, content):
            return Named.model_validate_json(content)
    except ValidationError as error:
        raise Invalid(f"{key} names nobody: {error.error_count()} of its fields are wrong") from None
    raise Invalid(f"{key} is not what was kept for {study}; restore it from a backup and replay what needs it")


def _key(study: Key, content: bytes) -> Key:
    return f"identities/{study}/words-{hashlib.sha256(content).hexdigest()}.json"
