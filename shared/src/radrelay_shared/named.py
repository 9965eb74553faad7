"""Whom and what a study's orders and its clinic name: ingest keeps it among the originals, anonymize cleans text of it.

identities/<study>/words-<sha256>   see `confided`
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from radrelay_shared.confided import confide, confided
from radrelay_shared.errors import Invalid
from radrelay_shared.events import Key
from radrelay_shared.ports import Blobs

LONGEST, MOST = 256, 1000  # characters of a value; values of a kind

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


async def keep_named(originals: Blobs, study: Key, named: Named, secret: bytes) -> Key:
    """Durable on return; the key of it. Doing it again changes nothing."""
    return await confide(originals, _name(study), named.model_dump_json(exclude_defaults=True).encode(), secret)


async def read_named(originals: Blobs, study: Key, key: Key) -> Named:
    """What was kept; `NotFound` if it is not there, `Invalid` if it is another study's, changed, or out of bounds."""
    if not key.startswith(_name(study)):
        raise Invalid(f"{key} is another study's; replay what needs it once its event is right")
    try:
        return Named.model_validate_json(await confided(originals, key))
    except ValidationError as error:
        raise Invalid(f"{key} names nobody: {error.error_count()} of its fields are wrong") from None


def _name(study: Key) -> str:
    return f"identities/{study}/words"
