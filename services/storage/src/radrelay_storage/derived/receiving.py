"""Taking the instances of one STOW-RS request: each in a file of its own, found to be whole, hashed as it comes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import IO

from radrelay_shared.bodies import patiently
from radrelay_shared.dicom.multipart import Begin, Data, End, Malformed
from radrelay_shared.dicom.stow import Failure, Outcome, must_be_dicom, parts
from radrelay_shared.dicom.whole import (
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    WholeFile,
    uid_in,
)
from radrelay_shared.errors import Permanent, TooLarge
from radrelay_storage.derived.refusal import Reason, Refusal

WANTED = frozenset({SOP_CLASS_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID})
IN_MEMORY = 1 << 20  # bytes of an instance; a larger one waits on disk
BODY_SECONDS = 60  # without a byte
MOST_INSTANCES = 200  # of one request


@dataclass
class Received:
    """One instance as it came."""

    file: IO[bytes]
    size: int
    sha256: str
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str


@dataclass
class Coming:
    """One instance while it comes."""

    file: IO[bytes] = field(default_factory=lambda: SpooledTemporaryFile(IN_MEMORY))  # noqa: SIM115  `Reception` closes it
    whole: WholeFile = field(default_factory=lambda: WholeFile(WANTED))
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def take(self, piece: bytes) -> None:
        """Blocks on the disk; raises `Invalid` where this is no DICOM file."""
        self.whole.feed(piece)
        self.digest.update(piece)
        self.file.write(piece)

    def finish(self) -> Received:
        values = self.whole.finish()
        return Received(
            file=self.file,
            size=self.file.tell(),
            sha256=self.digest.hexdigest(),
            sop_class_uid=uid_in(values, SOP_CLASS_UID),
            sop_instance_uid=uid_in(values, SOP_INSTANCE_UID),
            study_instance_uid=uid_in(values, STUDY_INSTANCE_UID),
            series_instance_uid=uid_in(values, SERIES_INSTANCE_UID),
            transfer_syntax_uid=self.whole.syntax,
        )


class Reception:
    """The parts of one request; close it."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.bytes, self.outcome = most_bytes, 0, Outcome()
        self.received: list[Received] = []
        self.coming: Coming | None = None  # None between parts, and within one that is refused already

    async def run(self, body: AsyncIterator[bytes], content_type: str) -> None:
        """Take every part; raises what ends the whole request, of which nothing is stored then."""
        async for token in parts(content_type, patiently(body, BODY_SECONDS)):
            if isinstance(token, Data):
                self._count(len(token.content))
            try:
                await self._take(token)
            except Permanent as error:
                self._refuse(error)
        if not self.received and not self.outcome.failed:
            raise Malformed("the body is empty: there is no instance in it")

    async def _take(self, token: Begin | Data | End) -> None:
        match token:
            case Begin():
                must_be_dicom(token)
                if len(self.received) + len(self.outcome.failed) >= MOST_INSTANCES:
                    raise Refusal(Reason.NO_ROOM, f"a request has at most {MOST_INSTANCES} instances; send several")
                self.coming = Coming()
            case Data(content) if self.coming:
                await asyncio.to_thread(self.coming.take, content)
            case End() if self.coming:
                self.received.append(await asyncio.to_thread(self.coming.finish))
                self.coming = None

    def _count(self, more: int) -> None:
        self.bytes += more
        if self.bytes > self.most_bytes:
            raise TooLarge(f"the instances of one request have at most {self.most_bytes} bytes here; send several")

    def _refuse(self, error: Permanent) -> None:
        reason = error.reason if isinstance(error, Refusal) else Reason.NOT_DICOM
        self.outcome.failed.append(Failure(None, reason, error.detail))
        if self.coming:
            self.coming.file.close()
            self.coming = None

    def close(self) -> None:
        for file in [each.file for each in self.received] + ([self.coming.file] if self.coming else []):
            file.close()
