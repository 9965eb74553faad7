"""Asking a study's sender how many instances it has (C-FIND, PS3.4 Annex C), where its site says whom to ask."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from functools import partial

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from radrelay_ingest.context import IngestContext
from radrelay_ingest.dicom.peers import associated
from radrelay_ingest.domain.evidence import Evidence, SenderCount, with_sender_count
from radrelay_ingest.domain.sites import Peer
from radrelay_shared.errors import RadRelayError
from radrelay_shared.events import Key

log = logging.getLogger("radrelay.ingest")

PENDING = (0xFF00, 0xFF01)  # PS3.4 §C.4.1.1.4


class Questions:
    """At most one question per study at a time; the answer becomes evidence."""

    def __init__(self, context: IngestContext) -> None:
        self.context = context
        self.under_way: dict[Key, asyncio.Task[None]] = {}

    def ask(self, study: Key, last: datetime, answered: SenderCount | None) -> bool:
        """Whether an answer is to be waited for: the sender is asked once after the last instance that came."""
        if study in self.under_way:
            return True
        arrival = self.context.spool.arrival(study)
        peer = self.context.site(arrival.site).query
        if peer is None or (answered is not None and answered.at > last):
            return False
        asking = self._answered(study, arrival.site, arrival.study_instance_uid, peer)
        task = asyncio.create_task(asking, name=f"ask {study}")
        self.under_way[study] = task
        task.add_done_callback(lambda _: self.under_way.pop(study))
        return True

    async def _answered(self, study: Key, site: str, study_instance_uid: str, peer: Peer) -> None:
        title = self.context.settings.dicom_ae_title
        count = await asyncio.to_thread(instances_at, peer, title, study_instance_uid)
        found = SenderCount(count=count, at=self.context.clock())
        try:
            await self.context.store.change(
                Evidence, study, partial(with_sender_count, study=study, site=site, found=found)
            )
        except RadRelayError as error:
            log.warning("a sender's answer cannot be kept now; it is asked again", exc_info=error)


def instances_at(peer: Peer, calling: str, study_instance_uid: str) -> int | None:
    """How many instances the peer has of the study; None if it does not answer or does not say. Blocks."""
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.StudyInstanceUID = "STUDY", study_instance_uid
    asked.NumberOfStudyRelatedInstances = ""
    entity = AE(calling)
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    with associated(entity, peer) as association:
        if association is None:
            return None
        try:
            answers = association.send_c_find(asked, StudyRootQueryRetrieveInformationModelFind)
            found = [answer for status, answer in answers if status and status.Status in PENDING and answer is not None]
            counts = [int(each.get("NumberOfStudyRelatedInstances") or 0) for each in found]
        except (RuntimeError, ValueError):
            return None
    return counts[0] or None if counts else None
