"""Two patients who do not exist, and the search for every trace of them.

Everything that is theirs begins with a made-up name, a made-up UID root or a date long past, so that a hit in any
bytes can only come from them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

FIRST_YEAR, EVERY, DAY = 1000, 7, "0517"  # further apart than dates are shifted, and none of our own time
MARKED_YEARS = 200
SEPARATORS = b" -./:()_"


@dataclass(frozen=True)
class Patient:
    """Of one clinic. `family` and `given` have eight letters, so that base64 of them is found at any offset."""

    site: str
    family: str
    given: str
    ideographic: tuple[str, str]
    number: str  # of the medical record
    birth_date: str
    phone: str
    uid_root: str

    @property
    def mark(self) -> str:
        return self.family.upper()

    @property
    def id(self) -> str:
        return f"{self.mark}-{self.number}"

    @property
    def name(self) -> str:
        """As DICOM writes it (PS3.5 §6.2.1), in both scripts."""
        return f"{self.family}^{self.given}={'^'.join(self.ideographic)}"

    @property
    def born(self) -> str:
        return f"{self.birth_date[:4]}-{self.birth_date[4:6]}-{self.birth_date[6:]}"

    def accession(self, study: int) -> str:
        return f"{self.mark}7183{study:02}"

    def study_uid(self, study: int) -> str:
        return f"{self.uid_root}.{study}"

    @cached_property
    def needles(self) -> dict[bytes, str]:
        """What to look for in folded bytes, and what it would mean."""
        words = {self.family: "family name", self.given: "given name"}
        words |= dict.fromkeys(self.ideographic, "ideographic name")
        found = {needle: meaning for word, meaning in words.items() for needle in spellings(word)}
        return found | {f"{self.uid_root}.".encode(): "UID"}

    @cached_property
    def exact(self) -> dict[bytes, str]:
        """What to look for in bytes as they are: base64 has no other case."""
        spoken = {case for word in (self.family, self.given) for case in (word, word.lower(), word.upper())}
        return {part: "base64" for word in {*spoken, *self.ideographic} for part in in_base64(word.encode())}

    @cached_property
    def birth(self) -> re.Pattern[bytes]:
        """As people and machines write it."""
        year, month, day = self.birth_date[:4], self.birth_date[4:6], self.birth_date[6:]
        written = (self.birth_date, f"{year}-{month}-{day}", f"{day}.{month}.{year}", f"{month}/{day}/{year}")
        return alone("|".join(map(re.escape, written)))

    @cached_property
    def digits(self) -> dict[bytes, str]:
        """What to look for in bytes without separators."""
        return {self.number.encode(): "record number", self.phone.replace("-", "").encode(): "telephone"}


CEDAR = Patient(
    "cedar", "Zqcanary", "Zqruthie", ("仮名鳥", "瑠須恵"), "604418239057", "19370213", "406-555-0142",
    "1.2.826.0.1.3680043.9999.1",
)  # fmt: skip
JUNIPER = Patient(
    "juniper", "Zqfinchy", "Zqidalie", ("試験鳥", "井田恵"), "731905528416", "19290823", "307-555-0187",
    "1.2.826.0.1.3680043.9999.2",
)  # fmt: skip
PATIENTS = (CEDAR, JUNIPER)


def marked_date(number: int) -> str:
    """The `number`th date of marked attributes."""
    return f"{FIRST_YEAR + EVERY * (number % MARKED_YEARS)}{DAY}"


def alone(number: str) -> re.Pattern[bytes]:
    """The number by itself, or with a time of day behind it: in UIDs, hashes and longer numbers it stands by chance.

    What looks like another digit and has a zero byte behind it is the next DICOM element's group (0032, 0038).
    """
    return re.compile(rb"(?<![0-9A-Fa-f.])(?:%b)(?=(?:\d{6})?(?![0-9A-Fa-f](?!\0)))" % number.encode())


DATE = alone(rf"(\d{{4}})(-?){DAY[:2]}(?:\2){DAY[2:]}")
YEARS = {marked_date(number)[:4].encode() for number in range(MARKED_YEARS)}


def spellings(word: str) -> set[bytes]:
    """The word in the encodings and escapes of files, wires and databases, folded."""
    as_json = word.encode("ascii", "backslashreplace")
    forms = {word.encode(), word.encode("utf-16-le"), word.encode("utf-16-be"), quote(word).encode(), as_json}
    forms.add(word.encode().hex().encode())
    if not word.isascii():
        forms.add(word.encode("iso2022_jp")[3:-3])  # without the escape sequences around it
    return {form.lower() for form in forms}


def in_base64(content: bytes) -> set[bytes]:
    """What is sure to stand in the base64 of anything that holds the content, at each of three offsets."""
    found = set()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + content)
        certain = (before + len(content)) // 3 * 4  # the last group depends on what follows
        found.add(encoded[4 if before else 0 : certain])
    return found


@dataclass(frozen=True)
class Thing:
    """Something that was looked at: a message, a file, an answer."""

    name: str
    content: bytes


def traces(thing: Thing, *patients: Patient) -> Iterator[str]:
    """Every trace of the patients in it, with what stands around the first of each kind."""
    content = thing.content
    folded, bare = content.lower(), content.translate(None, SEPARATORS)
    for patient in patients:
        for haystack, needles in ((folded, patient.needles), (content, patient.exact), (bare, patient.digits)):
            for needle, meaning in needles.items():
                at = haystack.find(needle)
                if at >= 0:
                    around = haystack[max(0, at - 60) : at + len(needle) + 30]
                    yield f"{thing.name}: {meaning} of {patient.site}'s patient in {around!r}"
        if born := patient.birth.search(content):
            around = content[max(0, born.start() - 60) : born.end() + 30]
            yield f"{thing.name}: birth of {patient.site}'s patient in {around!r}"
    for at in marked_dates(content):
        yield f"{thing.name}: a date as the clinic sent it in {content[max(0, at - 60) : at + 12]!r}"


def marked_dates(content: bytes) -> Iterator[int]:
    """Where dates of marked attributes stand, as DICOM (YYYYMMDD) or ISO 8601 writes them."""
    for match in DATE.finditer(content):
        if match[1] in YEARS:
            yield match.start()
