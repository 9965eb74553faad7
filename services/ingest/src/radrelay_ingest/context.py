"""What ingest works with beside its ports: the spool, the register of sites, the DICOM listener."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, defaultdict
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from radrelay_ingest.disk import Room
from radrelay_ingest.domain.keys import commitment_key, order_key, person_key, receipt_key, step_key, study_key
from radrelay_ingest.domain.patients import Identifier
from radrelay_ingest.domain.sites import REGISTER, Site, Sites
from radrelay_ingest.domain.studies import Arrival, Head
from radrelay_ingest.segments import Segments
from radrelay_ingest.settings import IngestSettings
from radrelay_ingest.signatures import load_secrets
from radrelay_ingest.spool import Incoming, Spool
from radrelay_ingest.uploads.shelf import Shelf
from radrelay_shared.envelope import uuid7
from radrelay_shared.errors import Forbidden, RadRelayError
from radrelay_shared.events import Key
from radrelay_shared.service import Context

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sender:
    """A site in one association or request, and the trace that began there."""

    site: str
    traceparent: str | None


@dataclass
class IngestContext(Context[IngestSettings]):
    sites: Sites = field(default_factory=Sites)  # as last read; replaced whole, so that threads may look
    mllp_port: int = 0  # where HL7 messages are taken, once they are
    mllp_tls_port: int = 0  # … over TLS
    dicom_port: int = 0  # where associations are taken, once they are
    dicom_tls_port: int = 0  # … over TLS
    counting: threading.Lock = field(default_factory=threading.Lock)  # held while `delivering` changes
    ordering: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))  # by site
    delivering: Counter[Key] = field(default_factory=Counter)  # open deliveries that brought some of a study

    async def open(self) -> None:
        settings, self.loop = self.settings, asyncio.get_running_loop()
        segments = Segments(settings.spool, settings.spool_segment_bytes, settings.spool_spare_segments)
        room = Room(settings.spool, settings.spool_reserve_bytes, settings.spool_resume_bytes)
        self.spool = Spool(segments, room, settings.max_instance_bytes)
        await asyncio.to_thread(self.spool.open)
        self.preparing = asyncio.create_task(asyncio.to_thread(self._prepare))
        self.uploads = Shelf(settings.spool / "uploads")
        await asyncio.to_thread(self.uploads.open)
        self.uploaded = asyncio.Event()  # an upload became whole
        self.committing = asyncio.Event()  # somebody asked for storage commitment
        self.uploading: set[str] = set()  # uploads that somebody works on
        self.webhook_secrets = load_secrets(settings.webhook_secrets_file)
        await self.refresh_sites()

    async def close(self) -> None:
        await asyncio.to_thread(self.spool.close)
        await self.preparing

    async def healthy(self) -> None:
        await asyncio.to_thread(self.spool.room.check)

    async def refresh_sites(self) -> Sites:
        self.sites = await self.store.read(Sites, REGISTER) or Sites()
        return self.sites

    def site(self, name: str) -> Site:
        """A registered site; raises `Forbidden` for any other."""
        if name not in self.sites.sites:
            raise Forbidden("this site is not registered here; an operator registers it under /ingest/sites")
        return self.sites.sites[name]

    def order_key(self, site: str, kind: str, number: Identifier) -> Key:
        return order_key(self.secret, site, kind, number.value, number.issuer, number.universal)

    def person_key(self, site: str, patient_id: str) -> Key:
        return person_key(self.secret, site, patient_id)

    def receipt_key(self, site: str, *name: str) -> Key:
        return receipt_key(self.secret, site, *name)

    def study_key(self, site: str, study_instance_uid: str) -> Key:
        return study_key(self.secret, site, study_instance_uid)

    def step_key(self, site: str, sop_instance_uid: str) -> Key:
        return step_key(self.secret, site, sop_instance_uid)

    def commitment_key(self, site: str, transaction_uid: str) -> Key:
        return commitment_key(self.secret, site, transaction_uid)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of work on the event loop, for threads."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(self.settings.handler_seconds)

    def deliver(self, study: Key, change: int) -> None:
        """A delivery begins (1) or ends (-1) to bring instances of this study. From any thread."""
        with self.counting:
            self.delivering[study] += change
            if not self.delivering[study]:
                del self.delivering[study]

    def _prepare(self) -> None:
        with suppress(RadRelayError):  # without spare segments, instances take a little longer
            self.spool.prepare()

    @property
    def secret(self) -> bytes:
        """What opaque names of identity are made with."""
        return self.settings.identity_key.get_secret_value().encode()


class Delivery:
    """What one association, request or upload brings; until it ends, no study that it brought some of is quiet."""

    def __init__(self, context: IngestContext, sender: Sender) -> None:
        self.context, self.sender = context, sender
        self.studies: set[Key] = set()

    def keep(self, incoming: Incoming, head: Head) -> Key:
        """Make a finished instance part of its study's open batch; durable on return. Blocks, for threads.

        The study is known to be delivered before anything of it is here.
        """
        study = self.context.study_key(self.sender.site, head.study_instance_uid)
        if study not in self.studies:
            self.studies.add(study)
            self.context.deliver(study, 1)
        incoming.keep(study, lambda: self._arrival(head, study))
        return study

    def end(self) -> None:
        while self.studies:
            self.context.deliver(self.studies.pop(), -1)

    def _arrival(self, head: Head, study: Key) -> Arrival:
        return Arrival(
            id=uuid7(),
            site=self.sender.site,
            study=study,
            study_instance_uid=head.study_instance_uid,
            accession_number=head.accession_number,
            received_at=datetime.now(UTC),
            study_instances=head.study_instances,
            traceparent=self.sender.traceparent,
        )
