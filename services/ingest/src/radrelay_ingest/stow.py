"""STOW-RS (PS3.18 §10.5): a body goes part by part to the spool, each instance with its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from radrelay_ingest.context import Delivery, IngestContext, Sender
from radrelay_ingest.domain.studies import Head
from radrelay_ingest.spool import Incoming
from radrelay_ingest.statuses import Mismatch, failure_reason
from radrelay_shared.bodies import patiently
from radrelay_shared.dicom.multipart import Begin, Data, End, Malformed
from radrelay_shared.dicom.stow import Failure, Outcome, must_be_dicom, parts
from radrelay_shared.errors import Permanent


class Store:
    """One STOW-RS request on its way to the spool."""

    def __init__(self, context: IngestContext, sender: Sender, study_instance_uid: str | None) -> None:
        self.context, self.study_instance_uid = context, study_instance_uid
        self.delivery = Delivery(context, sender)
        self.outcome = Outcome()
        self.incoming: Incoming | None = None  # None between parts, and within one that is refused already

    async def run(self, body: AsyncIterator[bytes], content_type: str) -> Outcome:
        """Store every part; raises what ends the whole request, whose stored parts stay: `Full`, `Malformed`."""
        try:
            async for token in parts(content_type, patiently(body, self.context.settings.stow_timeout)):
                await self._take(token)
        finally:
            self.delivery.end()
            if self.incoming:
                await asyncio.to_thread(self.incoming.discard)
        if not self.outcome.stored and not self.outcome.failed:
            raise Malformed("the body is empty: there is no instance in it")
        return self.outcome

    async def _take(self, token: Begin | Data | End) -> None:
        head = None
        try:
            match token:
                case Begin():
                    must_be_dicom(token)
                    self.incoming = await asyncio.to_thread(self.context.spool.receive)
                case Data(content) if self.incoming:
                    await asyncio.to_thread(self.incoming.write, content)
                case End() if self.incoming:
                    head = await asyncio.to_thread(self.incoming.finish)
                    await asyncio.to_thread(self._keep, self.incoming, head)
                    self.outcome.stored.append(head)
                    self.incoming = None
        except Permanent as error:
            self.outcome.failed.append(Failure(head, failure_reason(error), error.detail))
            if self.incoming:
                await asyncio.to_thread(self.incoming.discard)
                self.incoming = None

    def _keep(self, incoming: Incoming, head: Head) -> None:
        if self.study_instance_uid not in (None, head.study_instance_uid):
            raise Mismatch("the instance is not of the study that the URL names")
        self.delivery.keep(incoming, head)
