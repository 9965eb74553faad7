"""An association's data sets on their way into the spool."""

from __future__ import annotations

from radrelay_ingest.context import Delivery, IngestContext, Sender
from radrelay_ingest.dicom.elements import Request, file_meta
from radrelay_ingest.domain.studies import Head
from radrelay_ingest.spool import Incoming
from radrelay_ingest.statuses import Mismatch
from radrelay_shared.errors import Invalid


class Reception:
    """Writes what comes, as it was sent, behind file meta information of our own (PS3.10 §7.1).

    The first failure is kept for `finish`: the sender hears of it when it has sent all of the data set.
    """

    def __init__(self, context: IngestContext, sender: Sender) -> None:
        self.context, self.delivery = context, Delivery(context, sender)
        self.incoming: Incoming | None = None
        self.meta = b""  # goes before the first piece
        self.failure: Exception | None = None

    def begin(self, request: Request, transfer_syntax_uid: str) -> None:
        try:
            self.incoming = self.context.spool.receive()
            self.meta = file_meta(request.sop_class_uid, request.sop_instance_uid, transfer_syntax_uid)
        except Exception as failure:  # noqa: BLE001  `finish` raises it
            self.failure = failure

    def write(self, piece: memoryview) -> None:
        if self.incoming is None or self.failure is not None:
            return
        try:
            self.incoming.write(self.meta + piece if self.meta else piece)
            self.meta = b""
        except Exception as failure:  # noqa: BLE001  `finish` raises it
            self.failure = failure

    def finish(self, request: Request) -> None:
        """Durable on return, or an error that says why not."""
        try:
            if self.failure is not None:
                raise self.failure
            if self.incoming is None or not request.has_data_set:
                raise Invalid("the C-STORE request has no data set")
            self.context.site(self.delivery.sender.site)
            head = self.incoming.finish()
            check(request, head)
            self.delivery.keep(self.incoming, head)
        finally:
            self.discard()

    def discard(self) -> None:
        """Leave nothing of this data set behind, unless it was kept."""
        if self.incoming is not None:
            self.incoming.discard()
        self.incoming = self.failure = None

    def close(self) -> None:
        """The association has ended."""
        self.discard()
        self.delivery.end()


def check(request: Request, head: Head) -> None:
    """Raise `Mismatch` unless the request announced the instance that came (PS3.7 §9.1.1)."""
    if (request.sop_class_uid, request.sop_instance_uid) != (head.sop_class_uid, head.sop_instance_uid):
        raise Mismatch("the data set is not of the SOP class or instance that the request names")
