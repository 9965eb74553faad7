"""The walk through one data set: every element of the copy was put there by a rule."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian

from radrelay_anonymize.domain.gate import BULK, Pixels, end_of_frames, pixel_state, refusal
from radrelay_anonymize.domain.private import creator_tag, is_private, private_action
from radrelay_anonymize.domain.profile import Option, Profile
from radrelay_anonymize.domain.rules import IDENTITY_CONCEPTS, Actions, actions, passed_on
from radrelay_anonymize.domain.table import TEXT, Action
from radrelay_anonymize.domain.values import Context, dummy, made
from radrelay_anonymize.domain.words import Words, words_of
from radrelay_shared.dicom.reading import DEEPEST, element, quietly, texts
from radrelay_shared.errors import Invalid

METHOD = "RadRelay: PS3.15 Basic Profile 2026c with options, default deny"
IMPLEMENTATION_UID = "2.25.173068140782311734530229521935564693164"
IMPLEMENTATION_NAME = "RADRELAY"

CONCEPT_NAME, CODE_VALUE = 0x0040A043, 0x00080100

# VRs that may stand for one another; an element whose VR is not of its attribute's kind holds something else.
KINDS = (TEXT, {"DS", "IS"}, {"DA", "DT"}, {"US", "SS", "UL", "SL", "UV", "SV", "OW", "OB"}, {"FL", "FD", "OF", "OD"})
OPAQUE = frozenset({"OB", "OW"})  # may hold anything, so they stand for none but one another


@dataclass(frozen=True, slots=True)
class Deidentified:
    """A copy without identity, by rule; `words` is what the verifier shall not find in it.

    `tally` counts elements by what happened to them: an action's name, "unreadable" or "foreign-vr".
    """

    dataset: FileDataset
    words: Words
    pixels: Pixels
    tally: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An instance that a person has to look at; `reasons` are codes without identity."""

    reasons: tuple[str, ...]


Outcome = Deidentified | Quarantined


@dataclass(frozen=True, slots=True)
class _Walk:
    context: Context
    actions: Actions
    tally: Counter[str] = field(default_factory=Counter)


def deidentify(dataset: FileDataset, context: Context) -> Outcome:
    """The instance under PS3.15's Basic Profile and the options of the context's profile, or why that cannot be done.

    Pure: the original stays as it is, and pixel values are passed on by reference. The words of the instance itself are
    added to the context's before any text is cleaned.
    """
    with quietly():
        if reason := refusal(dataset):
            return Quarantined((reason,))
        try:
            known = context.knowing(words_of(dataset, passed_on(context.profile)))
            walk = _Walk(known, actions(context.profile))
            copied = _copied(dataset, walk, depth=0)
        except Invalid:
            return Quarantined(("nested-too-deeply",))
        if dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
            _end_with_frames(copied)
        pixels = pixel_state(dataset)
        sign(copied, context.profile, original_annotation=dataset.get("BurnedInAnnotation"), pixels=pixels)
        return Deidentified(_as_file(copied, dataset), known.words, pixels, dict(walk.tally))


def _copied(source: Dataset, walk: _Walk, depth: int) -> Dataset:
    if depth > DEEPEST:
        raise Invalid("sequences are nested too deeply")
    target = Dataset()
    for tag in source.keys():  # noqa: SIM118  a Dataset iterates over elements, parsing them
        action = Action.REMOVE if depth and tag in BULK else _action(source, int(tag), walk)  # a thumbnail's
        walk.tally[action.value] += 1
        if action is Action.REMOVE:
            continue
        if (new := _element(source, tag, action, walk, depth)) is not None:
            target[tag] = new
    if _concept(source) in IDENTITY_CONCEPTS and "TextValue" in target:
        target["TextValue"] = dummy(target["TextValue"])
    return target


def _end_with_frames(copied: Dataset) -> None:
    """What follows the last sample goes here, for nobody sees it in a deflated stream afterwards."""
    if "PixelData" in copied and any(copied.PixelData[(end := end_of_frames(copied)) :]):
        copied.PixelData = copied.PixelData[:end]


def _action(source: Dataset, tag: int, walk: _Walk) -> Action:
    if not is_private(tag):
        return walk.actions[tag]
    if Option.RETAIN_SAFE_PRIVATE not in walk.context.profile.options:
        return Action.REMOVE
    found, creator = element(source, tag), element(source, creator_tag(tag)) if creator_tag(tag) in source else None
    names = texts(creator) if creator is not None and creator.VR == "LO" else []
    return private_action(tag, found.VR, names[0]) if found is not None and len(names) == 1 else Action.REMOVE


def _element(source: Dataset, tag: int, action: Action, walk: _Walk, depth: int) -> DataElement | None:
    found = element(source, tag)
    if found is None:
        walk.tally["unreadable"] += 1
        return None
    if not is_of_kind(found.VR, int(tag)):
        walk.tally["foreign-vr"] += 1
        return None
    if action is Action.RECURSE:
        items = [_copied(item, walk, depth + 1) for item in found.value]
        return DataElement(tag, "SQ", Sequence(items))
    return made(action, found, walk.context)


@functools.lru_cache(maxsize=8192)
def is_of_kind(vr: str, tag: int) -> bool:
    """Whether a value of this VR may stand in this attribute; of private ones `private_action` has seen to it."""
    if is_private(tag):
        return True
    attribute = dictionary_VR(tag)
    own = set(attribute.split(" or "))
    kinds = (OPAQUE,) if vr in OPAQUE else KINDS
    return vr == attribute or vr in own or any(vr in kind and own & kind for kind in kinds)


def _concept(item: Dataset) -> str | None:
    """The code value of an SR content item's concept name."""
    names = element(item, CONCEPT_NAME)
    codes = [element(name, CODE_VALUE) for name in names.value] if names is not None and names.VR == "SQ" else []
    return texts(codes[0])[0] if codes and codes[0] is not None and texts(codes[0]) else None


def sign(target: Dataset, profile: Profile, *, original_annotation: str | None, pixels: Pixels) -> None:
    """Say what was done (PS3.15 §E.1.1 steps 5 to 7); "no burned-in annotation" only where the source says so, too."""
    target.SpecificCharacterSet = "ISO_IR 192"
    target.PatientIdentityRemoved = "YES"
    target.DeidentificationMethod = METHOD
    target.DeidentificationMethodCodeSequence = Sequence([code(*option) for option in profile.codes])
    target.LongitudinalTemporalInformationModified = profile.temporal
    if pixels == "burned-in":
        target.BurnedInAnnotation = "YES"
    elif pixels == "plain" and original_annotation == "NO":
        target.BurnedInAnnotation = "NO"


def code(value: str, meaning: str) -> Dataset:
    """An item of a sequence of codes, of DICOM's own scheme."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _as_file(target: Dataset, source: FileDataset) -> FileDataset:
    """With a file meta of its own: nothing of the sender's software, AE title or private information."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = target.SOPClassUID
    meta.MediaStorageSOPInstanceUID = target.SOPInstanceUID
    meta.TransferSyntaxUID = source.file_meta.TransferSyntaxUID
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    return FileDataset(None, target, preamble=bytes(128), file_meta=meta)
