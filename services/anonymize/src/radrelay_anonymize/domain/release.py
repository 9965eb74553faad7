"""One instance from received bytes to bytes that may leave, or a reason why not: the whole engine in one call."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import FileDataset

from radrelay_anonymize.domain.deidentify import Quarantined, deidentify
from radrelay_anonymize.domain.gate import Pixels
from radrelay_anonymize.domain.reading import encode, read
from radrelay_anonymize.domain.values import Context
from radrelay_anonymize.domain.verify import verify
from radrelay_shared.errors import Invalid


@dataclass(frozen=True, slots=True)
class Released:
    """De-identified, encoded and verified."""

    data: bytes
    dataset: FileDataset
    pixels: Pixels


def release(data: bytes, context: Context) -> Released | Quarantined:
    """De-identify, encode and verify; fails closed: whatever goes wrong on the way is a reason to quarantine."""
    try:
        outcome = deidentify(read(data), context)
        if isinstance(outcome, Quarantined):
            return outcome
        output = encode(outcome.dataset)
    except Invalid:
        return Quarantined(("unreadable",))
    evidence = verify(outcome.words, output)
    return Quarantined(tuple(evidence)) if evidence else Released(output, outcome.dataset, outcome.pixels)
