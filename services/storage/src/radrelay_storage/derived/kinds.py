"""Which kinds of objects are taken, and from whom: a table (ADR 0020)."""

from __future__ import annotations

from dataclasses import dataclass

from radrelay_shared.security import Role
from radrelay_storage.rights import RIGHTS, Act

MAKERS = frozenset(RIGHTS[Act.MAKE])
MODELS = frozenset({Role.MODEL})


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    roles: frozenset[Role] = MAKERS
    payload: frozenset[str] = frozenset()  # keywords at the top of what is stored unread


SR, KO = Kind("structured report"), Kind("key object selection")
PR = Kind("presentation state")
SEG = Kind("segmentation", payload=frozenset({"PixelData"}))
MAP = Kind("parametric map", payload=frozenset({"PixelData", "FloatPixelData", "DoubleFloatPixelData"}))
OTHER = Kind("registration, fiducials, surfaces, annotations or value mapping")
PDF = Kind("encapsulated PDF", MODELS, frozenset({"EncapsulatedDocument"}))

STORAGE = "1.2.840.10008.5.1.4.1.1"
KINDS: dict[str, Kind] = {
    f"{STORAGE}.{end}": kind
    for kind, ends in {
        SR: ("88.11", "88.22", "88.33", "88.34", "88.35", "88.50", "88.65", "88.69", "88.72"),  # basic text … echo
        KO: ("88.59",),
        PR: tuple(f"11.{number}" for number in range(1, 13)),  # greyscale, colour, blending, volumetric …
        SEG: ("66.4", "66.7"),  # bits or fractions; label map
        MAP: ("30",),
        OTHER: ("66.1", "66.2", "66.3", "66.5", "67", "91.1"),
        PDF: ("104.1",),
    }.items()
    for end in ends
}
