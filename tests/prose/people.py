"""Whose identity is planted: patients, the people around them and their clinics, made up; and how they get spelled."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """`name` is a PN; `language` is in what people write about this person.

    `ordinary`: family and given name are words that prose holds whoever the patient is.
    """

    language: str
    name: str
    record: str
    accession: str
    born: str
    phone: str
    study_uid: str
    ordinary: bool = False


@dataclass(frozen=True)
class Place:
    name: str
    telling: tuple[str, ...]  # words that say which
    ordinary: bool = False  # and that prose holds, too


def _people() -> Iterator[Person]:
    for number, (language, name, ordinary) in enumerate(NAMES):
        day, month, year = 1 + number * 7 % 28, 1 + number * 5 % 12, 1931 + number * 3 % 60
        yield Person(
            language,
            name,
            record=RECORDS[number % len(RECORDS)].format(41_507 + number * 7_919),
            accession=ACCESSIONS[number % len(ACCESSIONS)].format(5_551_942 + number * 104_729),
            born=f"{year}{month:02}{day:02}",
            phone=PHONES[number % len(PHONES)].format(2_000 + number * 37),
            study_uid=f"1.2.826.0.1.3680043.8.498.{7_001 + number}.{number}",
            ordinary=ordinary,
        )


RECORDS = ("MRN-{:07}", "{:06}/12", "ZQ {:05} 7", "P{:06}", "00{:06}-1")
ACCESSIONS = ("ACC-{}", "{}", "XR.{}", "A {}")
PHONES = ("+1 406-555-{}", "030/5551{}", "(406) 555-{}", "+49 89 555 {}", "0041 44 555 {}")

NAMES: tuple[tuple[str, str, bool], ...] = (
    ("English", "Quillfeather^Zenobia^Anne", False),
    ("English", "O'Shaughnessy^Brigid", False),
    ("English", "Fotheringay-Phipps^Barmy", False),
    ("English", "Ng^Wei Ling", False),
    ("English", "Featherstonehaugh^Cuthbert", False),
    ("English", "Long^May", True),
    ("English", "Hand^Rose", True),
    ("English", "Brown^Will", True),
    ("English", "Baker^Frank", True),
    ("English", "Down^Grant", True),
    ("English", "Hill^Mark", True),
    ("English", "White^Pat", True),
    ("German", "Musterfrau^Erika", False),
    ("German", "Müller-Lüdenscheidt^Jörg", False),
    ("German", "Strüßelmeyer^Käthe", False),
    ("German", "Stern^Klein", True),
    ("French", "Lefèvre-Duchâtel^Anaïs", False),
    ("French", "Petit^Blanc", True),
    ("Spanish", "Echeverría^Iñaki", False),
    ("Spanish", "Blanco^Delgado", True),
    ("Polish", "Łukasiewicz^Żaneta", False),
    ("Russian", "Ivanovsky^Pyotr=Ивановский^Пётр", False),
    ("Russian", "Sokolova^Daria=Соколова^Дарья", False),
    ("Greek", "Papadopoulos^Nikos=Παπαδόπουλος^Νίκος", False),
    ("Hebrew", "Cohen^Sarah=כהן^שרה", False),
    ("Arabic", "Al-Mansouri^Layla=المنصوري^ليلى", False),
    ("Japanese", "Yamada^Tarou=山田^太郎=やまだ^たろう", False),
    ("Japanese", "Sasaki^Hanako=佐々木^花子=ささき^はなこ", False),
    ("Chinese", "Ouyang^Xiaoming=欧阳^晓茗", False),
    ("Korean", "Namgung^Minjae=남궁^민재", False),
)  # fmt: skip
PATIENTS = tuple(_people())

# Who asked, who read, who stood at the scanner; and who only the order knows.
PHYSICIANS = ("Marlowe^Tess^^Dr.", "Szczepański^Wojciech", "Vogelsang^Heike", "Rice^Joy", "Gray^Art", "Cook^Hope")
CLINICS = (
    Place("St. Elsewhere Regional Hospital", ("Elsewhere",), ordinary=True),
    Place("Bozeman Deaconess Health Center", ("Bozeman", "Deaconess")),
    Place("Klinikum Hinterzarten, Radiologie", ("Hinterzarten",)),
    Place("Heart and Lung Institute Quedlinburg", ("Quedlinburg",)),
    Place("Hôpital Saint-Exupéry", ("Exupéry",)),
    Place("Praxis für Radiologie am Ostertor", ("Ostertor",)),
)


def spelled_name(name: str, *, ordinary: bool) -> list[str]:
    """As people and machines write it into texts.

    An ordinary word stands as a name: with a capital, in a title, or beside the other name; a single one in lower case
    is not told from prose by anybody.
    """
    latin, *others = name.split("=")
    family, given = (latin.split("^")[index] for index in (0, 1))
    both = [f"{given} {family}", f"{family}, {given}", f"{family} {given}", f"{family}^{given}", f"{given}_{family}"]
    found = (
        both + [each.upper() for each in both] + [each.lower() for each in both] + [f"Mr. {family}", f"Mrs {family}"]
    )
    if len(given) > 3 and len(family) > 3:
        found += [f"{given}{family}".replace(" ", ""), f"{family[0]}{given}".replace(" ", "")]
    found += [f"Dr. {family}", f"the {family} family", f"seen with {given} today", f"by {family}"]
    if not ordinary:
        found += [family, given, family.upper(), f"{family}'s", _plain(family), _plain(given)]
        found += [_without_umlauts(family), f"{family}2", family.replace("-", " "), family.replace("'", "")]
        found += [family.lower(), given.lower()] if len(family) > 2 else []
    for other in others:
        last, first = other.split("^")
        found += [last, f"{last}{first}", f"{last} {first}", f"{first} {last}"]
    return found


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.replace("ß", "ss").replace("Ł", "L").replace("ł", "l"))
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def _without_umlauts(text: str) -> str:
    for letter, two in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        text = text.replace(letter, two)
    return text


def spelled_clinic(clinic: Place) -> list[str]:
    found = [clinic.name, clinic.name.upper(), *clinic.telling, f"the {clinic.telling[0]} protocol"]
    return found if clinic.ordinary else found + [word.lower() for word in clinic.telling]


def spelled_number(number: str) -> list[str]:
    """With other separators, or none."""
    squeezed = "".join(char for char in number if char.isalnum())
    return [number, squeezed, squeezed.lower(), number.replace("-", " "), number.replace("/", "-").replace(" ", "")]


MONTHS = {
    "English": "January February March April May June July August September October November December",
    "German": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "French": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "Spanish": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "Russian": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
}


def spelled_date(date: str, language: str) -> list[str]:
    """`YYYYMMDD` as people, devices and databases write it."""
    year, month, day = date[:4], date[4:6], date[6:]
    short, m, d = year[2:], str(int(month)), str(int(day))
    name = MONTHS.get(language, MONTHS["English"]).split()[int(month) - 1]
    english = MONTHS["English"].split()[int(month) - 1]
    return [
        date, f"{year}-{month}-{day}", f"{year}/{month}/{day}", f"{year}/{m}/{d}", f"{year}.{month}.{day}",
        f"{day}.{month}.{year}", f"{d}.{m}.{year}", f"{day}.{month}.{short}", f"{day}. {month}. {year}",
        f"{month}/{day}/{year}", f"{m}/{d}/{short}", f"{day}-{month}-{year}", f"{day}{month}{year}",
        f"{day}{month}{short}",
        f"{day} {english} {year}", f"{english} {d}, {year}", f"{english} {d} {year}",
        f"{day}-{english[:3].upper()}-{year}",
        f"{day}{english[:3].upper()}{year}", f"{d}. {name} {year}", f"{d} {name} {year}", f"{d} de {name} de {year}",
        f"{year}年{m}月{d}日", f"{year}년 {m}월 {d}일", f"{name} {year}", f"{month}/{year}", f"{date}T101500",
    ]  # fmt: skip
