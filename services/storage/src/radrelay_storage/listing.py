"""A series' instances as a search sees them: small enough to stay in memory, unlike their whole metadata."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radrelay_storage.attributes import RETURNED, Attributes, Element, Level, pick, searchable

LISTED = tuple(dict.fromkeys(name for level in Level for name in RETURNED[level]))
BETWEEN = " \t\r\n,"  # the elements of an array
ROWS = "00280010"


@dataclass(frozen=True, slots=True)
class Listed:
    """One instance: where its metadata lies, what can be matched, and what every answer may return."""

    metadata: str  # key of the array
    place: int  # in the array
    uid: str
    keys: Mapping[str, str]
    attributes: Attributes

    @property
    def image(self) -> bool:
        return ROWS in self.attributes


def elements(compressed: bytes) -> tuple[bytes, ...]:
    """The texts of a compressed JSON array's objects, one per instance."""
    text = gzip.decompress(compressed).decode()
    return tuple(text[start:end].encode() for start, end in spans(text))


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Where each object of a JSON array begins and ends."""
    decode, here = json.JSONDecoder().raw_decode, text.index("[") + 1
    while (here := skipped(text, here)) < len(text) and text[here] != "]":
        start = here
        _, here = decode(text, start)
        yield start, here


def skipped(text: str, here: int) -> int:
    while here < len(text) and text[here] in BETWEEN:
        here += 1
    return here


def listed(key: str, texts: Sequence[bytes]) -> tuple[Listed, ...]:
    """The instances of one metadata array. Elements that are the same in many slices are kept once."""
    known: dict[str, Element] = {}
    return tuple(one(key, place, json.loads(text), known) for place, text in enumerate(texts))


def one(key: str, place: int, instance: dict[str, Any], known: dict[str, Element]) -> Listed:
    picked = pick(instance, LISTED)
    shared = {tag: known.setdefault(json.dumps(each), each) for tag, each in picked.items()}
    keys = searchable(instance, Level.INSTANCE, only=True)
    return Listed(key, place, keys["SOPInstanceUID"], keys, shared)
