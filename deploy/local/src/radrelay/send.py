"""Sends DICOM files as a modality would: C-STORE, each in the transfer syntax it is in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pynetdicom import AE
from pynetdicom.presentation import build_context

MOST_CONTEXTS = 128  # PS3.8 §9.3.2.2: odd identifiers 1 to 255
MEANINGS = {
    0x0000: "stored",
    0x0124: "refused: not authorised",
    0xA700: "refused: RadRelay has no room; send again later",
    0xA900: "refused: the data set is not of the announced SOP class",
    0xC000: "refused: cannot be understood",
}


@dataclass(frozen=True)
class Sent:
    """What became of one instance."""

    name: str
    stored: bool
    message: str


def files_below(paths: Iterable[Path]) -> Iterator[Path]:
    """The files themselves, and every file in and below folders, by name."""
    for path in paths:
        yield from sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def send_files(files: Iterable[Path], host: str, port: int, calling: str, called: str) -> Iterator[Sent]:
    """Send files; what is no DICOM file is reported and left out."""
    readable = []
    for file in files:
        try:
            readable.append(pydicom.dcmread(file))
        except (InvalidDicomError, OSError, EOFError):
            yield Sent(file.name, stored=False, message="not a readable DICOM file")
    yield from send(readable, host, port, calling, called)


def send(datasets: list[Dataset], host: str, port: int, calling: str, called: str = "RADRELAY") -> Iterator[Sent]:
    """One association; raises `ConnectionError` in plain words if it cannot be had or breaks."""
    kinds = sorted({(each.SOPClassUID, each.file_meta.TransferSyntaxUID) for each in datasets})
    if not kinds:
        return
    entity = AE(ae_title=calling)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = 30
    contexts = [build_context(sop_class, syntax) for sop_class, syntax in kinds[:MOST_CONTEXTS]]
    association = entity.associate(host, port, contexts=contexts, ae_title=called)
    if not association.is_established:
        why = f"{called} does not know {calling}" if association.is_rejected else "nothing answers there"
        raise ConnectionError(f"no association with {host}:{port}: {why}")
    try:
        for dataset in datasets:
            yield _one(association, dataset)
    finally:
        association.release()


def _one(association: Any, dataset: Dataset) -> Sent:
    name = str(dataset.get("SOPInstanceUID", "?"))
    try:
        status = association.send_c_store(dataset)
    except (ValueError, RuntimeError) as error:
        return Sent(name, stored=False, message=f"not accepted ({type(error).__name__})")
    if not status:
        raise ConnectionError("the connection broke; send again, nothing is stored twice")
    code = int(status.Status)
    return Sent(name, code == 0, MEANINGS.get(code, f"refused with status {code:04X}H"))
