"""The second look at what goes out: by other code than the engine's, on the bytes, believing nothing."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from radrelay_anonymize.domain.folding import fold, squeeze, takes_particles
from radrelay_anonymize.domain.private import creator_tag, private_action
from radrelay_anonymize.domain.profile import Option, Profile, default
from radrelay_anonymize.domain.rules import is_enumerated
from radrelay_anonymize.domain.table import Action
from radrelay_anonymize.domain.words import SHORTEST_GLUED, Words
from radrelay_shared.dicom.reading import DEEPEST, UNDEFINED, element, quietly, texts
from radrelay_shared.errors import Invalid

TEXTUAL = frozenset({"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
FRAGMENT, END_OF_FRAGMENTS = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0" + bytes(4)
PLAIN = TEXTUAL | {"UI"}
MUTE = frozenset({
    "AT", "DA", "DS", "DT", "FD", "FL", "IS", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "TM", "UL", "US",
    "UV",
})  # fmt: skip
LONGEST_REMEMBERED = 256  # characters
SHORTEST = {"CS": 5}  # short words are views and regions there
SHORTEST_WORD = 3
SHORTEST_RAW = 5  # shorter ones occur in binary values by chance
UNSAFE = "unsafe"  # in place of a VR
MARKERS = {
    "PatientIdentityRemoved": "YES",
    "SpecificCharacterSet": "ISO_IR 192",
}
OWN = frozenset({0x00120063, 0x00120064})  # what the engine says of itself: method, and method codes


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
    return inspected(words, output, profile or default()).evidence


def inspected(words: Words, output: bytes, profile: Profile) -> Inspection:
    """As `verify`, with what was read for it."""
    with quietly():
        buffer = io.BytesIO(output)
        try:
            dataset = pydicom.dcmread(buffer, stop_before_pixels=True)
            start = buffer.tell()
            end = _end_of_pixels(output, start, dataset.file_meta.TransferSyntaxUID)
            found = [*_form(dataset, output, end), *_marks(dataset, profile), *_values(dataset, words, profile)]
        except Exception as error:  # noqa: BLE001  what cannot be read again does not leave
            return Inspection(FileDataset(None, {}), len(output), [f"unreadable:{type(error).__name__}"])
        return Inspection(dataset, start, sorted({*found, *_raw(words, output[:start] + output[end:])}))


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


def _form(dataset: FileDataset, output: bytes, end_of_pixels: int) -> Iterator[str]:
    if end_of_pixels != len(output):
        yield "trailer"
    if any(output[:128]):
        yield "preamble"
    if dataset.file_meta.get("MediaStorageSOPInstanceUID") != dataset.get("SOPInstanceUID"):
        yield "meta-mismatch:00020003"


def _marks(dataset: FileDataset, profile: Profile) -> Iterator[str]:
    """Which of the marks that the profile demands are missing or say something else."""
    for keyword, value in (MARKERS | {"LongitudinalTemporalInformationModified": profile.temporal}).items():
        if dataset.get(keyword) != value:
            yield f"marker:{keyword}"


def _values(dataset: FileDataset, words: Words, profile: Profile) -> Iterator[str]:
    safe = Option.RETAIN_SAFE_PRIVATE in profile.options
    for tag, vr, text in [*_speaking(dataset.file_meta), *_speaking(dataset)]:
        where = f"{tag:08x}"
        if vr == UNSAFE or (tag >> 16 & 1 and not safe):
            yield f"private:{where}"
        elif vr == "UI":
            if words.uids & set(text.split("\\")):
                yield f"uid:{where}"
        elif vr in TEXTUAL and not is_enumerated(tag) and tag not in OWN:
            yield from (f"{kind}:{where}" for kind in _kinds(text, SHORTEST.get(vr, SHORTEST_WORD), words))


def _speaking(dataset: Dataset, depth: int = 0) -> Iterator[tuple[int, str, str]]:
    """Tag, VR and text of each readable element at any depth but public numbers; `Invalid` below `DEEPEST`."""
    if depth > DEEPEST:
        raise Invalid("sequences are nested too deeply")
    for raw in list(dataset.values()):
        tag = int(raw.tag)
        if isinstance(raw, RawDataElement) and not tag >> 16 & 1:
            if raw.VR in MUTE:
                continue
            if raw.VR in PLAIN and (text := _decoded(raw.value)) is not None:
                yield tag, raw.VR, text
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


def _decoded(raw: bytes | None) -> str | None:
    """As UTF-8, for that is what the marker promises; None if it is not."""
    try:
        return (raw or b"").decode().rstrip("\0 ")
    except UnicodeDecodeError:
        return None


def _kinds(text: str, shortest: int, words: Words) -> Iterator[str]:
    """Which sorts of identity the text holds."""
    judge = _remembered if len(text) <= LONGEST_REMEMBERED else _judged
    yield from judge(text, shortest, words.names, words.phrases, words.identifiers, words.dates)
    if "." in text and any(uid in text for uid in words.uids):
        yield "uid"


def _judged(
    text: str,
    shortest: int,
    names: frozenset[str],
    phrases: frozenset[str],
    identifiers: frozenset[str],
    dates: frozenset[str],
) -> tuple[str, ...]:
    """Of "name", "phrase", "identifier" and "date" those that the text holds."""
    prose = _words_in(fold(text))
    tokens = {*prose.split(), *_words_in(re.sub(r"['\u2019]", "", fold(text))).split()}
    squeezed = squeeze(text)
    found = {
        "name": bool({token for token in tokens if len(token) >= shortest} & names),
        "phrase": any(phrase in prose for phrase in _searched(phrases)),
        "identifier": any(word in (squeezed if len(word) >= SHORTEST_GLUED else tokens) for word in identifiers),
        "date": any(date in squeezed for date in dates),
    }
    return tuple(kind for kind, is_there in found.items() if is_there)


_remembered = functools.lru_cache(maxsize=4096)(_judged)  # most texts come again in every instance of a series


@functools.lru_cache(maxsize=16)
def _searched(phrases: frozenset[str]) -> list[str]:
    """As words between spaces; without the one behind where a script adds endings, and that before, if prefixes."""
    found = [_words_in(fold(phrase)) for phrase in phrases]
    return [each if each.isascii() else each.strip() if takes_particles(each) else each.rstrip() for each in found]


def _words_in(text: str) -> str:
    """Its words between single spaces, one at either end too; scripts that join words are searched without those."""
    return " " + " ".join(re.findall(r"[^\W_]+", text)) + " "


def _raw(words: Words, header: bytes) -> Iterator[str]:
    """The bytes before the pixels, as text of no charset: what hides outside of readable elements."""
    haystack = header.lower()
    spoken = _spoken(words.names)
    if spoken and spoken.search(haystack):
        yield "raw:name"
    if any(uid.encode() in haystack for uid in words.uids):
        yield "raw:uid"
    glued = [word for word in words.identifiers if len(word) >= SHORTEST_GLUED and not word.isdigit()]
    if any(word.encode() in haystack for word in glued):
        yield "raw:identifier"


@functools.lru_cache(maxsize=16)
def _spoken(names: frozenset[str]) -> re.Pattern[bytes] | None:
    """The names that cannot stand in binary values by chance, as whole words."""
    long = [
        re.escape(word.encode())
        for word in names
        if len(word) >= SHORTEST_RAW and word.isascii() and not word.isdigit()
    ]
    return re.compile(rb"(?<![a-z0-9])(?:" + b"|".join(long) + rb")(?![a-z0-9])") if long else None
