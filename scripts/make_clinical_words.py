"""Generate services/anonymize's list of clinical words from DICOM's concepts and attributes, as pydicom ships them.

    python scripts/make_clinical_words.py

A word counts that is in two concepts or in two attributes' names, unless people or towns are called so, too.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pydicom
from pydicom._dicom_dict import DicomDictionary
from pydicom.sr._cid_dict import name_for_cid
from pydicom.sr._concepts_dict import concepts

FILE = Path(__file__).parents[1] / "services/anonymize/src/radrelay_anonymize/data/clinical_words.txt"
ANIMALS = {cid for cid, name in name_for_cid.items() if re.search("Breed|AnimalTaxonomic|ResearchAnimal", name)}
SHORTEST, SELDOM = 3, 2  # letters; concepts, or attributes
# Seen among them by hand: after whom views, scores, stains and breeds are called, and where they are from.
NAMES = """
    agatston alax albers alexander angus arbuckle arcelin aspen basset bath bazett beclere berkshire bernoulli bertel
    blackett blalock borg bos broden broselow bruce burman burns cahoon caldwell camp campbell carnoy chamberlain
    chassard chausse cheviot chitty clements cockroft colcher coventry criollo danelius daya dekalb diamond dower duke
    dunlap eraso ferguson fisk fitzpatrick fontan fredericia friedman friesian fuchs galloway ganong garth gault gaynor
    george glenn goldstein grandy grashey griffon haas hadlock haigis hampshire hansmann harper healy helly henschen
    hereford hickey highland hirtz hodges hoffer hoffman holladay holly holmblad hough hsieh hughston hull jamaica james
    janma jeanty joslin judd kandel karan kasabach kemp kite kleen kovacs kuchendorf kurzbauer laquerriere lauenstein
    law lawrence leonard lessoway levine lewis lilienfeld lincoln lindblom lorenz lown luten lysholm maine mason mayden
    mayer mercury mertz merz michel miller mobitz moore nakayama naughton neer nehb nolke nomarski norgaard nottingham
    osaka ottonello oxford paso pawlow pearson penner pierquin pirie pisa rafert rastelli rempen rheinberg rhese ringer
    robert rosenberg sam schonberg schuller schwartz senarmont senning settegast shinozuka sita staunig stecher stryker
    sudan suffolk sussman swanson tarrant taussig taylor teichholz teufel titterington todaro toff tofts tokyo towne
    trout twining valdini vendeen wenckebach wigby willis york yorkshire zanelli
"""


def main() -> None:
    """Write the list anew; the same pydicom gives the same bytes."""
    source = f"the concepts and attributes in pydicom {pydicom.__version__} (PS3.16, PS3.6)"
    head = f"# Words of {source}, by scripts/make_clinical_words.py"
    FILE.write_text(head + "\n" + textwrap.fill(" ".join(words()), 120) + "\n", encoding="utf-8")


def words() -> list[str]:
    """In alphabetical order."""
    attributes = (name for _, _, name, _, _ in DicomDictionary.values())
    return sorted((_often(meanings()) | _often(attributes)) - {*NAMES.split()})


def _often(texts: Iterable[str]) -> set[str]:
    counted = Counter(word for text in texts for word in set(re.findall(r"[^\W\d_]+", text.lower())))
    return {word for word, count in counted.items() if len(word) >= SHORTEST and count >= SELDOM}


def meanings() -> Iterator[str]:
    """The meaning of each concept that is not about a breed of animals."""
    for keywords in concepts.values():
        for codes in keywords.values():
            yield from (meaning for meaning, cids in codes.values() if not cids or not ANIMALS.issuperset(cids))


if __name__ == "__main__":
    main()
