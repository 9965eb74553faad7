"""What a radiologist needs stays: clinical words in prose, numbers, codes and shapes of reports; planted identity goes.

Sentences are assembled from `prose`'s tables. RADRELAY_KEEP says how many of each kind a patient gets (20), and with -s
the shares are printed.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from prose.around import names_around, words_around
from prose.people import PATIENTS, Person
from prose.sentences import Sentence, leaked, plain, planted

EACH = int(os.environ.get("RADRELAY_KEEP", "20"))
LEAST = 0.98  # of clinical words


@dataclass
class Tally:
    clinical: int = 0
    kept: int = 0
    leaks: list[str] = field(default_factory=list)

    def add(self, sentence: Sentence, after: str, who: Person) -> None:
        self.clinical += len(sentence.clinical)
        self.kept += sentence.kept(after)
        self.leaks += [f"{each} in {after}" for each in leaked(sentence, after, names_around(who))]

    @property
    def share(self) -> float:
        return self.kept / self.clinical


@pytest.fixture(scope="module")
def cleaned() -> dict[tuple[str, Person], Tally]:
    """What became of every sentence about each patient, without and with planted identity."""
    found: dict[tuple[str, Person], Tally] = {}
    makers: tuple[Callable[[Person, random.Random], Sentence], ...] = (plain, planted)
    for who in PATIENTS:
        words, draw = words_around(who), random.Random(who.name)
        for make in makers:
            tally = found[make.__name__, who] = Tally()
            for _ in range(EACH):
                sentence = make(who, draw)
                tally.add(sentence, words.clean(sentence.text), who)
    return found


@pytest.mark.parametrize("who", PATIENTS, ids=lambda who: who.record)
def test_no_planted_identity_is_left_in_any_spelling(cleaned: dict[tuple[str, Person], Tally], who: Person) -> None:
    assert cleaned["planted", who].leaks == []


@pytest.mark.parametrize("kind", ["plain", "planted"])
@pytest.mark.parametrize("language", sorted({who.language for who in PATIENTS}))
def test_clinical_words_stay_in_every_language(
    cleaned: dict[tuple[str, Person], Tally], kind: str, language: str
) -> None:
    of_it = [tally for (made, who), tally in cleaned.items() if made == kind and who.language == language]
    share = sum(tally.kept for tally in of_it) / sum(tally.clinical for tally in of_it)
    sys.stdout.write(
        f"{language}, {kind}: {share:.2%} of {sum(tally.clinical for tally in of_it)} clinical words kept\n"
    )
    assert share >= LEAST


@pytest.mark.parametrize("who", [who for who in PATIENTS if who.ordinary], ids=lambda who: who.name)
def test_clinical_words_stay_in_studies_of_patients_named_like_them(
    cleaned: dict[tuple[str, Person], Tally], who: Person
) -> None:
    shares = [cleaned[kind, who].share for kind in ("plain", "planted")]
    sys.stdout.write(f"{who.name}: {min(shares):.2%} of clinical words kept\n")
    assert min(shares) >= LEAST


def test_the_measure_sees_a_lost_word_and_a_leaked_name() -> None:
    who = PATIENTS[0]
    sentence = Sentence(("Zenobia", ": nodule, 12 mm"), frozenset({0}))
    assert (sentence.kept("[removed]: nodule, mm"), len(sentence.clinical)) == (2, 3)
    assert leaked(sentence, "zenobia: nodule, 12 mm", names_around(who)) == ["Zenobia"]
    assert leaked(sentence, "[removed]: nodule, 12 mm", names_around(who)) == []
