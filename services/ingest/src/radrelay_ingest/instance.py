"""Reading DICOM files at the front door: just enough to know where an instance belongs, and that it is whole."""

from __future__ import annotations

import os
from typing import BinaryIO

from radrelay_ingest.domain.studies import Head
from radrelay_shared.dicom.walk import Values
from radrelay_shared.dicom.whole import (
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    WholeFile,
    text_in,
    uid_in,
)

ACCESSION_NUMBER, MODALITY = 0x0008_0050, 0x0008_0060
PATIENT_ID = 0x0010_0020
STUDY_INSTANCES = 0x0020_1208
WANTED = frozenset(
    (
        STUDY_INSTANCES,
        SOP_CLASS_UID,
        SOP_INSTANCE_UID,
        ACCESSION_NUMBER,
        MODALITY,
        PATIENT_ID,
        STUDY_INSTANCE_UID,
        SERIES_INSTANCE_UID,
    )
)

PIECE = 1 << 16  # bytes


def read_head(file: BinaryIO, size: int) -> Head:
    """What the front door needs of the next bytes, found to be a whole DICOM file before; long values are skipped."""
    reader, left = Reader(), size
    while left > 0 and (piece := file.read(min(left, PIECE))):
        reader.feed(piece)
        skipped = reader.skip()
        file.seek(skipped, os.SEEK_CUR)
        left -= len(piece) + skipped
    return reader.finish()


class Reader:
    """Feed it a DICOM file as it comes; it raises `Invalid` unless that is one, and whole."""

    def __init__(self) -> None:
        self.file = WholeFile(WANTED)
        self.feed, self.skip = self.file.feed, self.file.skip

    def finish(self) -> Head:
        """The file has ended; what the front door needs of it."""
        values = self.file.finish()
        return Head(
            transfer_syntax_uid=self.file.syntax,
            sop_class_uid=uid_in(values, SOP_CLASS_UID),
            sop_instance_uid=uid_in(values, SOP_INSTANCE_UID),
            study_instance_uid=uid_in(values, STUDY_INSTANCE_UID),
            series_instance_uid=uid_in(values, SERIES_INSTANCE_UID),
            modality=text_in(values, MODALITY),
            accession_number=text_in(values, ACCESSION_NUMBER),
            patient_id=text_in(values, PATIENT_ID),
            study_instances=_count(values, STUDY_INSTANCES),
        )


def _count(values: Values, tag: int) -> int | None:
    found = text_in(values, tag)
    return int(found) if found.isascii() and found.isdigit() and int(found) else None
