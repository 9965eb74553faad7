"""One decision: whether the rewriter may have an instance, pydicom's engine, or nobody."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, UID_dictionary

from radrelay_anonymize.domain.gate import NATIVE
from radrelay_anonymize.domain.pieces import MOST_BY_PYDICOM, Data
from radrelay_anonymize.domain.pseudonyms import REGISTERED
from radrelay_anonymize.domain.runs import DataSet, Named
from radrelay_anonymize.domain.structure import MOST_ELEMENTS, Parser
from radrelay_shared.dicom.reading import PREAMBLE
from radrelay_shared.errors import Invalid

GROUP_LENGTH, META_GROUP = b"\x02\0\0\0UL\x04\0", b"\x02\0"
SYNTAX = 0x00020010
MOST_INFLATED = 256 << 20  # bytes
BYTES_A_BACKSLASH = 64  # in pixels they come by chance; all others separate values, of which each becomes an object


@dataclass(frozen=True, slots=True)
class Part10:
    """A parsed instance; `named` are the values that hold words of identity."""

    data: Data
    syntax: str
    dataset: DataSet
    named: list[Named]
    meta: DataSet

    def said(self, tags: frozenset[int]) -> tuple[tuple[int, str, bytes], ...]:
        """Tag, VR and value of these, as they stand at the top of the instance."""
        return tuple(
            [
                (tag, vr, bytes(raw[start:]))
                for tag, vr, raw, start, _ in self.dataset.elements
                if tag in tags and vr != "SQ"
            ]
        )


def parsed(data: Data) -> Part10 | None:
    """The instance for the rewriter, None if pydicom's engine has to take it; raises `Invalid` if nobody shall.

    * The rewriter: little endian, group 0002 with its true length, known transfer syntax, elements in order, each
      with a VR of the standard and with items or fragments where its length is undefined.
    * pydicom: big endian, deflated, no or a false group length, unknown VRs, wrong order, implicit where explicit was
      declared and the other way round.
    * Nobody: no Part 10 at all, lengths that lead out of what they are in, sequences without end or nested beyond
      `DEEPEST`, more elements than `MOST_ELEMENTS`, more data than pydicom shall hold in objects.
    """
    if data[PREAMBLE - 4 : PREAMBLE] != b"DICM":
        raise Invalid("not a DICOM Part 10 file: no DICM prefix after the preamble")
    end = _end_of_meta(data)
    if end is None:
        return _left_to_pydicom(data)
    meta = Parser(data, implicit=False)
    head = meta.data_set(PREAMBLE, end)
    syntax = _syntax(head)
    if meta.odd or syntax not in UID_dictionary or not syntax.startswith(REGISTERED):
        return _left_to_pydicom(data)
    if syntax == DeflatedExplicitVRLittleEndian:
        plain = _inflated(data[end:])
        Parser(plain, implicit=False).data_set(0, len(plain))
        return _left_to_pydicom(data)
    parser = Parser(
        data,
        implicit=syntax == ImplicitVRLittleEndian,
        encapsulated=syntax not in NATIVE,
        big_endian=syntax == ExplicitVRBigEndian,
    )
    dataset = parser.data_set(end, len(data))
    return _left_to_pydicom(data) if parser.odd else Part10(data, syntax, dataset, parser.named, head)


def _left_to_pydicom(data: Data) -> Part10 | None:
    if len(data) > MOST_BY_PYDICOM or bytes(data).count(b"\\") > MOST_ELEMENTS + len(data) // BYTES_A_BACKSLASH:
        raise Invalid("too large, or too many values, for an instance of this kind")
    return None


def _end_of_meta(data: Data) -> int | None:
    """Where the data set begins, if the file says so and is right."""
    start = PREAMBLE + 12
    if data[PREAMBLE : PREAMBLE + 8] != GROUP_LENGTH or len(data) < start:
        return None
    end = start + int.from_bytes(data[start - 4 : start], "little")
    return end if end <= len(data) and data[end : end + 2] != META_GROUP else None


def _syntax(meta: DataSet) -> str:
    found = [bytes(raw[start:]) for tag, _, raw, start, _ in meta.elements if tag == SYNTAX]
    return found[0].rstrip(b"\0 ").decode("latin-1") if found else ""


def _inflated(packed: bytes) -> bytes:
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = unpack.decompress(packed, MOST_INFLATED)
    except zlib.error:
        raise Invalid("the deflated data set is broken") from None
    if unpack.unconsumed_tail:
        raise Invalid("the deflated data set is larger than any image")
    return plain
