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
    """As `released`, from bytes."""
    try:
        dataset = read(data)
    except Invalid:
        return Quarantined(("unreadable",))
    return released(dataset, context)


def released(dataset: FileDataset, context: Context) -> Released | Quarantined:
    """De-identify, encode and verify; fails closed: whatever goes wrong on the way is a reason to quarantine."""
    try:
        outcome = deidentify(dataset, context)
        if isinstance(outcome, Quarantined):
            return outcome
        output = encode(outcome.dataset)
        evidence = verify(outcome.words, output)
    except Invalid:
        return Quarantined(("unreadable",))
    except Exception as error:  # noqa: BLE001  texts of foreign errors may quote values, and one odd file stops no study
        return Quarantined((f"failed:{type(error).__name__}",))
    return Quarantined(tuple(evidence)) if evidence else Released(output, outcome.dataset, outcome.pixels)
