"""How a person's name is spelled, and where in a text a word stands as one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from radrelay_anonymize.domain.folding import APOSTROPHE, TOKEN, bare, fold, is_latin, transliterated
from radrelay_anonymize.domain.lexicon import NAMED_AFTER, NAMING
from radrelay_shared.dicom.patterns import MARK

# Never identity by themselves, though they stand in names: particles, titles, degrees, placeholders.
STOP = frozenset({
    "al", "and", "anon", "anonymous", "anonymized", "bin", "da", "de", "del", "der", "di", "do", "dos", "dr", "du",
    "el", "er", "frau", "gp", "herr", "ibn", "icu", "ii", "iii", "iv", "jr", "la", "le", "md", "med", "miss", "mr",
    "mrs", "ms", "no", "none", "np", "of", "pa", "patient", "phd", "prof", "rn", "sr", "test", "the", "unknown", "van",
    "von", "zu",
})  # fmt: skip
TITLES = frozenset({
    "doctor", "dr", "dra", "frau", "herr", "herrn", "miss", "mme", "monsieur", "mr", "mrs", "ms", "nurse", "prof",
    "senor", "senora", "sister", "sr", "sra",
})  # fmt: skip

SHORTEST_GLUED = 4  # letters; "S R" is no reason to take SR for a name
SHORTEST_GENITIVE = 4
_PIECE = re.compile(r"[^\W\d_a-zß-ÿ]?[a-zß-ÿ]+|[^\W\d_a-zß-ÿ]+(?![a-zß-ÿ])")  # of MusterfrauErika and MUSTERFRAU01
_BETWEEN_NAMES = re.compile(r"[\s,_^/.-]{0,3}")

Names = frozenset[str]


def parts_of(name: str) -> Iterator[str]:
    """Each part of at least two letters, its genitive, and the usual ways to glue two of them together; folded."""
    for spelling in {name, transliterated(name)}:
        for group in spelling.split("="):  # alphabetic=ideographic=phonetic
            parts = [part for part in map(bare, TOKEN.findall(group)) if part not in STOP]
            for part in parts:
                if len(part) > 1 and not part.isdigit():
                    yield part
                    yield from [f"{part}s"] if len(part) >= SHORTEST_GENITIVE else []
            for first, second in pairwise(parts[:3]):
                initials = (second[0] + first, first + second[0], first[0] + second, second + first[0])
                glued = (first + second, second + first, *initials)
                yield from (word for word in glued if len(word) >= SHORTEST_GLUED)


def in_other_scripts(name: str) -> Iterator[str]:
    """In scripts that bend or join words (Иванову, 山田太郎の): each part of two characters or more, and the whole."""
    for group in name.split("="):
        parts = [unicodedata.normalize("NFC", part) for part in TOKEN.findall(group)]
        if not all(map(is_latin, parts)):
            yield from (part for part in [*parts, "".join(parts)] if len(part) > 1)


def without_names(text: str, names: Names, common: Names, *, prose: bool) -> str:
    """A mark for each of the names, and for each of the `common` words where it stands as a name.

    In what is no `prose` but the meaning of a code, a common word is one only beside another name.
    """
    tokens = [*TOKEN.finditer(text)]
    kinds = [_kind(token[0], names, common) for token in tokens]
    if not any(kinds):
        return text
    line = _Line(text, tokens, kinds, names, text.islower())
    at, pieces = 0, []
    for place, token in enumerate(tokens):
        if kinds[place] == "name" or (kinds[place] and (line.is_beside_name(place) or (prose and line.is_name(place)))):
            pieces += [text[at : token.start()], MARK]
            at = token.end()
    return "".join([*pieces, text[at:]])


def _kind(token: str, names: Names, common: Names) -> str:
    """Whether the token is a "name", a "common" word, or neither (empty)."""
    spellings = {bare(token), *map(fold, APOSTROPHE.split(token))}  # O'Neil, and Anna's
    if any(len(word) > 2 or not token.islower() for word in spellings & names):  # noqa: PLR2004  ng/ml
        return "name"
    if not (token.islower() or token.isupper() or token.istitle()) or not token.isalpha():
        pieces = {bare(token).strip("0123456789"), *map(fold, _PIECE.findall(token))}
        if any(len(piece) >= SHORTEST_GLUED for piece in pieces & names):
            return "name"
    return "common" if spellings & common else ""


@dataclass(frozen=True, slots=True)
class _Line:
    """A text in tokens, for the question whether a common word stands as a name in it."""

    text: str
    tokens: list[re.Match[str]]
    kinds: list[str]
    names: Names
    has_no_capitals: bool

    def is_beside_name(self, place: int) -> bool:
        """Next to a name that is no common word, or to what makes one person's name with it: given and family."""
        return any(self._is_pair(*pair) for pair in ((place - 1, place), (place, place + 1)))

    def is_name(self, place: int) -> bool:
        """Behind a title, or with a capital that is no finding's (Baker's cyst), or where nothing has a capital."""
        before = self._before(place)
        if before in TITLES:
            return True
        if before in NAMING or (self._word(place + 1) in NAMED_AFTER and self._gap(place, place + 1) in {" ", "-"}):
            return False
        return not self.tokens[place][0].islower() or self.has_no_capitals

    def _is_pair(self, one: int, other: int) -> bool:
        if one < 0 or other >= len(self.tokens) or not (self.kinds[one] and self.kinds[other]):
            return False
        if not _BETWEEN_NAMES.fullmatch(self._gap(one, other)):
            return False
        return "name" in (self.kinds[one], self.kinds[other]) or self._word(one) + self._word(other) in self.names

    def _gap(self, one: int, other: int) -> str:
        return self.text[self.tokens[one].end() : self.tokens[other].start()]

    def _word(self, place: int) -> str:
        return bare(self.tokens[place][0]) if 0 <= place < len(self.tokens) else ""

    def _before(self, place: int) -> str:
        """The word before, or the one before "de" or "of"."""
        word = self._word(place - 1)
        return self._word(place - 2) if word in STOP - TITLES else word
