"""Sends DICOM files as a modality would: C-STORE, each in the transfer syntax it is in."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pynetdicom import AE
from pynetdicom.presentation import build_context

from radrelay_shared.dicom.asking import keep_answers
from radrelay_shared.errors import Invalid

MOST_CONTEXTS = 128  # PS3.8 §9.3.2.2: odd identifiers 1 to 255
LONGEST_TITLE = 16
PATIENCE_SECONDS = 30
WARNING = 0xB  # PS3.7 §C: the first hexadecimal digit; the instance is stored
MEANINGS = {
    0x0000: "stored",
    0x0124: "refused: not authorised",
    0xA700: "refused: RadRelay has no room; send again later",
    0xA900: "refused: the data set is not of the announced SOP class",
    0xC000: "refused: cannot be understood",
}
NOT_DICOM = "not a DICOM file with an image or document in it"

Kind = tuple[str, str]  # SOP class, transfer syntax


@dataclass(frozen=True)
class Sent:
    """What became of one instance."""

    name: str
    stored: bool
    message: str


def own_title() -> str:
    """This machine's name as an AE title."""
    return (
        re.sub(r"[^A-Z0-9_-]", "_", socket.gethostname().partition(".")[0].upper())[:LONGEST_TITLE] or "RADRELAY_SEND"
    )


def title(text: str) -> str:
    """The AE title (PS3.5 §6.2); raises `Invalid` for what is none."""
    if not re.fullmatch(r"[ -\[\]-~]{1,16}", text) or not text.strip():
        raise Invalid(f"{text!r} is no AE title: 1 to 16 ASCII characters without backslash")
    return text


def files_below(paths: Iterable[Path]) -> Iterator[Path]:
    """The files themselves, and every file in and below folders, by name."""
    for path in paths:
        yield from sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def send_files(files: Iterable[Path], host: str, port: int, calling: str, called: str) -> Iterator[Sent]:
    """Send files, one in memory at a time; what is no DICOM file is reported and left out."""
    kinds: dict[Path, Kind] = {}
    for file in files:
        kind = kind_of(file)
        if kind is None:
            yield Sent(file.name, stored=False, message=NOT_DICOM)
        else:
            kinds[file] = kind
    yield from _send(kinds.values(), map(pydicom.dcmread, kinds), host, port, calling, called)


def kind_of(file: Path) -> Kind | None:
    """From its first bytes; None if it is nothing to send."""
    try:
        dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
        return (dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID) if dataset.SOPInstanceUID else None
    except (InvalidDicomError, AttributeError, ValueError, OSError, EOFError):
        return None


def send(datasets: list[Dataset], host: str, port: int, calling: str, called: str = "RADRELAY") -> Iterator[Sent]:
    """Send data sets that have a file meta, over one association."""
    kinds = [(each.SOPClassUID, each.file_meta.TransferSyntaxUID) for each in datasets]
    yield from _send(kinds, datasets, host, port, calling, called)


def _send(
    kinds: Iterable[Kind], datasets: Iterable[Dataset], host: str, port: int, calling: str, called: str
) -> Iterator[Sent]:
    """One association; raises `ConnectionError` in plain words if it cannot be had or breaks."""
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in sorted(set(kinds))[:MOST_CONTEXTS]]
    if not contexts:
        return
    entity, called = AE(ae_title=title(calling)), title(called)
    reach(host, port)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = PATIENCE_SECONDS
    association = entity.associate(host, port, contexts=contexts, ae_title=called)
    if not association.is_established:
        why = rejection(calling, called) if association.is_rejected else "what answers there speaks no DICOM"
        raise ConnectionError(f"no association with {host}:{port}: {why}")
    keep_answers(association)
    try:
        for dataset in datasets:
            yield _one(association, dataset)
    finally:
        association.release()


def reach(host: str, port: int) -> None:
    """Return if something listens there; raise `ConnectionError` in plain words if not."""
    try:
        socket.create_connection((host, port), timeout=PATIENCE_SECONDS).close()
    except OSError as error:
        raise ConnectionError(f"nothing answers at {host}:{port} ({error.strerror or error})") from error


def rejection(calling: str, called: str) -> str:
    return (
        f"{called} does not know {calling}. Send as an AE title that a site has (--calling), "
        f"or add {calling} to a site's ae_titles and `radrelay apply` the file"
    )


def _one(association: Any, dataset: Dataset) -> Sent:
    name = str(dataset.SOPInstanceUID)
    try:
        status = association.send_c_store(dataset)
    except ValueError:
        return Sent(name, stored=False, message="the receiver takes no such SOP class in this transfer syntax")
    except RuntimeError:
        raise ConnectionError("the receiver ended the association; send again, nothing is stored twice") from None
    if not status:
        raise ConnectionError("the connection broke; send again, nothing is stored twice")
    code = int(status.Status)
    return Sent(name, code == 0 or code >> 12 == WARNING, MEANINGS.get(code, f"status {code:04X}H"))
