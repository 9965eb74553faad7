"""Patients as orders and images name them, and whether two of them can be the same person."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from radrelay_shared.aggregate import Part
from radrelay_shared.named import Named


class Identifier(Part):
    """A number and who gave it out: by a local name, or by one that is unique in the world (OID, URI). Empty: none."""

    value: str = ""
    issuer: str = ""
    universal: str = ""

    def means(self, other: Identifier) -> bool:
        """Whether both can name the same thing: who leaves the issuer out, or names it in another way, may mean any."""
        if not self.value or self.value != other.value:
            return False
        if self.universal and other.universal:
            return self.universal == other.universal
        return len({self.issuer, other.issuer} - {""}) <= 1


class Patient(Part):
    """A person in DICOM's words; what was not said is empty. Identity: it stays in this service."""

    ids: tuple[Identifier, ...] = ()
    name: str = ""  # PN, up to three component groups (PS3.5 §6.2.1)
    birth_date: str = ""  # YYYYMMDD, or its beginning
    sex: str = ""  # M, F or O

    @property
    def named(self) -> Named:
        """All that it is known by."""
        return Named.of(people=[self.name], numbers=[each.value for each in self.ids], dates=[self.birth_date])

    def known_as(self, other: Patient) -> bool:
        """Whether an ID of one is an ID of the other."""
        return any(mine.means(theirs) for mine in self.ids for theirs in other.ids)

    def corrected(self, by: Patient) -> Patient:
        """This patient with what `by` says; its IDs first, and none forgotten."""
        ids = (*by.ids, *(each for each in self.ids if not any(each.means(other) for other in by.ids)))
        said = {"name": by.name, "birth_date": by.birth_date, "sex": by.sex}
        return self.model_copy(update={"ids": ids} | {field: value for field, value in said.items() if value})


# ── can they be the same person? ─────────────────────────────────────────────────────────────────────

NAME, BIRTH_DATE, SEX, ID = "patient-name", "patient-birth-date", "patient-sex", "patient-id"
SEXES = frozenset("MF")  # others do not contradict: systems write O or nothing for what they do not know


def contradictions(one: Patient, other: Patient) -> tuple[str, ...]:
    """In what the two cannot be the same person, as codes; what one of them does not say is no contradiction.

    Different IDs alone are one only where no name and birth date agree: a clinic and its hospital number apart.
    """
    agree = {NAME: same_name(one.name, other.name), BIRTH_DATE: same_date(one.birth_date, other.birth_date)}
    agree[SEX] = None if {one.sex, other.sex} - SEXES else one.sex == other.sex
    found = [code for code, same in agree.items() if same is False]
    strangers = bool(one.ids and other.ids) and not one.known_as(other)
    if strangers and not (agree[NAME] and agree[BIRTH_DATE]):
        found.append(ID)
    return tuple(found)


def same_date(one: str, other: str) -> bool | None:
    """Dates of different precision agree as far as both go; None if one is missing."""
    if not one or not other:
        return None
    return one.startswith(other) or other.startswith(one)


def same_name(one: str, other: str) -> bool | None:
    """Whether two PNs can name one person; None if they are never written in the same script.

    One group in a common script is enough: `YAMADA^TARO=山田^太郎` is `山田^太郎`.
    """
    mine, theirs = _by_script(one), _by_script(other)
    compared = [_agree(mine[script], theirs[script]) for script in mine.keys() & theirs.keys()]
    return any(compared) if compared else None


def _by_script(name: str) -> Mapping[str, list[str]]:
    """The first component group in each script."""
    found: dict[str, list[str]] = {}
    for group in name.split("=")[:3]:
        if (script := _script(group)) is not None:
            found.setdefault(script, group.split("^")[:3])
    return found


def groups_of(names: Iterable[str]) -> str:
    """One PN of several spellings (PS3.5 §6.2.1.1): as letters = as ideograms = as it sounds; one alone stays alone."""
    spelled = list(names)
    if len(spelled) <= 1:
        return "".join(spelled)
    groups = ["", "", ""]
    for name in spelled:
        place = GROUPS.get(_script(name) or "", 0)
        groups[place] = groups[place] or name
    return "=".join(groups).rstrip("=")


GROUPS = {"CJK": 1, "KANA": 2, "HANGUL": 2}
KANA = {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}


def _script(text: str) -> str | None:
    """Of its first letter: LATIN, CJK, HANGUL, KANA, CYRILLIC, ARABIC, …"""
    for char in unicodedata.normalize("NFKC", text):
        if char.isalpha():
            word = unicodedata.name(char, "?").split()[0]
            return "KANA" if word in KANA else word
    return None


def _agree(one: list[str], other: list[str]) -> bool:
    """Families and first given names agree (or an initial does), or one has all the words of the other, in any order.

    A name that is one word says too little to agree by it, unless it is all that both say.
    """
    return any(
        _same_components(fold(one), fold(other)) or _same_words(fold(one), fold(other))
        for fold in (_plain, _transcribed)
    )


def _same_components(one: list[list[str]], other: list[list[str]]) -> bool:
    if len(one) < 2 or len(other) < 2 or one[0] != other[0] or not one[0]:  # noqa: PLR2004  family and given name
        return False
    mine, theirs = " ".join(one[1]), " ".join(other[1])
    if not mine or not theirs:
        return True
    first, second = mine.split()[0], theirs.split()[0]
    return first == second or (min(len(first), len(second)) == 1 and first[0] == second[0])


def _same_words(one: list[list[str]], other: list[list[str]]) -> bool:
    mine, theirs = _words(one), _words(other)
    fewer, more = sorted((mine, theirs), key=len)
    return bool(fewer) and (fewer == more or (len(fewer) > 1 and fewer <= more) or _joined(one) == _joined(other))


def _words(parts: Iterable[list[str]]) -> set[str]:
    return {word for part in parts for word in part}


def _joined(parts: Iterable[list[str]]) -> str:
    """`山田^太郎` and `山田太郎`, `김^희중` and `김희중`."""
    return "".join(word for part in parts for word in part)


GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa", "æ": "ae"})
HIRAGANA_TO_KATAKANA = {code: code + 0x60 for code in range(0x3041, 0x3097)}
VOICED = "\u3099\u309a"  # カ and ガ are two letters
JOINERS = re.compile("['`\u2019\u02bc\u00b4\u0640]")  # within a word: O'Brien; the Arabic tatweel only stretches it


def _plain(parts: list[str]) -> list[list[str]]:
    return [_folded(part) for part in parts]


def _transcribed(parts: list[str]) -> list[list[str]]:
    return [_folded(unicodedata.normalize("NFC", part).lower().translate(GERMAN)) for part in parts]


def _folded(text: str) -> list[str]:
    """Its words without case, accents, width, or which kana they are in."""
    wide = unicodedata.normalize("NFKC", text).translate(HIRAGANA_TO_KATAKANA)
    decomposed = unicodedata.normalize("NFKD", JOINERS.sub("", wide).casefold())
    letters = "".join(char for char in decomposed if char in VOICED or not unicodedata.combining(char))
    return re.findall(r"\w+", unicodedata.normalize("NFC", letters))
