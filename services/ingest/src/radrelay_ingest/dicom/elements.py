"""The two small sets of elements around a data set: DIMSE commands (PS3.7 §6.3.1) and file meta (PS3.10 §7.1)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from radrelay_ingest.dicom.pdu import ProtocolError, Reason

IMPLEMENTATION_CLASS_UID = "2.25.69616517560659928777951839346460446763"
IMPLEMENTATION_VERSION_NAME = "RADRELAY"

GROUP_LENGTH, AFFECTED_SOP_CLASS, REQUESTED_SOP_CLASS, COMMAND_FIELD = 0x0000, 0x0002, 0x0003, 0x0100
MESSAGE_ID, MESSAGE_ID_RESPONDED_TO, DATA_SET_TYPE = 0x0110, 0x0120, 0x0800
STATUS, ERROR_COMMENT, AFFECTED_SOP_INSTANCE, REQUESTED_SOP_INSTANCE = 0x0900, 0x0902, 0x1000, 0x1001
EVENT_TYPE, ACTION_TYPE = 0x1002, 0x1008
SOME_DATA_SET, NO_DATA_SET = 0x0001, 0x0101
RESPONSE, NORMALIZED = 0x8000, 0x0100  # in a command field; the latter in those of DIMSE-N
COMMENT_LENGTH = 64  # Error Comment is LO

IMPLICIT, US, UL = Struct("<HHI"), Struct("<H"), Struct("<I")
EXPLICIT, EXPLICIT_LONG = Struct("<HH2sH"), Struct("<HH2sxxI")
PREAMBLE = bytes(128) + b"DICM"


class Command(IntEnum):
    C_STORE_RQ = 0x0001
    C_FIND_RQ = 0x0020
    C_ECHO_RQ = 0x0030
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_SET_RQ = 0x0120
    N_ACTION_RQ = 0x0130
    N_CREATE_RQ = 0x0140
    C_CANCEL_RQ = 0x0FFF


@dataclass(frozen=True, slots=True)
class Request:
    """A command set that asks for something: of the affected class and instance, or of the requested ones."""

    command: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool
    action_type: int = 0  # of an N-ACTION


def read_request(encoded: bytes) -> Request:
    """A command set; raises `ProtocolError` unless it is one and says what it wants."""
    values: dict[int, bytes] = {}
    offset = 0
    try:
        while offset < len(encoded):
            group, element, length = IMPLICIT.unpack_from(encoded, offset)
            offset += IMPLICIT.size + length
            values[group << 16 | element] = encoded[offset - length : offset]
        return Request(
            command=US.unpack(values[COMMAND_FIELD])[0],
            message_id=US.unpack(values.get(MESSAGE_ID, bytes(2)))[0],
            sop_class_uid=_uid(values.get(AFFECTED_SOP_CLASS) or values.get(REQUESTED_SOP_CLASS, b"")),
            sop_instance_uid=_uid(values.get(AFFECTED_SOP_INSTANCE) or values.get(REQUESTED_SOP_INSTANCE, b"")),
            has_data_set=US.unpack(values[DATA_SET_TYPE])[0] != NO_DATA_SET,
            action_type=US.unpack(values.get(ACTION_TYPE, bytes(2)))[0],
        )
    except (struct.error, KeyError, UnicodeDecodeError) as error:
        raise ProtocolError(Reason.INVALID_PARAMETER, "a command set cannot be read") from error


def response(request: Request, status: int, comment: str = "", *, with_data_set: bool = False) -> bytes:
    """The command set that answers."""
    values: dict[int, int | str] = {
        AFFECTED_SOP_CLASS: request.sop_class_uid,
        COMMAND_FIELD: request.command | RESPONSE,
        MESSAGE_ID_RESPONDED_TO: request.message_id,
        DATA_SET_TYPE: SOME_DATA_SET if with_data_set else NO_DATA_SET,
        STATUS: status,
        ERROR_COMMENT: comment[:COMMENT_LENGTH],
        AFFECTED_SOP_INSTANCE: request.sop_instance_uid,
        ACTION_TYPE: request.action_type or "",
    }
    return _command_set({tag: value for tag, value in values.items() if value != ""})


def event_report(message_id: int, sop_class_uid: str, sop_instance_uid: str, event_type: int) -> bytes:
    """The command set of an N-EVENT-REPORT with a data set (PS3.7 §10.3.1)."""
    return _command_set(
        {
            AFFECTED_SOP_CLASS: sop_class_uid,
            COMMAND_FIELD: Command.N_EVENT_REPORT_RQ,
            MESSAGE_ID: message_id,
            DATA_SET_TYPE: SOME_DATA_SET,
            AFFECTED_SOP_INSTANCE: sop_instance_uid,
            EVENT_TYPE: event_type,
        }
    )


def _command_set(values: Mapping[int, int | str]) -> bytes:
    body = b"".join(_implicit(tag, _encoded(tag, value)) for tag, value in values.items())
    return _implicit(GROUP_LENGTH, UL.pack(len(body))) + body


def _implicit(tag: int, value: bytes) -> bytes:
    return IMPLICIT.pack(tag >> 16, tag & 0xFFFF, len(value)) + value


def _encoded(tag: int, value: int | str) -> bytes:
    if isinstance(value, int):
        return US.pack(value)
    return _even(value.encode("ascii", "replace"), b" " if tag == ERROR_COMMENT else b"\0")


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and file meta information of a data set that came without them."""
    uids = {
        0x0002: sop_class_uid,
        0x0003: sop_instance_uid,
        0x0010: transfer_syntax_uid,
        0x0012: IMPLEMENTATION_CLASS_UID,
    }
    body = EXPLICIT_LONG.pack(2, 1, b"OB", 2) + b"\0\1"
    body += b"".join(_explicit(element, b"UI", _even(uid.encode(), b"\0")) for element, uid in uids.items())
    body += _explicit(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode())
    return PREAMBLE + _explicit(0, b"UL", UL.pack(len(body))) + body


def _explicit(element: int, vr: bytes, value: bytes) -> bytes:
    return EXPLICIT.pack(2, element, vr, len(value)) + value


def _even(value: bytes, padding: bytes) -> bytes:
    return value + padding * (len(value) % 2)


def _uid(value: bytes) -> str:
    return value.decode("ascii").strip("\0 ")
