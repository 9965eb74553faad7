"""Whether one derived object is taken: read once, up to what is stored unread, and described for those who search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from radrelay_shared.dicom.described import metadata_of
from radrelay_shared.dicom.reading import quietly
from radrelay_shared.errors import Invalid
from radrelay_shared.security import Principal
from radrelay_storage.derived.identity import problems
from radrelay_storage.derived.kinds import KINDS, PDF, Kind
from radrelay_storage.derived.plain import must_be_plain
from radrelay_storage.derived.receiving import Received
from radrelay_storage.derived.references import dangling, studies_named
from radrelay_storage.derived.refusal import Reason, Refusal
from radrelay_storage.derived.surroundings import Surroundings

# Without the deflated one: behind the end of what is deflated, anything could follow.
SYNTAXES = frozenset({
    ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless,
})  # fmt: skip
LATER = 1 << 20  # bytes: longer values are not read
PDF_TYPE, PDF_START = "application/pdf", b"%PDF-"


@dataclass(frozen=True)
class Derived:
    """An object that is taken."""

    received: Received
    modality: str
    metadata: dict[str, Any]  # DICOM JSON (PS3.18 Annex F) without bulk data


def kind_for(received: Received, caller: Principal) -> Kind:
    """Raises `Refusal` unless this caller may send such objects."""
    kind = KINDS.get(received.sop_class_uid)
    if kind is None:
        raise Refusal(Reason.KIND, "not a derived object that is taken here; images go to ingest")
    if not caller.roles & kind.roles:
        raise Refusal(Reason.NOT_FOR_YOU, f"{kind.name}: only of {' or '.join(sorted(kind.roles))}")
    if received.transfer_syntax_uid not in SYNTAXES:
        raise Refusal(Reason.SYNTAX, "send it as explicit or implicit little endian, or losslessly compressed")
    return kind


@contextmanager
def read_safely() -> Iterator[None]:
    """Whatever goes wrong is a refusal: hostile bytes raise many kinds of errors, whose texts may quote values."""
    with quietly():
        try:
            yield
        except Refusal:
            raise
        except Invalid as error:
            raise Refusal(Reason.NOT_DICOM, error.detail) from error
        except Exception as error:  # noqa: BLE001  see above
            raise Refusal(Reason.NOT_DICOM, f"it cannot be read ({type(error).__name__})") from None


def opened(received: Received) -> FileDataset:
    """The object, its long values unread; raises `Refusal`. Blocks: call it in a thread, as all below."""
    with read_safely():
        implicit = received.transfer_syntax_uid == ImplicitVRLittleEndian
        must_be_plain(received.file, received.size, implicit=implicit)
        received.file.seek(0)
        return dcmread(received.file, defer_size=LATER)


def named_in(dataset: FileDataset) -> frozenset[str]:
    """The studies that it refers to."""
    with read_safely():
        return frozenset(studies_named(dataset))


def judged(received: Received, dataset: FileDataset, kind: Kind, around: Surroundings) -> Derived:
    """Raises `Refusal` with the first thing that speaks against it."""
    with read_safely():
        if wrong := first_in(dataset, kind, around):
            raise Refusal(*wrong)
        for keyword in kind.payload & set(dataset.dir()):
            delattr(dataset, keyword)
        return Derived(received, str(dataset.get("Modality", "OT") or "OT"), metadata_of(dataset))


def first_in(dataset: FileDataset, kind: Kind, around: Surroundings) -> tuple[Reason, str] | None:
    if broken := form(dataset, kind):
        return Reason.MISMATCH, broken
    for found in (dataset.file_meta, dataset):
        for problem in problems(found, kind, around.facts):
            return Reason.PATIENT_OR_PLACE, problem
    for problem in dangling(dataset, around.place):
        return Reason.NOT_HERE, problem
    return None


def form(dataset: FileDataset, kind: Kind) -> str | None:
    """What does not fit together in it, beyond patient and references."""
    meta = dataset.file_meta
    named: Sequence[object] = (meta.get("MediaStorageSOPClassUID"), meta.get("MediaStorageSOPInstanceUID"))
    if named != (dataset.get("SOPClassUID"), dataset.get("SOPInstanceUID")):
        return "its file meta information is of another instance"
    return pdf_form(dataset) if kind is PDF else None


def pdf_form(dataset: FileDataset) -> str | None:
    """Whoever sends a PDF vouches for it: nobody can look for a name in one (ADR 0010)."""
    if dataset.get("BurnedInAnnotation") != "NO":
        return "a PDF is taken if Burned In Annotation says NO"
    content = dataset.get("EncapsulatedDocument") or b""
    return None if dataset.get("MIMETypeOfEncapsulatedDocument") == PDF_TYPE and content[:5] == PDF_START else "no PDF"
