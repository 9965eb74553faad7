"""Reading HL7 v2 messages in their usual encoding (HL7 2.5.1 §2.6, "ER7"): segments, fields, repetitions, components.

Tolerant of what hospitals send: CR, LF or both between segments, unknown segments, more fields than the version has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from radrelay_ingest.hl7.charsets import codec_of, decoded
from radrelay_ingest.hl7.errors import SEQUENCE, Rejected

Component = tuple[str, ...]  # its subcomponents
Repetition = tuple[Component, ...]
NULL = '""'  # "delete what you have": nothing is known any more
MOST_SEGMENTS = 10_000
SEGMENT_END = re.compile(r"[\r\n]+")
SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2}){1,100}")


@dataclass(frozen=True, slots=True)
class Marks:
    """The delimiters that a message declares in MSH-1 and MSH-2."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str


@dataclass(frozen=True, slots=True)
class Segment:
    """One line: `fields[0]` is its name, so that `fields[n]` is the field that the standard numbers so."""

    fields: tuple[str, ...]
    marks: Marks
    codec: str

    @property
    def name(self) -> str:
        return self.fields[0]

    def repetitions(self, number: int) -> list[Repetition]:
        """All repetitions of a field that say something."""
        field = self.fields[number] if number < len(self.fields) else ""
        return [self._split(each) for each in field.split(self.marks.repetition) if each and each != NULL]

    def text(self, number: int, component: int = 1, subcomponent: int = 1) -> str:
        """One value of a field's first repetition, or nothing; all are counted from 1."""
        return part(next(iter(self.repetitions(number)), ()), component, subcomponent)

    def _split(self, repetition: str) -> Repetition:
        return tuple(
            tuple(self._unescaped(each) for each in component.split(self.marks.subcomponent))
            for component in repetition.split(self.marks.component)
        )

    def _unescaped(self, text: str) -> str:
        """Escape sequences (§2.7) as what they stand for; formatting is dropped, but a line break stays one."""
        if text == NULL:
            return ""
        if self.marks.escape not in text:
            return text.strip()
        pieces = text.split(self.marks.escape)
        inner = (self._meaning(each) if at % 2 else each for at, each in enumerate(pieces))
        return "".join(inner).strip()

    def _meaning(self, sequence: str) -> str:
        marks = self.marks
        known = {"F": marks.field, "S": marks.component, "T": marks.subcomponent, "R": marks.repetition}
        known |= {"E": marks.escape, ".br": "\n", ".sp": "\n"}
        if sequence[:1] == "X" and HEXADECIMAL.fullmatch(sequence, 1):
            return bytes.fromhex(sequence[1:]).decode(self.codec, "replace")
        return known.get(sequence, "")


@dataclass(frozen=True, slots=True)
class Message:
    segments: tuple[Segment, ...]

    @property
    def header(self) -> Segment:
        return self.segments[0]

    @property
    def type(self) -> tuple[str, str]:
        """Message code and trigger event: ("ORM", "O01")."""
        return self.header.text(9), self.header.text(9, 2)

    def first(self, name: str) -> Segment | None:
        return next((each for each in self.segments if each.name == name), None)

    def groups(self, name: str) -> Iterator[tuple[Segment, ...]]:
        """The segments from each of this name up to the next one."""
        starts = [at for at, each in enumerate(self.segments) if each.name == name]
        for start, end in pairwise([*starts, len(self.segments)]):
            yield self.segments[start:end]


def part(repetition: Repetition, component: int, subcomponent: int = 1) -> str:
    """One value of a repetition, or nothing."""
    found = repetition[component - 1] if component <= len(repetition) else ()
    return found[subcomponent - 1] if subcomponent <= len(found) else ""


def read(message: bytes, charset: str | None = None) -> Message:
    """A message; `charset` is the one its transport says, else MSH-18's. Raises `Rejected` if it is none."""
    marks = _marks(message)
    header = SEGMENT_END.split(message[:2000].decode("latin-1"))[0].split(marks.field)
    names = header[17] if len(header) > 17 else ""  # noqa: PLR2004  MSH-18: MSH-1 is the delimiter itself
    codec = charset or codec_of(names, message, marks.repetition)
    lines = [line for line in SEGMENT_END.split(decoded(message, codec)) if line.strip()]
    if len(lines) > MOST_SEGMENTS:
        raise Rejected(f"a message has at most {MOST_SEGMENTS} segments", SEQUENCE)
    return Message(tuple(_segment(line, marks, codec) for line in lines))


def _marks(message: bytes) -> Marks:
    """From the first bytes, which are ASCII in every character set."""
    try:
        text = message[:9].decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if not text.startswith("MSH") or len(set(text[3:8])) < 5 or text[3:8].isalnum():  # noqa: PLR2004  five delimiters
        raise Rejected("an HL7 v2 message begins with MSH and its five delimiters, as in MSH|^~\\&|", SEQUENCE, "MSH^1")
    return Marks(*text[3:8])


def _segment(line: str, marks: Marks, codec: str) -> Segment:
    fields = line.split(marks.field)
    if not SEGMENT.fullmatch(fields[0]):
        raise Rejected("a line that does not begin with a segment's name", SEQUENCE)
    if fields[0] == "MSH":
        fields = ["MSH", marks.field, *fields[1:]]
    return Segment(tuple(fields), marks, codec)
