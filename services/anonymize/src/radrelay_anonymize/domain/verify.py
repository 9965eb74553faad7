"""The second look at what goes out: by other code than the engine's, on the bytes, believing nothing.

What the rewriter writes is read by `strict`, what is written otherwise by pydicom.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from radrelay_anonymize.domain.pieces import MOST_BY_PYDICOM, Buffer, Output
from radrelay_anonymize.domain.private import creator_tag, is_private, private_action
from radrelay_anonymize.domain.profile import Option, Profile, default
from radrelay_anonymize.domain.remembering import remember
from radrelay_anonymize.domain.search import PLAIN, in_bytes, in_element
from radrelay_anonymize.domain.strict import CHARACTER_SET, Odd, Seen, Spot, elements, items, known_vr, seen
from radrelay_anonymize.domain.table import Action
from radrelay_anonymize.domain.words import Words
from radrelay_shared.dicom.reading import DEEPEST, element, quietly, texts
from radrelay_shared.dicom.walk import UNDEFINED
from radrelay_shared.errors import Invalid

FRAGMENT, END_OF_FRAGMENTS = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0" + bytes(4)
MUTE = frozenset({
    "AT", "DA", "DS", "DT", "FD", "FL", "IS", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "TM", "UL", "US",
    "UV",
})  # fmt: skip
UNSAFE = "unsafe"  # in place of a VR
MARKERS = {
    "PatientIdentityRemoved": "YES",
    "SpecificCharacterSet": "ISO_IR 192",
}


class Inspection(NamedTuple):
    """The data set before its pixels as it was read, where they begin, and evidence against it.

    The data set is empty if nothing can be read. `pixels_at` is the output's length if it has none, or was deflated.
    """

    dataset: FileDataset
    pixels_at: int
    evidence: list[str]


def verify(words: Words, output: bytes, profile: Profile | None = None) -> list[str]:
    """Evidence that the output is not fit to leave: `kind:tag` codes, never a value; an empty list lets it go.

    Searches every value but pixels for the words, parsed and as raw bytes, and looks at preamble, file meta, markers
    and private elements.
    """
    return inspected(words, Output(output), profile or default()).evidence


def inspected(words: Words, output: Output, profile: Profile) -> Inspection:
    """As `verify`, with what was read for it."""
    try:
        return by_second_reader(words, seen(output), profile)
    except (Odd, struct.error):
        if len(output) > MOST_BY_PYDICOM:
            return Inspection(FileDataset(None, {}), len(output), ["unreadable:TooLarge"])
        with quietly():
            return by_pydicom(words, output.data, profile)


def _form(dataset: FileDataset, *, is_whole: bool) -> Iterator[str]:
    if not is_whole:
        yield "trailer"
    if any(dataset.preamble or b""):
        yield "preamble"
    if _said(dataset.file_meta, "MediaStorageSOPInstanceUID") != _said(dataset, "SOPInstanceUID"):
        yield "meta-mismatch:00020003"


def _marks(dataset: FileDataset, profile: Profile) -> Iterator[str]:
    """Which of the marks that the profile demands are missing or say something else."""
    for keyword, value in (MARKERS | {"LongitudinalTemporalInformationModified": profile.temporal}).items():
        if _said(dataset, keyword) != value:
            yield f"marker:{keyword}"


def _said(dataset: Dataset, keyword: str) -> str | None:
    """Of a value that nobody has to parse for it."""
    raw = dataset.get_item(keyword)
    return _decoded(raw.value) if isinstance(raw, RawDataElement) else raw and str(raw.value)


def _decoded(raw: bytes | None) -> str | None:
    """As UTF-8, for that is what the marker promises; None if it is not."""
    try:
        return (raw or b"").decode().rstrip("\0 ")
    except UnicodeDecodeError:
        return None


# ── as the rewriter writes ───────────────────────────────────────────────────────────────────────────

Clean = dict[Buffer, None]  # the bytes of elements in which nothing was found


def by_second_reader(words: Words, read: Seen, profile: Profile) -> Inspection:
    """For what is written as the rewriter writes; raises `Odd` if it is not."""
    folded = read.head.lower()
    # A UID in a value is there in the bytes, too: only then it is worth while to look where.
    uids = frozenset([uid for uid in words.uids if uid.encode() in folded])
    known = words.having(uids)
    clean = {} if uids else _clean(known, profile, implicit=read.implicit)
    look = _Look(known, Option.RETAIN_SAFE_PRIVATE in profile.options, read.implicit, clean)
    found = {
        *_form(read.dataset, is_whole=read.is_whole),
        *_marks(read.dataset, profile),
        *look.at(read.meta, depth=0),
        *look.at(read.spots, depth=0),
        *in_bytes(known, folded),
    }
    return Inspection(read.dataset, len(read.head), sorted(found))


@functools.lru_cache(maxsize=16)
def _clean(words: Words, profile: Profile, *, implicit: bool) -> Clean:  # noqa: ARG001  the arguments are the key
    """Of a study: most elements come again in every instance."""
    return {}


@dataclass(frozen=True, slots=True)
class _Look:
    words: Words
    safe: bool  # private elements that are known to be safe may be there
    implicit: bool
    clean: Clean

    def at(self, spots: list[Spot], depth: int) -> list[str]:
        """Evidence in the elements of one data set."""
        if depth > DEEPEST:
            raise Odd
        found: list[str] = []
        for spot in [each for each in spots if each[2] not in self.clean]:
            tag, _, raw, _ = spot
            if is_private(tag):
                found += self._private(spot, spots, depth)
            elif inside := list(self._inside(spot, depth)):
                found += inside
            elif isinstance(raw, bytes):
                remember(self.clean, raw, None)
        return found

    def _inside(self, spot: Spot, depth: int) -> Iterator[str]:
        tag, vr, raw, start = spot
        if vr in PLAIN:
            yield from in_element(tag, vr, bytes(raw[start:]).decode(errors="replace").rstrip("\0 "), self.words)
        elif vr == "SQ":
            for first, limit in items(raw, start, len(raw)):
                spots, last = elements(raw, first, limit, implicit=self.implicit)
                if last != limit or any(each[0] == CHARACTER_SET for each in spots):  # an icon's pixels, other letters
                    raise Odd
                yield from self.at(spots, depth + 1)

    def _private(self, spot: Spot, spots: list[Spot], depth: int) -> Iterator[str]:
        """Only what PS3.15 Table E.3.10-1 names may be here, and the creators of it."""
        tag, vr, _, _ = spot
        creators = [bytes(raw[start:]) for each, _, raw, start in spots if each == creator_tag(tag)]
        name = _decoded(creators[0]) if creators else None
        if not self.safe or not name or private_action(tag, vr, name) is Action.REMOVE:
            yield f"private:{tag:08x}"
        else:
            yield from self._inside(spot, depth)


# ── as pydicom reads ─────────────────────────────────────────────────────────────────────────────────


def by_pydicom(words: Words, output: bytes, profile: Profile) -> Inspection:
    """For all that pydicom can read."""
    buffer = io.BytesIO(output)
    try:
        dataset = pydicom.dcmread(buffer, stop_before_pixels=True)
        start = buffer.tell()
        end = _end_of_pixels(output, start, dataset.file_meta.TransferSyntaxUID)
        found = {
            *_form(dataset, is_whole=end == len(output)),
            *_marks(dataset, profile),
            *_values(dataset.file_meta, words, profile),
            *_values(dataset, words, profile),
        }
    except Exception as error:  # noqa: BLE001  what cannot be read again does not leave
        return Inspection(FileDataset(None, {}), len(output), [f"unreadable:{type(error).__name__}"])
    return Inspection(dataset, start, sorted({*found, *in_bytes(words, (output[:start] + output[end:]).lower())}))


def _end_of_pixels(output: bytes, start: int, syntax: str) -> int:
    """Where the pixel data that begins at `start` ends: of defined length, or in fragments (PS3.5 §A.4)."""
    if start == len(output):  # none, or the data set was inflated
        return start
    order: Literal["big", "little"] = "big" if syntax == ExplicitVRBigEndian else "little"
    at = start + (4 if syntax == ImplicitVRLittleEndian else 8)
    length = int.from_bytes(output[at : at + 4], order)
    if length != UNDEFINED:
        return at + 4 + length
    at += 4
    while output[at : at + 4] == FRAGMENT:
        at += 8 + int.from_bytes(output[at + 4 : at + 8], order)
    return at + 8 if output[at : at + 8] == END_OF_FRAGMENTS else len(output) + 1


def _values(dataset: Dataset, words: Words, profile: Profile) -> Iterator[str]:
    safe = Option.RETAIN_SAFE_PRIVATE in profile.options
    for tag, vr, text in _speaking(dataset):
        if vr == UNSAFE or (is_private(tag) and not safe):
            yield f"private:{tag:08x}"
        else:
            yield from in_element(tag, vr, text, words)


def _speaking(dataset: Dataset, depth: int = 0) -> Iterator[tuple[int, str, str]]:
    """Tag, VR and text of each readable element at any depth but public numbers; `Invalid` below `DEEPEST`."""
    if depth > DEEPEST:
        raise Invalid("sequences are nested too deeply")
    for raw in list(dataset.values()):
        tag = int(raw.tag)
        if isinstance(raw, RawDataElement) and not tag >> 16 & 1:
            vr = raw.VR or known_vr(tag, {})
            if vr in MUTE:
                continue
            if vr in PLAIN and (text := _decoded(raw.value)) is not None:
                yield tag, vr, text
                continue
        if (found := element(dataset, tag)) is not None:
            if tag >> 16 & 1 and not _is_safe(dataset, tag, found.VR):
                yield tag, UNSAFE, ""
                continue
            yield tag, found.VR, "\\".join(texts(found)) if found.VR in PLAIN else ""
            for item in found.value if found.VR == "SQ" else ():
                yield from _speaking(item, depth + 1)


def _is_safe(dataset: Dataset, tag: int, vr: str) -> bool:
    """Whether PS3.15 Table E.3.10-1 names this private element, or it is the creator of such ones."""
    creator = element(dataset, creator_tag(tag))
    name = texts(creator) if creator is not None else []
    return private_action(tag, vr, name[0]) is not Action.REMOVE if len(name) == 1 else False
