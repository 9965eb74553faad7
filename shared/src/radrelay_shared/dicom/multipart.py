"""Splitting a multipart body (RFC 2046 §5.1) while it comes, holding no more than a delimiter's length of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser

from radrelay_shared.errors import Invalid

HEADERS_LIMIT = 16 << 10


class Malformed(Invalid):
    """The body's envelope is broken; nothing can be said of what is in it."""

    status = 400
    title = "The body is malformed"


@dataclass(frozen=True, slots=True)
class Begin:
    headers: Message


@dataclass(frozen=True, slots=True)
class Data:
    content: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The part is complete."""


class Splitter:
    """Feed it the body in pieces of any size; what it gives back tells the parts, in order."""

    def __init__(self, boundary: str) -> None:
        self.delimiter = b"\r\n--" + boundary.encode("latin-1")
        self.buffer = bytearray(b"\r\n")  # the first delimiter need not follow a line
        self.state = "preamble"

    def feed(self, piece: bytes) -> Iterator[Begin | Data | End]:
        self.buffer += piece
        while True:
            before = (self.state, len(self.buffer))
            yield from self._step()
            if before == (self.state, len(self.buffer)):
                return

    def close(self) -> None:
        """The body has ended; raises `Malformed` if it should not have."""
        if self.state != "epilogue":
            raise Malformed("the multipart body ends before its closing delimiter")

    def _step(self) -> Iterator[Begin | Data | End]:
        match self.state:
            case "preamble" | "content":
                yield from self._content()
            case "delimiter":
                self._after_delimiter()
            case "headers":
                yield from self._headers()
            case _:
                self.buffer.clear()

    def _content(self) -> Iterator[Data | End]:
        """All that surely is no delimiter is content; before the first delimiter it is nobody's."""
        at = self.buffer.find(self.delimiter)
        sure = at if at >= 0 else max(0, len(self.buffer) - len(self.delimiter))
        inside = self.state == "content"
        if inside and sure:
            yield Data(bytes(self.buffer[:sure]))
        del self.buffer[:sure]
        if at >= 0:
            del self.buffer[: len(self.delimiter)]
            self.state = "delimiter"
            if inside:
                yield End()

    def _after_delimiter(self) -> None:
        """`--` closes the body; otherwise the line ends, perhaps after white space."""
        if self.buffer.startswith(b"--"):
            self.state = "epilogue"
        elif (line := self.buffer.find(b"\r\n")) >= 0:
            if self.buffer[:line].strip(b" \t"):
                raise Malformed("a delimiter line of the multipart body goes on after the boundary")
            del self.buffer[:line]
            self.state = "headers"
        elif len(self.buffer) > HEADERS_LIMIT:
            raise Malformed("a delimiter line of the multipart body does not end")

    def _headers(self) -> Iterator[Begin]:
        """Header lines up to an empty one; the buffer begins with the line break before them."""
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self.buffer) > HEADERS_LIMIT:
                raise Malformed("a part's headers are too long")
            return
        headers = BytesHeaderParser().parsebytes(bytes(self.buffer[2 : end + 4]))
        del self.buffer[: end + 4]
        self.state = "content"
        yield Begin(headers)
