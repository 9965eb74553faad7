"""The words of identity of one study, and text without them (contextual de-identification)."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from radrelay_anonymize.domain.pseudonyms import is_well_known
from radrelay_shared.dicom.patterns import MARK, without_patterns
from radrelay_shared.dicom.reading import elements, quietly, texts

# Never identity by themselves, though they stand in names: particles, titles, placeholders.
STOP = frozenset({
    "al", "and", "anon", "anonymous", "anonymized", "bin", "da", "de", "del", "der", "di", "do", "dos", "dr", "du",
    "el", "frau", "herr", "ibn", "la", "le", "md", "med", "miss", "mr", "mrs", "ms", "no", "none", "of", "patient",
    "phd", "prof", "test", "the", "unknown", "van", "von", "zu",
})  # fmt: skip

# Attributes whose whole value is an identifier or the name of a place.
IDENTIFIERS = (
    "PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "AdmissionID", "ServiceEpisodeID",
    "MedicalRecordLocator", "PatientTelephoneNumbers", "PatientAddress", "InsurancePlanIdentification",
    "RegionOfResidence", "InstitutionName", "InstitutionAddress", "StationName", "DeviceSerialNumber",
    "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers", "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest", "PersonAddress", "PersonTelephoneNumbers", "VerifyingOrganization",
    "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "ContainerIdentifier", "SpecimenIdentifier",
)  # fmt: skip
# Sites put words of anatomy into these, too ("CT CHEST"): only what has a number in it counts.
STEP_IDENTIFIERS = ("RequestedProcedureID", "ScheduledProcedureStepID", "PerformedProcedureStepID")
BIRTH_DATES = ("PatientBirthDate", "PatientMotherBirthDate")

SHORTEST_IDENTIFIER = 4  # "1CT1" is one, "7" is not
SHORTEST_GLUED_NAME = 4  # "S R" is no reason to take SR for a name
SHORTEST_GLUED = 6  # from here on an identifier is found inside longer runs, too
LATIN = 0x24F  # names in other scripts are searched as parts of words, because those scripts join them

_APOSTROPHE = re.compile(r"['\u2019]")
_NUMBER = re.compile(r"\d{4}")
_DOTTED = re.compile(r"(?<!\d)\d+(?:\.\d+){3,}")  # a UID that is long enough to be somebody's
_TOKEN = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


@dataclass(frozen=True)
class Words:
    """What must not appear in any text: folded name parts, phrases, squeezed identifiers, dates (digits), UIDs."""

    names: frozenset[str] = frozenset()
    phrases: frozenset[str] = frozenset()
    identifiers: frozenset[str] = frozenset()
    dates: frozenset[str] = frozenset()
    uids: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        *,
        names: Iterable[str] = (),
        identifiers: Iterable[str] = (),
        dates: Iterable[str] = (),
        uids: Iterable[str] = (),
    ) -> Words:
        """From person names (`Family^Given` or prose order), identifiers or places, `YYYYMMDD` dates and UIDs."""
        spoken = _spoken(tuple(names), tuple(identifiers), tuple(dates))
        return replace(spoken, uids=frozenset(uid for uid in uids if _is_somebodys(uid)))

    def __or__(self, other: Words) -> Words:
        return Words(
            names=_union(self.names, other.names),
            phrases=_union(self.phrases, other.phrases),
            identifiers=_union(self.identifiers, other.identifiers),
            dates=_union(self.dates, other.dates),
            uids=self.uids | other.uids,
        )

    def redact(self, text: str) -> str:
        """The text without any of these words; measures, anatomy and punctuation stay."""
        text = _joined(self.phrases, self.identifiers | self.dates).sub(MARK, unicodedata.normalize("NFC", text))
        text = _DOTTED.sub(lambda match: MARK if match[0] in self.uids else match[0], text)
        return _TOKEN.sub(lambda match: MARK if self._knows(match[0]) else match[0], text)

    def clean(self, text: str) -> str:
        """As `redact`, and without what looks like a date, telephone number, address, long number or titled name."""
        return without_patterns(self.redact(text))

    def _knows(self, token: str) -> bool:
        spellings = {_bare(token), *map(fold, _APOSTROPHE.split(token))}  # O'Neil, and Anna's
        found = {word for word in spellings & self.names if len(word) > 2 or not token.islower()}  # noqa: PLR2004  ng/ml
        return bool(found)


@functools.lru_cache(maxsize=16)  # a study's words are the same for all its instances
def _spoken(names: tuple[str, ...], identifiers: tuple[str, ...], dates: tuple[str, ...]) -> Words:
    kinds = [_identifier(value) for value in identifiers]
    places = [value for kind, value in kinds if kind == "phrase"]
    return Words(
        names=frozenset(part for name in names for part in _name_parts(name)),
        phrases=frozenset([*(phrase for name in names for phrase in _joined_scripts(name)), *places]),
        identifiers=frozenset(value for kind, value in kinds if kind == "identifier"),
        dates=frozenset(digits for date in dates for digits in _spellings(date)),
    )


@functools.lru_cache(maxsize=64)
def _union(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    """The same object for the same words, so that whatever is remembered by them is found at once."""
    return one | other


@functools.lru_cache(maxsize=4096)
def _is_somebodys(uid: str) -> bool:
    return _DOTTED.fullmatch(uid) is not None and not is_well_known(uid, names_a_class=True)


@functools.lru_cache(maxsize=64)  # as above
def _joined(phrases: frozenset[str], identifiers: frozenset[str]) -> re.Pattern[str]:
    """Everything that is more, or less, than a word; the longest spelling first."""
    spellings = [_spaced(phrase) for phrase in phrases]
    spellings += [_loose(value) for value in identifiers]
    return re.compile("|".join(sorted(spellings, key=len, reverse=True)) or r"(?!)", re.IGNORECASE)


def words_of(dataset: Dataset, but: frozenset[int] = frozenset()) -> Words:
    """Every name, identifier, birth date and UID of one instance, wherever it is nested, private elements included.

    `but` are tags whose values are no words.
    """
    with quietly():
        found = [(each, kind) for each in elements(dataset) if (kind := kind_of(int(each.tag), each.VR))]
        return gathered((kind, texts(each)) for each, kind in found if int(each.tag) not in but)


def gathered(found: Iterable[tuple[str, list[str]]]) -> Words:
    """The words in values whose kind `kind_of` told."""
    by_kind: dict[str, list[str]] = {"names": [], "identifiers": [], "dates": [], "uids": []}
    for kind, values in found:
        if kind == "numbers":
            by_kind["identifiers"] += [text for text in values if _NUMBER.search(text)]
        else:
            by_kind[kind] += values
    return Words.of(**by_kind)


@functools.lru_cache(maxsize=8192)
def kind_of(tag: int, vr: str) -> str | None:
    """Which sort of identity word an element holds."""
    keyword = keyword_for_tag(tag)
    if keyword in IDENTIFIERS:
        return "identifiers"
    if keyword in BIRTH_DATES:
        return "dates"
    by_vr = {"PN": "names", "UI": "uids"}
    return by_vr.get(vr) or ("numbers" if keyword in STEP_IDENTIFIERS else None)


def fold(text: str) -> str:
    """Case and diacritics away, so that MÜLLER, Müller and Muller are one."""
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return unicodedata.normalize("NFC", bare).casefold()


def _bare(token: str) -> str:
    """Folded and without apostrophes: O'Neil and ONeil are one."""
    return _APOSTROPHE.sub("", fold(token))


def _name_parts(name: str) -> Iterator[str]:
    """Each part of at least two letters, and the usual ways to glue two of them together."""
    for spelling in {name, _transliterated(name)}:
        for group in spelling.split("="):  # alphabetic=ideographic=phonetic
            parts = [_bare(part) for part in _TOKEN.findall(group)]
            parts = [part for part in parts if part not in STOP]
            yield from (part for part in parts if len(part) > 1 and not part.isdigit())
            for first, second in pairwise(parts[:3]):
                glued = (first + second, second + first, second[0] + first, first + second[0])
                yield from (word for word in glued if len(word) >= SHORTEST_GLUED_NAME)


def _transliterated(name: str) -> str:
    """The German spelling without umlauts: what a system without them wrote."""
    return "".join({"ä": "ae", "ö": "oe", "ü": "ue"}.get(char, char) for char in name.lower())


def _joined_scripts(name: str) -> Iterator[str]:
    """In scripts that join words (山田太郎の, 김희중은): each part of two characters or more, and the whole name."""
    for group in name.split("="):
        parts = [unicodedata.normalize("NFC", part) for part in _TOKEN.findall(group)]
        if any(ord(char) > LATIN for part in parts for char in part):
            yield from (part for part in [*parts, "".join(parts)] if len(part) > 1)


def _identifier(value: str) -> tuple[str, str]:
    """An identifier has a digit and is squeezed to letters and digits; a place is a phrase of words."""
    squeezed = squeeze(value)
    if len(squeezed) < SHORTEST_IDENTIFIER:
        return "too short", ""
    if any(char.isdigit() for char in squeezed):
        return "identifier", squeezed
    return "phrase", unicodedata.normalize("NFC", value.strip())


def squeeze(text: str) -> str:
    """Letters and digits only, folded."""
    return "".join(char for char in fold(text) if char.isalnum())


def _spellings(date: str) -> Iterator[str]:
    """`YYYYMMDD` and the two orders that people write."""
    digits = squeeze(date)[:8]
    if len(digits) == 8 and digits.isdigit():  # noqa: PLR2004  YYYYMMDD
        year, month, day = digits[:4], digits[4:6], digits[6:]
        yield from (year + month + day, day + month + year, month + day + year)


def _spaced(phrase: str) -> str:
    """The words in order, with anything but letters and digits between them; whole words where a script has them."""
    pattern = r"[\W_]+".join(map(re.escape, re.findall(r"[^\W_]+", phrase)))
    return pattern if any(ord(char) > LATIN for char in phrase) else rf"(?<![^\W_]){pattern}(?![^\W_])"


def _loose(squeezed: str) -> str:
    """The characters in order, with any separator between them; short ones only as whole words."""
    pattern = r"[\W_]?".join(map(re.escape, squeezed))
    return pattern if len(squeezed) >= SHORTEST_GLUED else rf"(?<![^\W_]){pattern}(?![^\W_])"
