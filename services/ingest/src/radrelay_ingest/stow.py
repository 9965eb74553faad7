"""STOW-RS (PS3.18 §10.5): a multipart body goes part by part to the spool, each instance with its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

from radrelay_ingest.context import IngestContext, Sender
from radrelay_ingest.domain.studies import Head
from radrelay_ingest.multipart import Begin, Data, End, Malformed, Splitter
from radrelay_ingest.spool import Incoming
from radrelay_ingest.statuses import Mismatch, failure_reason
from radrelay_shared.errors import Invalid, Permanent, RadRelayError

DICOM = "application/dicom"
STORED, SOME_FAILED, NONE_STORED = 200, 202, 409  # PS3.18 Table 10.5.3-1


class UnsupportedMedia(Invalid):
    status = 415
    title = "Unsupported media type"


class TooSlow(Invalid):
    status = 408
    title = "The body stopped coming"


@dataclass
class Outcome:
    """What became of each part of one request."""

    stored: list[Head] = field(default_factory=list)
    failed: list[tuple[Head | None, RadRelayError]] = field(default_factory=list)

    @property
    def status(self) -> int:
        if not self.failed:
            return STORED
        return SOME_FAILED if self.stored else NONE_STORED

    @property
    def dicom_json(self) -> dict[str, Any]:
        """The Store Instances Response Module (PS3.18 §10.5.3.2); parts without UIDs are Other Failures."""
        named = [{**_names(head), **_reason(error)} for head, error in self.failed if head]
        nameless = [_reason(error) for head, error in self.failed if not head]
        sequences = {
            "00081198": named,  # Failed SOP Sequence
            "00081199": [_names(head) for head in self.stored],  # Referenced SOP Sequence
            "0008119A": nameless,  # Other Failures Sequence
        }
        return {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}


def boundary_of(content_type: str) -> str:
    """The boundary of a `multipart/related; type="application/dicom"` body; raises `UnsupportedMedia` for others."""
    header = Message()
    header["Content-Type"] = content_type
    kind = str(header.get_param("type") or DICOM).lower()
    if header.get_content_type() != "multipart/related" or kind != DICOM:
        raise UnsupportedMedia('send multipart/related; type="application/dicom"; boundary=…')
    boundary = header.get_boundary()
    if not boundary or len(boundary) > 70 or not boundary.isascii():  # noqa: PLR2004  RFC 2046 §5.1.1
        raise Malformed("the Content-Type needs a boundary of 1 to 70 ASCII characters")
    return boundary


class Store:
    """One STOW-RS request on its way to the spool."""

    def __init__(self, context: IngestContext, sender: Sender, study_instance_uid: str | None) -> None:
        self.context, self.sender, self.study_instance_uid = context, sender, study_instance_uid
        self.outcome = Outcome()
        self.incoming: Incoming | None = None  # None between parts, and within one that is refused already

    async def run(self, body: AsyncIterator[bytes], boundary: str) -> Outcome:
        """Store every part; raises what ends the whole request, whose stored parts stay: `Full`, `Malformed`."""
        splitter = Splitter(boundary)
        try:
            async for piece in patiently(body, self.context.settings.stow_timeout):
                for token in splitter.feed(piece):
                    await self._take(token)
            splitter.close()
        finally:
            if self.incoming:
                await asyncio.to_thread(self.incoming.discard)
        if not self.outcome.stored and not self.outcome.failed:
            raise Malformed("the body is empty: there is no instance in it")
        return self.outcome

    async def _take(self, token: Begin | Data | End) -> None:
        head = None
        try:
            match token:
                case Begin(headers):
                    if headers.get_content_type() not in (DICOM, "text/plain"):  # the latter if it says nothing
                        raise Invalid("a part is not application/dicom")
                    self.incoming = await asyncio.to_thread(self.context.spool.receive)
                case Data(content) if self.incoming:
                    await asyncio.to_thread(self.incoming.write, content)
                case End() if self.incoming:
                    head = await asyncio.to_thread(self.incoming.finish)
                    await asyncio.to_thread(self._keep, self.incoming, head)
                    self.outcome.stored.append(head)
                    self.incoming = None
        except Permanent as error:
            self.outcome.failed.append((head, error))
            if self.incoming:
                await asyncio.to_thread(self.incoming.discard)
                self.incoming = None

    def _keep(self, incoming: Incoming, head: Head) -> None:
        if self.study_instance_uid not in (None, head.study_instance_uid):
            raise Mismatch("the instance is not of the study that the URL names")
        self.context.keep(incoming, head, self.sender)


async def patiently(body: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    """The body's pieces; raises `TooSlow` if the next one takes longer."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                piece = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise TooSlow("the next piece of the body did not come in time; send it again") from error
        yield piece


def _names(head: Head) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [head.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [head.sop_instance_uid]},
    }


def _reason(error: RadRelayError) -> dict[str, Any]:
    return {"00081197": {"vr": "US", "Value": [failure_reason(error)]}}
