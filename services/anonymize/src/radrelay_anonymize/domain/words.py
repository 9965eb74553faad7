"""The words of identity of one study, and text without them (contextual de-identification)."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from radrelay_anonymize.domain.folding import TOKEN, fold, is_latin, joins_words, squeeze, takes_particles
from radrelay_anonymize.domain.lexicon import GENERIC, clinical, common
from radrelay_anonymize.domain.names import STOP, in_other_scripts, parts_of, without_names
from radrelay_anonymize.domain.pseudonyms import is_well_known
from radrelay_shared.dicom.patterns import MARK, without_patterns
from radrelay_shared.dicom.reading import elements, quietly, texts

# Attributes whose whole value is an identifier.
IDENTIFIERS = (
    "PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "AdmissionID", "ServiceEpisodeID",
    "MedicalRecordLocator", "PatientTelephoneNumbers", "StationName", "DeviceSerialNumber",
    "ReferringPhysicianTelephoneNumbers", "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest", "PersonTelephoneNumbers", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID", "ContainerIdentifier", "SpecimenIdentifier",
)  # fmt: skip
# And those that name a place or an institution: of these, each word that is not everybody's.
PLACES = (
    "PatientAddress", "InsurancePlanIdentification", "RegionOfResidence", "InstitutionName", "InstitutionAddress",
    "ReferringPhysicianAddress", "PersonAddress", "VerifyingOrganization", "IssuerOfPatientID",
)  # fmt: skip
# Sites put words of anatomy into these, too ("CT CHEST"): only what has a number in it counts.
STEP_IDENTIFIERS = ("RequestedProcedureID", "ScheduledProcedureStepID", "PerformedProcedureStepID")
BIRTH_DATES = ("PatientBirthDate", "PatientMotherBirthDate")

SHORTEST_IDENTIFIER = 4  # "1CT1" is one, "7" is not
SHORTEST_GLUED = 6  # from here on an identifier is found inside longer runs, too
SHORTEST_PLACE, SHORTEST_POSTCODE = 3, 5  # letters, digits
MOST_OF_EVERYBODYS = 3  # so many words together name a place, though none of them does
SHORTEST_BENT = 3  # letters of a name to which its script may add endings

_NUMBER = re.compile(r"\d{4}")
_DOTTED = re.compile(r"(?<!\d)\d+(?:\.\d+){3,}")  # a UID that is long enough to be somebody's
_FIELD_OF_MEDICINE = re.compile(r"(?:log|iatr|surg|chirurg|medi[cz]i|p[aä]?ed)[a-zéí]{1,4}")


@dataclass(frozen=True)
class Words:
    """What must not appear in any text: folded name parts, phrases, squeezed identifiers, dates (digits), UIDs.

    `common` are name parts that are words of prose, too, and go only where they stand as names.
    """

    names: frozenset[str] = frozenset()
    common: frozenset[str] = frozenset()
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
        places: Iterable[str] = (),
        dates: Iterable[str] = (),
        uids: Iterable[str] = (),
    ) -> Words:
        """From person names (`Family^Given` or prose order), identifiers, places, `YYYYMMDD` dates and UIDs."""
        spoken = _spoken(tuple(names), tuple(identifiers), tuple(places), tuple(dates))
        return spoken.having(frozenset(uid for uid in uids if _is_somebodys(uid)))

    def __or__(self, other: Words) -> Words:
        return Words(
            names=_union(self.names, other.names),
            common=_union(self.common, other.common),
            phrases=_union(self.phrases, other.phrases),
            identifiers=_union(self.identifiers, other.identifiers),
            dates=_union(self.dates, other.dates),
            uids=self.uids | other.uids,
        )

    def having(self, uids: frozenset[str]) -> Words:
        """These with other UIDs, which differ in each instance."""
        return Words(self.names, self.common, self.phrases, self.identifiers, self.dates, uids)

    def redact(self, text: str) -> str:
        """The text of a code without any of these words; what is common in codes stays."""
        return self._without(text, prose=False)

    def clean(self, text: str) -> str:
        """Prose without these words, nor what looks like a date, telephone number, address, number or titled name."""
        return without_patterns(self._without(text, prose=True))

    def _without(self, text: str, *, prose: bool) -> str:
        text = _joined(self.phrases, self.identifiers | self.dates).sub(MARK, unicodedata.normalize("NFC", text))
        text = _DOTTED.sub(lambda match: MARK if match[0] in self.uids else match[0], text)
        return without_names(text, self.names, self.common, prose=prose)


@functools.lru_cache(maxsize=16)  # a study's words are the same for all its instances
def _spoken(
    names: tuple[str, ...], identifiers: tuple[str, ...], places: tuple[str, ...], dates: tuple[str, ...]
) -> Words:
    kinds = [_identifier(value) for value in (*identifiers, *filter(_is_somewhere, places))]
    spoken = {part for name in names for part in parts_of(name)}
    spoken |= {part for place in places for part in _telling_words(place)}
    spoken |= {digits for date in dates for digits in _short_spellings(date)}
    everybodys = {part for part in spoken if part in common() or part.removesuffix("s") in common()}
    return Words(
        names=frozenset(spoken - everybodys),
        common=frozenset(everybodys),
        phrases=frozenset(
            [
                *(phrase for name in names for phrase in in_other_scripts(name)),
                *(value for kind, value in kinds if kind == "phrase"),
            ]
        ),
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
    by_kind: dict[str, list[str]] = {"names": [], "identifiers": [], "places": [], "dates": [], "uids": []}
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
    if keyword in PLACES:
        return "places"
    if keyword in BIRTH_DATES:
        return "dates"
    by_vr = {"PN": "names", "UI": "uids"}
    return by_vr.get(vr) or ("numbers" if keyword in STEP_IDENTIFIERS else None)


def _identifier(value: str) -> tuple[str, str]:
    """An identifier has a digit and is squeezed to letters and digits; else it is a phrase, unless a common word."""
    squeezed = squeeze(value)
    if len(squeezed) < SHORTEST_IDENTIFIER or squeezed in common():
        return "too short", ""
    if any(char.isdigit() for char in squeezed):
        return "identifier", squeezed
    return "phrase", unicodedata.normalize("NFC", value.strip())


def _is_somewhere(place: str) -> bool:
    """Whether it says which one: every hospital has a "chest clinic" and an "emergency department"."""
    said = [word for word in map(fold, TOKEN.findall(place)) if word not in STOP]
    return len(said) >= MOST_OF_EVERYBODYS or any(char.isdigit() for char in place) or any(_telling_words(place))


def _telling_words(place: str) -> Iterator[str]:
    """What of an address or an institution's name says which: not "General Hospital", nor "Heart Center"."""
    for word in map(fold, TOKEN.findall(place)):
        if word.isdigit():
            yield from [word] if len(word) >= SHORTEST_POSTCODE else []
        elif len(word) >= SHORTEST_PLACE and not _is_everybodys(word):
            yield word


@functools.lru_cache(maxsize=1024)
def _is_everybodys(word: str) -> bool:
    """Whether it, or what it is the plural of, says nothing of where a place is."""
    generic = STOP | GENERIC | clinical()
    return word in generic or word.removesuffix("s") in generic or bool(_FIELD_OF_MEDICINE.search(word))


def _spellings(date: str) -> Iterator[str]:
    """`YYYYMMDD` and the two orders that people write."""
    digits = squeeze(date)[:8]
    if len(digits) == 8 and digits.isdigit():  # noqa: PLR2004  YYYYMMDD
        year, month, day = digits[:4], digits[4:6], digits[6:]
        yield from (year + month + day, day + month + year, month + day + year)


def _short_spellings(date: str) -> Iterator[str]:
    """The same with two digits of the year."""
    for spelling in list(_spellings(date))[1:]:
        yield spelling[:4] + spelling[6:]
        yield spelling[6:] + spelling[2:4] + spelling[:2]


def _spaced(phrase: str) -> str:
    """The words in order, with anything but letters and digits between them.

    Whole words where a script has them, with up to three letters before or behind where it adds such.
    """
    pattern = r"[\W_]+".join(map(re.escape, re.findall(r"[^\W_]+", phrase)))
    if joins_words(phrase):
        return pattern
    bent = r"[^\W\d_]{0,3}" if not is_latin(phrase) and len(phrase) >= SHORTEST_BENT else ""
    return rf"(?<![^\W_]){bent if takes_particles(phrase) else ''}{pattern}{bent}(?![^\W_])"


def _loose(squeezed: str) -> str:
    """The characters in order, with any separator between them; short ones only as whole words."""
    pattern = r"[\W_]?".join(map(re.escape, squeezed))
    return pattern if len(squeezed) >= SHORTEST_GLUED else rf"(?<![^\W_]){pattern}(?![^\W_])"
