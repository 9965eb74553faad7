"""Services beside C-ECHO and C-STORE on one association: who does what is asked, and how it is answered."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from pynetdicom.sop_class import (
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from radrelay_ingest.context import IngestContext, Sender
from radrelay_ingest.dicom import commitment, performed, worklist
from radrelay_ingest.dicom.connection import Connection
from radrelay_ingest.dicom.elements import Command, Request, event_report, response
from radrelay_ingest.dicom.messages import (
    MAX_DATA_SET,
    PROCESSING_FAILURE,
    UNRECOGNIZED_OPERATION,
    Answer,
    Asked,
    Handler,
    Report,
    encoded,
    failure,
)
from radrelay_ingest.dicom.pdu import ProtocolError, Reason, command_pdu, data_pdus
from radrelay_shared.errors import RadRelayError

log = logging.getLogger("radrelay.ingest")

SERVICES: Mapping[tuple[int, str], Handler] = {
    (Command.C_FIND_RQ, ModalityWorklistInformationFind): worklist.find,
    (Command.N_ACTION_RQ, StorageCommitmentPushModel): commitment.request,
    (Command.N_CREATE_RQ, ModalityPerformedProcedureStep): performed.create,
    (Command.N_SET_RQ, ModalityPerformedProcedureStep): performed.update,
}
SOP_CLASSES = tuple(sorted({sop_class for _, sop_class in SERVICES}))


class Conversation:
    """Takes one request after the other, with its data set, and sends what its service answers."""

    def __init__(
        self, context: IngestContext, connection: Connection, sender: Sender, calling: str, longest: int
    ) -> None:
        self.context, self.connection = context, connection
        self.sender, self.calling, self.longest = sender, calling, longest  # of the PDUs that the peer takes
        self.data_set = bytearray()
        self.reports = 0

    def write(self, piece: memoryview) -> None:
        """Add to the data set of what is asked."""
        self.data_set += piece
        if len(self.data_set) > MAX_DATA_SET:
            raise ProtocolError(Reason.NOT_SPECIFIED, "a data set that is no instance is too long")

    def answer(self, context_id: int, transfer_syntax: str, request: Request) -> None:
        """Do what was asked, and say what came of it."""
        asked = Asked(request, bytes(self.data_set), transfer_syntax, self.sender, self.calling)
        self.data_set.clear()
        for each in self._answers(asked):
            if isinstance(each, Report):
                self._report(context_id, transfer_syntax, each)
            else:
                self._send(context_id, asked, each)

    def _answers(self, asked: Asked) -> Iterator[Answer | Report]:
        service = SERVICES.get((asked.request.command, asked.request.sop_class_uid))
        if service is None:
            yield Answer(UNRECOGNIZED_OPERATION)
            return
        try:
            yield from service(self.context, asked)
        except RadRelayError as error:
            log.warning("a request over DICOM is not met: %s", error.detail)
            yield failure(asked.request, error)
        except Exception:
            log.exception("a request over DICOM is not met")
            yield Answer(PROCESSING_FAILURE, comment="an error inside RadRelay; ask again")

    def _send(self, context_id: int, asked: Asked, answer: Answer) -> None:
        content = encoded(answer.data_set, asked.transfer_syntax) if answer.data_set is not None else b""
        command = response(asked.request, answer.status, answer.comment, with_data_set=bool(content))
        data = data_pdus(context_id, content, self.longest) if content else b""
        self.connection.send(command_pdu(context_id, command) + data)

    def _report(self, context_id: int, transfer_syntax: str, report: Report) -> None:
        self.reports += 1
        command = event_report(
            self.reports, StorageCommitmentPushModel, StorageCommitmentPushModelInstance, report.event_type
        )
        data = data_pdus(context_id, encoded(report.data_set, transfer_syntax), self.longest)
        self.connection.send(command_pdu(context_id, command) + data)
