"""Sentences of clinical words with identity planted between them, and how much of each is there afterwards."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from prose.people import CLINICS, PHYSICIANS, Person, spelled_clinic, spelled_date, spelled_name, spelled_number
from prose.vocabulary import LANGUAGES, MEASURES

LONG = 6  # characters, from which on a value is looked for within words, too
_WORD = re.compile(r"[^\W_]+")
_JOINED = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


@dataclass(frozen=True)
class Sentence:
    """Pieces in order; those in `planted` are identity, all others are clinical words that stay."""

    pieces: tuple[str, ...]
    planted: frozenset[int] = frozenset()

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def clinical(self) -> list[str]:
        return words_in(" ".join(piece for place, piece in enumerate(self.pieces) if place not in self.planted))

    @property
    def identity(self) -> list[str]:
        return [self.pieces[place] for place in sorted(self.planted)]

    def kept(self, after: str) -> int:
        """How many of its clinical words stand in the text afterwards, in their order."""
        blocks = SequenceMatcher(None, self.clinical, words_in(after), autojunk=False).get_matching_blocks()
        return sum(block.size for block in blocks)


def words_in(text: str) -> list[str]:
    """Words; of scripts without spaces, characters."""
    found = [_JOINED.findall(word) or [word] for word in _WORD.findall(text)]
    return [word for words in found for word in words]


def clinical(language: str, draw: random.Random) -> str:
    """One sentence of findings, places, measures and comments."""
    words = LANGUAGES[language]
    finding, place, comment = draw.choice(words.findings), draw.choice(words.places), draw.choice(words.comments)
    measure, other = draw.sample(MEASURES, 2)
    text = draw.choice((
        f"{finding}, {place}, {measure}; {comment}",
        f"{place}: {finding} ({measure}), {comment}",
        f"{comment}: {finding} {measure} / {other} - {place}",
        f"{finding} {place}. {comment}, {measure}",
    ))  # fmt: skip
    return draw.choice((text, text, text[0].upper() + text[1:], text.upper() if text.isascii() else text))


def plain(person: Person, draw: random.Random) -> Sentence:
    """Nothing but clinical words, in the study of this patient."""
    return Sentence((clinical(person.language, draw),))


def planted(person: Person, draw: random.Random) -> Sentence:
    """Clinical words with two things that say who, where, when or whose."""
    language = person.language
    first, second = draw.sample(list(identities(person, draw)), 2)
    before, after = clinical(language, draw), clinical(language, draw)
    between = draw.choice((" ", ", ", " / ", " - ", "; ", ": ", " ("))
    return Sentence((first, f"{between}{before} | ", second, f"{between}{after}"), frozenset((0, 2)))


def identities(person: Person, draw: random.Random) -> Iterator[str]:
    """One spelling of each kind of identity around this patient."""
    physician, clinic = draw.choice(PHYSICIANS), draw.choice(CLINICS)
    year, month, day = draw.randint(2005, 2025), draw.randint(1, 12), draw.randint(1, 28)
    for values in (
        spelled_name(person.name, ordinary=person.ordinary),
        spelled_name(physician, ordinary=physician in PHYSICIANS[3:]),
        spelled_number(person.record),
        spelled_number(person.accession),
        spelled_date(person.born, person.language),
        spelled_date(f"{year}{month:02}{day:02}", person.language)[:12],
        spelled_clinic(clinic),
        [person.phone, person.phone.replace("-", " "), f"Tel. {draw.randint(200, 999)} {draw.randint(10, 99)} 12"],
        [person.study_uid, f"1.2.840.113619.2.{draw.randint(1, 10**9)}.{draw.randint(1, 10**9)}.12"],
        [f"accession no. {draw.randint(100, 9999)}", f"MRN {draw.randint(100, 9999)}", "j.doe@clinic.example"],
    ):
        yield draw.choice(values)


def leaked(sentence: Sentence, after: str, names: Sequence[str]) -> list[str]:
    """What of the planted identity is still there: as it was spelled, or a part of one of the names more often than
    clinical words say it.
    """
    found = [value for value in sentence.identity if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", after)]
    found += [value for value in sentence.identity if len(value) >= LONG and value in after]
    said, may = Counter(map(str.casefold, words_in(after))), Counter(map(str.casefold, sentence.clinical))
    return found + [name for name in names if said[name.casefold()] > may[name.casefold()]]
