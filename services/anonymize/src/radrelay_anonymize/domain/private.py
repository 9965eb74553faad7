"""Private attributes that are known to be safe (PS3.15 Table E.3.10-1): kept under 113111, walked like public ones."""

from __future__ import annotations

import functools
import json
from importlib import resources

from radrelay_anonymize.domain.plain import CREATORS, ODD_GROUP
from radrelay_anonymize.domain.rules import BY_VR
from radrelay_anonymize.domain.table import TEXT, Action


def is_private(tag: int) -> bool:
    return bool(tag & ODD_GROUP)


def creator_tag(tag: int) -> int:
    """Where the creator of this element's block is named; the tag itself, if it names one (PS3.5 §7.8.1)."""
    return tag if tag & 0xFFFF in CREATORS else tag >> 16 << 16 | (tag & 0xFF00) >> 8


@functools.lru_cache(maxsize=8192)
def private_action(tag: int, vr: str, creator: str) -> Action:
    """What happens to a private element under 113111; what is not in the table, or not of its VR there, is removed."""
    if tag & 0xFFFF in CREATORS:
        return Action.KEEP if vr == "LO" and creator in {each for each, *_ in safe()} else Action.REMOVE
    if safe().get((creator, tag >> 16, tag & 0xFF)) != vr:
        return Action.REMOVE
    return Action.CLEAN if vr in TEXT else BY_VR.get(vr, Action.REMOVE)


@functools.cache
def safe() -> dict[tuple[str, int, int], str]:
    """The VR by creator, group and the element's last two hex digits."""
    rows = json.loads(resources.files("radrelay_anonymize").joinpath("data/safe_private.json").read_text("utf-8"))[
        "rows"
    ]
    return {(row["creator"], int(row["group"], 16), int(row["element"], 16)): row["vr"] for row in rows}
