"""Why an object was not taken, in words and as DICOM's Failure Reason."""

from __future__ import annotations

from enum import IntEnum

from radrelay_shared.errors import Permanent


class Reason(IntEnum):
    """(0008,1197) Failure Reason: PS3.18 Table I.2-2, PS3.4 Table B.2-1 and PS3.7 Annex C."""

    PATIENT_OR_PLACE = 0x0106  # invalid attribute value: it says what may identify somebody
    OTHER_BYTES = 0x0111  # duplicate SOP instance
    NOT_HERE = 0x0112  # no such object instance: the study, or what is referred to
    KIND = 0x0122  # SOP class not supported
    NOT_FOR_YOU = 0x0124  # not authorised
    NO_ROOM = 0xA700  # out of resources
    MISMATCH = 0xA900  # data set does not match
    NOT_DICOM = 0xC000  # cannot understand
    SYNTAX = 0xC122  # transfer syntax not supported


class Refusal(Permanent):
    """One instance is not stored; others of the same request may be."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
