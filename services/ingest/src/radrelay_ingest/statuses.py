"""What a failure to store is called in DICOM: C-STORE status (PS3.4 §B.2.3), STOW-RS Failure Reason (PS3.18 §10.5)."""

from __future__ import annotations

from radrelay_shared.errors import Forbidden, Invalid, RadRelayError, Retryable


class Mismatch(Invalid):
    """The instance is not what its envelope says."""


REASONS: tuple[tuple[type[RadRelayError], int], ...] = (
    (Retryable, 0xA700),  # out of resources: the same works later
    (Mismatch, 0xA900),  # data set does not match
    (Forbidden, 0x0124),  # not authorised
    (RadRelayError, 0xC000),  # cannot understand: the same will never work
)


def failure_reason(error: RadRelayError) -> int:
    return next(code for kind, code in REASONS if isinstance(error, kind))
