"""Acknowledgements (HL7 2.5.1 §2.9.2, original mode): one answer, once everything is durable. No identity in it."""

from __future__ import annotations

from datetime import datetime

from radrelay_ingest.hl7.er7 import Message
from radrelay_ingest.hl7.errors import TEXTS, Unacceptable

ACCEPTED = "AA"
SEGMENT_END = "\r"
VERSION = "2.5.1"


def acknowledged(message: Message | None, at: datetime, control_id: str, error: Unacceptable | None = None) -> str:
    """The ACK of a message; of one that could not be read at all, without what only it knows."""
    code = error.acknowledgement if error else ACCEPTED
    asked = _said(message, 10) if message else ""
    lines = [_header(message, at, control_id), f"MSA|{code}|{asked}"]
    if error:
        lines.append(f"ERR||{error.location}|{error.code}^{TEXTS[error.code]}^HL70357|E||||{_escaped(error.detail)}")
    return SEGMENT_END.join(lines) + SEGMENT_END


def _header(message: Message | None, at: datetime, control_id: str) -> str:
    """Sender and receiver change places."""
    names = [_said(message, number) for number in (5, 6, 3, 4)] if message else ["RADRELAY", "", "", ""]
    event = f"^{_escaped(message.type[1])}" if message and message.type[1] else ""
    processing = _said(message, 11) if message else ""
    version = _said(message, 12) if message else ""
    moment = at.strftime("%Y%m%d%H%M%S+0000")
    return "|".join(
        ["MSH", "^~\\&", *names, moment, "", f"ACK{event}^ACK", control_id, processing or "P", version or VERSION]
    )


def _said(message: Message, number: int) -> str:
    """What the sender wrote into a field of MSH, in our delimiters."""
    repetition = next(iter(message.header.repetitions(number)), ())
    return "^".join("&".join(map(_escaped, component)) for component in repetition)[:199]


def _escaped(text: str) -> str:
    marks = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\r": " ", "\n": " "}
    return "".join(marks.get(char, char) for char in text)
