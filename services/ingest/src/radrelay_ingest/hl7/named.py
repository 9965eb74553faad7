"""Whom and what an HL7 message names besides what an order is matched by, as a table of fields (HL7 2.5.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from radrelay_ingest.hl7.er7 import Message, Repetition, part
from radrelay_shared.named import Named


def name_in(repetition: Repetition, family: int) -> str:
    """Family, given and middle name from this component on; suffix and prefix stand the other way round in DICOM."""
    names = [part(repetition, family + at) for at in (0, 1, 2, 4, 3)]
    return "^".join(name.replace("^", " ").replace("=", " ") for name in names).rstrip("^")


def _xpn(said: Repetition) -> tuple[str, ...]:
    return (name_in(said, 1),)


def _xcn(said: Repetition) -> tuple[str, ...]:
    return (name_in(said, 2),)


def _first(said: Repetition) -> tuple[str, ...]:
    return (part(said, 1),)


def _second(said: Repetition) -> tuple[str, ...]:
    return (part(said, 2),)


def _xtn(said: Repetition) -> tuple[str, ...]:
    """Telephone or address of mail: in one piece, or country, area and local number."""
    return (part(said, 1), part(said, 4), part(said, 12), "".join(part(said, at) for at in (5, 6, 7)), part(said, 7))


def _xad(said: Repetition) -> tuple[str, ...]:
    """Street, other designation, city and postcode; not the state."""
    return tuple(part(said, at) for at in (1, 2, 3, 5))


Reader = Callable[[Repetition], tuple[str, ...]]
Fields = tuple[tuple[str, tuple[int, ...], Reader], ...]

PHYSICIANS = (
    ("PD1", (4,)),
    ("PV1", (7, 8, 9, 17, 52)),
    ("ORC", (10, 11, 12, 19)),
    ("OBR", (10, 16, 28)),
    ("ROL", (4,)),
    ("PRT", (5,)),  # from HL7 2.7 on
)
PEOPLE: Fields = (
    ("PID", (5, 6, 9), _xpn),  # aliases, and what the mother was called
    ("NK1", (2, 30), _xpn),
    ("GT1", (3,), _xpn),
    ("IN1", (16,), _xpn),
    *((*fields, _xcn) for fields in PHYSICIANS),
)
NUMBERS: Fields = (
    *((*fields, _first) for fields in PHYSICIANS),
    ("PID", (2, 3, 4, 18, 19, 20), _first),
    ("PV1", (5, 19, 50), _first),
    ("ORC", (2, 3, 4), _first),
    ("OBR", (2, 3), _first),
    ("IN1", (36, 49), _first),
    ("PID", (13, 14), _xtn),
    ("NK1", (5, 6, 7), _xtn),
    ("GT1", (6, 7), _xtn),
    ("ORC", (14, 23), _xtn),
    ("OBR", (17,), _xtn),
)
DATES: Fields = (("PID", (7,), _first),)
PLACES: Fields = (("PID", (11,), _xad), ("PID", (23,), _first), ("NK1", (4,), _xad), ("GT1", (5,), _xad))
INSTITUTIONS: Fields = (
    ("PD1", (3,), _first),
    ("ORC", (17,), _second),
    ("ORC", (21,), _first),
    ("ORC", (22, 24), _xad),
)


def named_in(message: Message) -> Named:
    """Everybody and everything in any of its segments."""
    return Named.of(
        people=_values(message, PEOPLE),
        numbers=_values(message, NUMBERS),
        dates=(date[:8] for date in _values(message, DATES)),
        places=_values(message, PLACES),
        institutions=_values(message, INSTITUTIONS),
    )


def _values(message: Message, fields: Fields) -> Iterator[str]:
    for name, numbers, read in fields:
        for segment in message.segments:
            if segment.name == name:
                yield from (value for number in numbers for each in segment.repetitions(number) for value in read(each))
