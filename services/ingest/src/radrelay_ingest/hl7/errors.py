"""Why a message is not taken, in HL7's words (table 0357) and with the place, never with a value."""

from __future__ import annotations

from radrelay_shared.errors import Invalid, RadRelayError, Retryable

SEQUENCE, REQUIRED, DATA_TYPE, TABLE_VALUE = "100", "101", "102", "103"
MESSAGE_TYPE, EVENT, PROCESSING_ID, VERSION, UNKNOWN_KEY = "200", "201", "202", "203", "204"
INTERNAL = "207"
TEXTS = {
    SEQUENCE: "Segment sequence error",
    REQUIRED: "Required field missing",
    DATA_TYPE: "Data type error",
    TABLE_VALUE: "Table value not found",
    MESSAGE_TYPE: "Unsupported message type",
    EVENT: "Unsupported event code",
    PROCESSING_ID: "Unsupported processing id",
    VERSION: "Unsupported version id",
    UNKNOWN_KEY: "Unknown key identifier",
    INTERNAL: "Application internal error",
}


class Unacceptable(Invalid):
    """Its content is wrong: AE."""

    acknowledgement = "AE"

    def __init__(self, detail: str, code: str = DATA_TYPE, location: str = "") -> None:
        super().__init__(detail)
        self.code, self.location = code, location


class Rejected(Unacceptable):
    """It is no message for this receiver, or cannot be read at all: AR."""

    acknowledgement = "AR"


def reason_of(error: RadRelayError) -> Unacceptable:
    """Any error of ours as HL7 says it; what may work later is AR, and comes again (HL7 2.5.1 §2.9.2)."""
    match error:
        case Unacceptable():
            return error
        case Retryable():
            return Rejected("not now; send it again", INTERNAL)
        case _:
            return Unacceptable(error.detail)
