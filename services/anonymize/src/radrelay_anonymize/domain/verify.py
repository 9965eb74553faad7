"""The second look at what goes out: by other code than the engine's, on the bytes, believing nothing."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterator

import pydicom
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset

from radrelay_anonymize.domain.gate import PIXELS
from radrelay_anonymize.domain.reading import DEEPEST, quietly, texts
from radrelay_anonymize.domain.reading import element as element_of
from radrelay_anonymize.domain.rules import is_enumerated
from radrelay_anonymize.domain.words import SHORTEST_GLUED, Words, fold, squeeze
from radrelay_shared.errors import Invalid

TEXTUAL = frozenset({"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
MUTE = frozenset({
    "AT", "DA", "DS", "DT", "FD", "FL", "IS", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "TM", "UL", "US",
    "UV",
})  # fmt: skip
LONGEST_REMEMBERED = 256  # characters
SHORTEST = {"CS": 5}  # short words are views and regions there
SHORTEST_WORD = 3
SHORTEST_RAW = 5  # shorter ones occur in binary values by chance
MARKERS = {
    "PatientIdentityRemoved": "YES",
    "LongitudinalTemporalInformationModified": "MODIFIED",
    "SpecificCharacterSet": "ISO_IR 192",
}
OWN = frozenset({"DeidentificationMethod", "DeidentificationMethodCodeSequence"})


def verify(words: Words, output: bytes) -> list[str]:
    """Evidence that the output is not fit to leave: `kind:tag` codes, never a value; an empty list lets it go.

    Searches every value but pixels for the words, parsed and as raw bytes, and looks at preamble, file meta, markers
    and private elements.
    """
    return inspected(words, output)[1]


def inspected(words: Words, output: bytes) -> tuple[FileDataset, list[str]]:
    """As `verify`, with the data set that was read for it; an empty one if nothing can be read."""
    with quietly():
        try:
            dataset = pydicom.dcmread(io.BytesIO(output))
            found = [*_form(dataset, output), *_values(dataset, words)]
        except Exception as error:  # noqa: BLE001  what cannot be read again does not leave
            return FileDataset(None, {}), [f"unreadable:{type(error).__name__}"]
        return dataset, sorted({*found, *_raw(words, _but_pixels(dataset, output))})


def _but_pixels(dataset: FileDataset, output: bytes) -> bytes:
    """The file before and after its pixel data, as far as it says where they are."""
    for keyword in PIXELS:
        pixels = dataset.get_item(keyword) if keyword in dataset else None
        if isinstance(pixels, RawDataElement) and pixels.value:
            return output[: pixels.value_tell] + output[pixels.value_tell + len(pixels.value) :]
    return output


def _form(dataset: FileDataset, output: bytes) -> Iterator[str]:
    if any(output[:128]):
        yield "preamble"
    if dataset.file_meta.get("MediaStorageSOPInstanceUID") != dataset.get("SOPInstanceUID"):
        yield "meta-mismatch:00020003"
    for keyword, value in MARKERS.items():
        if dataset.get(keyword) != value:
            yield f"marker:{keyword}"


def _values(dataset: FileDataset, words: Words) -> Iterator[str]:
    for element in [*_speaking(dataset.file_meta), *_speaking(dataset)]:
        where = f"{int(element.tag):08x}"
        if element.tag.is_private:
            yield f"private:{where}"
        elif element.VR == "UI":
            if words.uids & set(texts(element)):
                yield f"uid:{where}"
        elif element.VR in TEXTUAL and not is_enumerated(element.tag) and element.keyword not in OWN:
            yield from (f"{kind}:{where}" for kind in _kinds(element, words))


def _speaking(dataset: Dataset, depth: int = 0) -> Iterator[DataElement]:
    """Every readable element, at any depth, but public numbers and bytes; raises `Invalid` below `DEEPEST`."""
    if depth > DEEPEST:
        raise Invalid("sequences are nested too deeply")
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.VR in MUTE and not tag.is_private:
            continue
        if (found := element_of(dataset, tag)) is None:
            continue
        yield found
        for item in found.value if found.VR == "SQ" else ():
            yield from _speaking(item, depth + 1)


def _kinds(element: DataElement, words: Words) -> Iterator[str]:
    """Which sorts of identity the element's text holds."""
    text = " ".join(texts(element))
    judge = _remembered if len(text) <= LONGEST_REMEMBERED else _judged
    yield from judge(text, SHORTEST.get(element.VR, SHORTEST_WORD), words.names, words.phrases, words.identifiers)
    squeezed = squeeze(text) if any(map(str.isdigit, text)) else ""
    if squeezed and any(date in squeezed for date in words.dates):
        yield "date"
    if "." in text and any(uid in text for uid in words.uids):
        yield "uid"


def _judged(
    text: str, shortest: int, names: frozenset[str], phrases: frozenset[str], identifiers: frozenset[str]
) -> tuple[str, ...]:
    """As far as the text holds one: "name", "phrase", "identifier"."""
    prose = _words_in(fold(text))
    tokens = {*prose.split(), *_words_in(re.sub(r"['\u2019]", "", fold(text))).split()}
    squeezed = squeeze(text)
    found = {
        "name": bool({token for token in tokens if len(token) >= shortest} & names),
        "phrase": any(phrase in prose for phrase in _searched(phrases)),
        "identifier": any(word in (squeezed if len(word) >= SHORTEST_GLUED else tokens) for word in identifiers),
    }
    return tuple(kind for kind, is_there in found.items() if is_there)


_remembered = functools.lru_cache(maxsize=4096)(_judged)  # most texts come again in every instance of a series


@functools.lru_cache(maxsize=16)
def _searched(phrases: frozenset[str]) -> list[str]:
    """As words between spaces; those of scripts that join words, without the spaces."""
    found = [_words_in(fold(phrase)) for phrase in phrases]
    return [phrase if phrase.isascii() else phrase.strip() for phrase in found]


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
    long = [re.escape(word.encode()) for word in names if len(word) >= SHORTEST_RAW and word.isascii()]
    return re.compile(rb"(?<![a-z0-9])(?:" + b"|".join(long) + rb")(?![a-z0-9])") if long else None
