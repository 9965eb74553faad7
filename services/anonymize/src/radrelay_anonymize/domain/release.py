"""One instance from received bytes to bytes that may leave, or a reason why not: the whole engine in one call."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.tag import BaseTag

from radrelay_anonymize.domain.deidentify import Quarantined, deidentify
from radrelay_anonymize.domain.gate import Pixels
from radrelay_anonymize.domain.identity import IDENTIFYING, Identity, identity_of
from radrelay_anonymize.domain.part10 import Part10, parsed
from radrelay_anonymize.domain.pieces import Data, Output
from radrelay_anonymize.domain.profile import Profile
from radrelay_anonymize.domain.rawvalues import Unusual, encodings
from radrelay_anonymize.domain.rewriter import rewritten, words_in
from radrelay_anonymize.domain.rules import passed_on
from radrelay_anonymize.domain.values import Context
from radrelay_anonymize.domain.verify import inspected
from radrelay_anonymize.domain.words import Words, words_of
from radrelay_shared.dicom.reading import encode, quietly, read
from radrelay_shared.errors import Invalid

# Kinds of evidence that may be chance (Rose, a name or a colour), and that a person who has looked may overrule.
OVERRULED = frozenset({"name", "phrase", "identifier", "date", "raw"})


@dataclass(frozen=True, slots=True)
class Released:
    """De-identified, encoded and verified; `dataset` is what the verifier read in it, up to the pixels."""

    output: Output
    dataset: FileDataset
    pixels: Pixels
    words: Words

    @property
    def data(self) -> bytes:
        return self.output.data


@dataclass(frozen=True, slots=True)
class Copied:
    """De-identified and encoded, but not verified yet."""

    output: Output
    words: Words
    pixels: Pixels


def release(data: Data, context: Context) -> Released | Quarantined:
    """As `released`, from bytes."""
    try:
        return released(opened(data), context)
    except Invalid:
        return Quarantined(("unreadable",))


def opened(data: Data) -> Part10 | FileDataset:
    """The instance, for the rewriter where `parsed` says so, otherwise for pydicom's engine; raises `Invalid`."""
    return parsed(data) or read(data)


def identity_in(source: Part10 | FileDataset) -> Identity:
    """Who the instance is about."""
    if not isinstance(source, Part10):
        return identity_of(source)
    return _remembered(source.said(IDENTIFYING), source.dataset.charset, implicit=source.dataset.implicit)


@functools.lru_cache(maxsize=64)  # a study's instances say the same
def _remembered(said: tuple[tuple[int, str, bytes], ...], charset: bytes, *, implicit: bool) -> Identity:
    raws = [RawDataElement(BaseTag(tag), vr, len(value), value, 0, False, True) for tag, vr, value in said]
    head = FileDataset(None, {raw.tag: raw for raw in raws})
    with quietly():
        head.set_original_encoding(implicit, True, encodings(charset))
        return identity_of(head)


def words_of_instance(source: Part10 | FileDataset, profile: Profile) -> Words:
    """Every name, identifier, birth date and UID of the instance that the profile does not retain."""
    with quietly():
        but = passed_on(profile)
        return words_in(source, but) if isinstance(source, Part10) else words_of(source, but)


def released(source: Part10 | FileDataset, context: Context) -> Released | Quarantined:
    """De-identify, encode and verify; fails closed: whatever goes wrong on the way is a reason to quarantine."""
    try:
        outcome = copied(source, context)
    except Invalid:
        return Quarantined(("unreadable",))
    except Exception as error:  # noqa: BLE001  texts of foreign errors may quote values, and one odd file stops no study
        return Quarantined((f"failed:{type(error).__name__}",))
    return outcome if isinstance(outcome, Quarantined) else verified(outcome, context)


def verified(copy: Copied, context: Context) -> Released | Quarantined:
    """The copy, if the verifier finds nothing in it that a person has not overruled."""
    try:
        dataset, pixels_at, evidence = inspected(copy.words, copy.output, context.profile)
    except Exception as error:  # noqa: BLE001  as above
        return Quarantined((f"failed:{type(error).__name__}",))
    if context.vouched:
        evidence = [each for each in evidence if each.partition(":")[0] not in OVERRULED]
    if evidence:
        return Quarantined(tuple(evidence))
    return Released(copy.output.parted(pixels_at), dataset, copy.pixels, copy.words)


def copied(source: Part10 | FileDataset, context: Context) -> Copied | Quarantined:
    """By the rewriter, and by pydicom's engine what only that can read or write; raises `Invalid`."""
    if isinstance(source, Part10):
        try:
            quick = rewritten(source, context)
            return quick if isinstance(quick, Quarantined) else Copied(quick.output, quick.words, quick.pixels)
        except Unusual:
            source = read(source.data)
    slow = deidentify(source, context)
    return slow if isinstance(slow, Quarantined) else Copied(Output(encode(slow.dataset)), slow.words, slow.pixels)
