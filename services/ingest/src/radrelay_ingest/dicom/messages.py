"""What is asked over DIMSE beside C-ECHO and C-STORE, and what is answered (PS3.7 §9, §10); pynetdicom encodes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dsutils import decode, encode

from radrelay_ingest.context import IngestContext, Sender
from radrelay_ingest.dicom.elements import NORMALIZED, Request
from radrelay_ingest.statuses import failure_reason
from radrelay_shared.errors import Forbidden, Invalid, NotFound, RadRelayError, TooLarge

MAX_DATA_SET = 8 << 20  # bytes of one that is no instance
SUCCESS, PENDING = 0x0000, 0xFF00
PROCESSING_FAILURE, DUPLICATE_INSTANCE, UNRECOGNIZED_OPERATION = 0x0110, 0x0111, 0x0211
STATUSES: tuple[tuple[type[RadRelayError], int], ...] = (  # of DIMSE-N (PS3.7 §C)
    (NotFound, 0x0112),  # no such object instance
    (Forbidden, 0x0124),  # not authorised
    (TooLarge, 0x0213),  # resource limitation
    (Invalid, 0x0106),  # invalid attribute value
    (RadRelayError, PROCESSING_FAILURE),  # processing failure
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request with its data set, as far as it has one, and who sends it."""

    request: Request
    encoded: bytes
    transfer_syntax: str
    sender: Sender
    calling: str  # AE title

    def data_set(self) -> Dataset:
        """Raises `Invalid` if it is missing or cannot be read."""
        if not self.encoded:
            raise Invalid("the request needs a data set")
        syntax = UID(self.transfer_syntax)
        try:
            found = decode(BytesIO(self.encoded), syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
            found.decode()
        except Exception as error:  # pydicom raises many kinds, whose texts may quote values
            raise Invalid("the data set cannot be read") from error
        return found


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; only C-FIND gives several."""

    status: int = SUCCESS
    data_set: Dataset | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Something that happened, for the peer to take note of (N-EVENT-REPORT)."""

    event_type: int
    data_set: Dataset


Handler = Callable[[IngestContext, Asked], Iterator[Answer | Report]]  # in the association's own thread


def failure(request: Request, error: RadRelayError) -> Answer:
    """How an error of ours is answered."""
    if not request.command & NORMALIZED:
        return Answer(failure_reason(error), comment=error.detail)
    return Answer(next(code for kind, code in STATUSES if isinstance(error, kind)), comment=error.detail)


def encoded(data_set: Dataset, transfer_syntax: str) -> bytes:
    """As it goes out, in the character set that it names."""
    syntax = UID(transfer_syntax)
    content: bytes | None = encode(data_set, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    if content is None:
        raise Invalid("an answer cannot be encoded in the peer's transfer syntax")
    return content
