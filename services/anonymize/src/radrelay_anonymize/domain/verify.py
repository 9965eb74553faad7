"""The second look at what goes out: by other code than the engine's, on the bytes, believing nothing."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset

from radrelay_anonymize.domain.reading import elements, quietly, texts
from radrelay_anonymize.domain.rules import is_enumerated
from radrelay_anonymize.domain.words import SHORTEST_GLUED, Words, fold, squeeze

TEXTUAL = frozenset({"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
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
    with quietly():
        buffer = io.BytesIO(output)
        try:
            pydicom.dcmread(buffer, stop_before_pixels=True)
            header = output[: buffer.tell()]
            dataset = pydicom.dcmread(io.BytesIO(output))
            found = [*_form(dataset, output), *_values(dataset, words)]
        except Exception as error:  # noqa: BLE001  what cannot be read again does not leave
            return [f"unreadable:{type(error).__name__}"]
        return sorted({*found, *_raw(words, header)})


def _form(dataset: FileDataset, output: bytes) -> Iterator[str]:
    if any(output[:128]):
        yield "preamble"
    if dataset.file_meta.get("MediaStorageSOPInstanceUID") != dataset.get("SOPInstanceUID"):
        yield "meta-mismatch:00020003"
    for keyword, value in MARKERS.items():
        if dataset.get(keyword) != value:
            yield f"marker:{keyword}"


def _values(dataset: FileDataset, words: Words) -> Iterator[str]:
    for element in [*elements(dataset.file_meta), *elements(dataset)]:
        where = f"{int(element.tag):08x}"
        if element.tag.is_private:
            yield f"private:{where}"
        elif element.VR == "UI":
            if words.uids & set(texts(element)):
                yield f"uid:{where}"
        elif element.VR in TEXTUAL and not is_enumerated(element.tag) and element.keyword not in OWN:
            yield from (f"{kind}:{where}" for kind in _kinds(element, words))


def _kinds(element: DataElement, words: Words) -> Iterator[str]:
    """Which sorts of identity the element's text holds."""
    text = " ".join(texts(element))
    shortest = SHORTEST.get(element.VR, SHORTEST_WORD)
    prose = _words_in(fold(text))
    tokens = {*prose.split(), *_words_in(re.sub(r"['\u2019]", "", fold(text))).split()}
    if {token for token in tokens if len(token) >= shortest} & words.names:
        yield "name"
    squeezed = squeeze(text)
    phrases = [_words_in(fold(phrase)) for phrase in words.phrases]
    if any((phrase if phrase.isascii() else phrase.strip()) in prose for phrase in phrases):
        yield "phrase"
    if any(word in squeezed if len(word) >= SHORTEST_GLUED else word in tokens for word in words.identifiers):
        yield "identifier"
    if any(date in squeezed for date in words.dates):
        yield "date"
    if any(uid in text for uid in words.uids):
        yield "uid"


def _words_in(text: str) -> str:
    """Its words between single spaces, one at either end too; scripts that join words are searched without those."""
    return " " + " ".join(re.findall(r"[^\W_]+", text)) + " "


def _raw(words: Words, header: bytes) -> Iterator[str]:
    """The bytes before the pixels, as text of no charset: what hides outside of readable elements."""
    haystack = header.lower()
    spoken = [word.encode() for word in words.names if len(word) >= SHORTEST_RAW and word.isascii()]
    if spoken and re.search(rb"(?<![a-z0-9])(?:" + b"|".join(map(re.escape, spoken)) + rb")(?![a-z0-9])", haystack):
        yield "raw:name"
    if any(uid.encode() in haystack for uid in words.uids):
        yield "raw:uid"
    glued = [word for word in words.identifiers if len(word) >= SHORTEST_GLUED and not word.isdigit()]
    if any(word.encode() in haystack for word in glued):
        yield "raw:identifier"
