"""The upper layer's bytes (PS3.8 §9.3): what arrives, taken apart as it comes, and what is answered.

No data set is ever whole in memory here: a fragment is a view of the bytes that were just received.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from radrelay_shared.errors import Invalid

HEADER = Struct(">BxI")  # PDU type, length of what follows
PDV_HEADER = Struct(">IBB")  # length of what follows, presentation context, message control header
CONTROL = 2  # of those bytes, the last two count in the item's length
COMMAND, LAST = 0x01, 0x02  # message control header (PS3.8 §E.2); its other bits are never tested
MAX_OTHER_PDU = 1 << 18  # an A-ASSOCIATE-RQ of 128 contexts with 60 transfer syntaxes each

REJECTED_PERMANENT, REJECTED_TRANSIENT = 1, 2  # PS3.8 §9.3.4
BY_SERVICE_USER, BY_PROVIDER_ACSE, BY_PROVIDER_PRESENTATION = 1, 2, 3
BY_SERVICE_PROVIDER = 2  # PS3.8 §9.3.8


class Kind(IntEnum):
    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


KINDS = frozenset(Kind)


class Reason(IntEnum):
    """Why the service provider aborts (PS3.8 §9.3.8)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    INVALID_PARAMETER = 6


class ProtocolError(Invalid):
    """The peer does not speak the protocol; the association ends with this reason."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Pdu:
    """A whole PDU other than P-DATA-TF, with its header."""

    kind: Kind
    encoded: bytes


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of a message's command set or data set; `last` if nothing more of that set comes."""

    context: int
    command: bool
    last: bool
    content: memoryview


class Splitter:
    """Cuts a stream of bytes into PDUs and, within P-DATA-TF, into fragments; raises `ProtocolError`."""

    def __init__(self, max_pdu: int) -> None:
        self.max_pdu = max_pdu
        self.held = bytearray()  # the beginning of a header, or of a PDU that is needed whole
        self.pdu_left = self.pdv_left = 0  # bytes still to come of the P-DATA-TF and of the item in it
        self.context = self.control = 0

    def feed(self, data: memoryview) -> Iterator[Pdu | Fragment]:
        while data:
            if self.pdv_left:
                content, data = data[: self.pdv_left], data[self.pdv_left :]
                self.pdv_left -= len(content)
                yield self._fragment(content)
            elif self.pdu_left:
                data = self._hold(data, PDV_HEADER.size)
                if len(self.held) == PDV_HEADER.size:
                    yield from self._begin_item()
            else:
                data = self._hold(data, self._size_of_held())
                yield from self._begin_pdu()

    def _hold(self, data: memoryview, size: int) -> memoryview:
        """Hold bytes back until there are `size` of them; the rest of the data."""
        missing = size - len(self.held)
        self.held += data[:missing]
        return data[missing:]

    def _size_of_held(self) -> int:
        """A header's, until it is there; then the whole PDU's."""
        if len(self.held) < HEADER.size:
            return HEADER.size
        return HEADER.size + int(HEADER.unpack_from(self.held)[1])

    def _begin_pdu(self) -> Iterator[Pdu]:
        if len(self.held) < HEADER.size:
            return
        kind, length = self._checked(*HEADER.unpack_from(self.held))
        if kind is Kind.P_DATA:
            self.pdu_left = length
            self.held.clear()
        elif len(self.held) == HEADER.size + length:
            encoded = bytes(self.held)
            self.held.clear()
            yield Pdu(kind, encoded)

    def _checked(self, kind: int, length: int) -> tuple[Kind, int]:
        if kind not in KINDS:
            raise ProtocolError(Reason.UNRECOGNIZED_PDU, f"there is no PDU of type {kind}")
        limit = self.max_pdu if kind == Kind.P_DATA else MAX_OTHER_PDU
        if not 0 < length <= limit:
            raise ProtocolError(Reason.INVALID_PARAMETER, f"a PDU of {length} bytes, and at most {limit} are taken")
        return Kind(kind), length

    def _begin_item(self) -> Iterator[Fragment]:
        length, self.context, self.control = PDV_HEADER.unpack(self.held)
        self.held.clear()
        self.pdu_left -= PDV_HEADER.size - CONTROL + length
        if length < CONTROL or self.pdu_left < 0 or 0 < self.pdu_left < PDV_HEADER.size:
            raise ProtocolError(Reason.INVALID_PARAMETER, "an item does not fit its P-DATA-TF")
        self.pdv_left = length - CONTROL
        if not self.pdv_left:
            yield self._fragment(memoryview(b""))

    def _fragment(self, content: memoryview) -> Fragment:
        last = bool(self.control & LAST) and not self.pdv_left
        return Fragment(self.context, bool(self.control & COMMAND), last, content)


# ── what is answered ─────────────────────────────────────────────────────────────────────────────────

RELEASE_RP = HEADER.pack(Kind.RELEASE_RP, 4) + bytes(4)


def reject(result: int, source: int, reason: int) -> bytes:
    return HEADER.pack(Kind.ASSOCIATE_RJ, 4) + bytes((0, result, source, reason))


def abort(reason: Reason) -> bytes:
    return HEADER.pack(Kind.ABORT, 4) + bytes((0, 0, BY_SERVICE_PROVIDER, reason))


def command_pdu(context: int, command: bytes) -> bytes:
    """A command set in one P-DATA-TF; with at most some 300 bytes it fits every peer's maximum length."""
    return _data_pdu(context, command, COMMAND | LAST)


def data_pdus(context: int, encoded: bytes, longest: int) -> bytes:
    """A data set in as many P-DATA-TF as the peer's maximum length (0: any) asks for."""
    size = (longest or MAX_OTHER_PDU) - PDV_HEADER.size
    pieces = [encoded[start : start + size] for start in range(0, len(encoded), size)] or [b""]
    last = len(pieces) - 1
    return b"".join(_data_pdu(context, piece, LAST if number == last else 0) for number, piece in enumerate(pieces))


def _data_pdu(context: int, content: bytes, control: int) -> bytes:
    item = PDV_HEADER.pack(CONTROL + len(content), context, control) + content
    return HEADER.pack(Kind.P_DATA, len(item)) + item
