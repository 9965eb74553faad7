"""One data set on its way from an association into the spool, in the association's own thread."""

from __future__ import annotations

from radrelay_ingest.context import IngestContext, Sender
from radrelay_ingest.dicom.elements import Request, file_meta
from radrelay_ingest.domain.studies import Head
from radrelay_ingest.spool import Incoming
from radrelay_ingest.statuses import Mismatch
from radrelay_shared.errors import Invalid


class Reception:
    """Writes what comes, as it was sent, behind file meta information of our own (PS3.10 §7.1).

    The first failure is kept for `finish`: the sender hears of it when it has sent all of the data set.
    """

    def __init__(self, context: IngestContext, sender: Sender, request: Request, transfer_syntax_uid: str) -> None:
        self.context, self.sender, self.request = context, sender, request
        self.meta = file_meta(request.sop_class_uid, request.sop_instance_uid, transfer_syntax_uid)
        self.incoming: Incoming | None = None
        self.failure: Exception | None = None

    def write(self, content: memoryview) -> None:
        if self.failure is not None:
            return
        try:
            if self.incoming is None:
                self.incoming = self.context.spool.receive()
                self.incoming.write(self.meta)
            self.incoming.write(content)
        except Exception as failure:  # noqa: BLE001  `finish` raises it
            self.failure = failure

    def finish(self) -> None:
        """Durable on return, or an error that says why not."""
        try:
            if self.failure is not None:
                raise self.failure
            if self.incoming is None:
                raise Invalid("the C-STORE request has no data set")
            self.context.site(self.sender.site)
            head = self.incoming.finish()
            self._check(head)
            self.context.keep(self.incoming, head, self.sender)
        finally:
            self.discard()

    def _check(self, head: Head) -> None:
        """Raise `Mismatch` unless the request announced the instance that came (PS3.7 §9.1.1)."""
        announced = self.request.sop_class_uid, self.request.sop_instance_uid
        if announced != (head.sop_class_uid, head.sop_instance_uid):
            raise Mismatch("the data set is not of the SOP class or instance that the request names")

    def discard(self) -> None:
        """Leave nothing behind, unless it was kept."""
        if self.incoming is not None:
            self.incoming.discard()
            self.incoming = None
