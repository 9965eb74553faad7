"""How urgent an order is: TQ1-9, else ORC-7.6, else OBR-27.6 and the retired OBR-5 (table 0485)."""

from __future__ import annotations

import re
from datetime import timedelta

from radrelay_ingest.hl7.er7 import Segment
from radrelay_shared.events import Priority

PRIORITIES = {
    "S": Priority.STAT,
    "A": Priority.URGENT,  # as soon as possible
    "P": Priority.URGENT,  # before an operation
    "C": Priority.URGENT,  # somebody is to be called back
    "T": Priority.URGENT,  # the time is critical
    "R": Priority.ROUTINE,
}
LIMIT = re.compile(r"T([SMHDWL])(\d{1,4})")  # TS30: within 30 seconds, … TL6: within 6 months
UNITS = {
    "S": timedelta(seconds=1),
    "M": timedelta(minutes=1),
    "H": timedelta(hours=1),
    "D": timedelta(days=1),
    "W": timedelta(weeks=1),
    "L": timedelta(days=30),
}
WITHIN = ((timedelta(hours=1), Priority.STAT), (timedelta(hours=4), Priority.URGENT))


def priority_of(timing: Segment | None, order: Segment, request: Segment | None) -> Priority:
    """The first that is said counts; what nobody knows is routine."""
    said = [
        timing.text(9) if timing else "",
        order.text(7, 6),
        request.text(27, 6) if request else "",
        request.text(5) if request else "",
    ]
    return next((meaning(each) for each in said if each), Priority.ROUTINE)


def meaning(code: str) -> Priority:
    limit = LIMIT.fullmatch(code.upper())
    if limit is None:
        return PRIORITIES.get(code[:1].upper(), Priority.ROUTINE)
    longest = int(limit[2]) * UNITS[limit[1]]
    return next((priority for within, priority in WITHIN if longest <= within), Priority.ROUTINE)
