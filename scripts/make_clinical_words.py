"""Generate services/anonymize's list of clinical words from the coded concepts of DICOM that pydicom ships.

    python scripts/make_clinical_words.py

A word counts that concepts spell in lower case at least twice: names of people stand there with a capital.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom.sr._cid_dict import name_for_cid
from pydicom.sr._concepts_dict import concepts

FILE = Path(__file__).parents[1] / "services/anonymize/src/radrelay_anonymize/data/clinical_words.txt"
ANIMALS = {cid for cid, name in name_for_cid.items() if re.search("Breed|AnimalTaxonomic|ResearchAnimal", name)}
SHORTEST, SELDOM = 3, 2  # letters; concepts


def main() -> None:
    """Write the list anew; the same pydicom gives the same bytes."""
    head = f"# Words of the concepts in pydicom {pydicom.__version__} (PS3.16), by scripts/make_clinical_words.py"
    FILE.write_text(head + "\n" + textwrap.fill(" ".join(words()), 120) + "\n", encoding="utf-8")


def words() -> list[str]:
    """In alphabetical order."""
    counted = Counter(word for meaning in meanings() for word in set(re.findall(r"[^\W\d_]+", meaning)))
    return sorted(
        word for word, count in counted.items() if word.islower() and len(word) >= SHORTEST and count >= SELDOM
    )


def meanings() -> Iterator[str]:
    """The meaning of each concept that is not about a breed of animals."""
    for keywords in concepts.values():
        for codes in keywords.values():
            yield from (meaning for meaning, cids in codes.values() if not cids or not ANIMALS.issuperset(cids))


if __name__ == "__main__":
    main()
