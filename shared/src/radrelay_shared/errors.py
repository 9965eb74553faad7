"""Every error that a RadRelay service raises on purpose says what the runtime does next.

    RadRelayError
    ├── Retryable            the delivery goes to a delay queue and is tried again
    │   ├── Conflict         someone else wrote the document first: reload and decide again
    │   ├── Unreachable      a server did not answer in time, or refused the connection
    │   └── Full             no room (disk, bucket, queue): callers are told to slow down and come again
    └── Permanent            the delivery goes to the dead-letter queue, with this reason
        ├── Invalid          the input can never be right (schema, protocol, medical content)
        ├── Unauthenticated  nobody knows who is asking
        ├── Forbidden        the caller may not do or see this
        ├── TooLarge         the input is over a bound that is written down
        ├── NotFound         there is no such thing, or the caller may not know of it
        └── Refused          the thing exists, but its state does not allow this now

A message is for people and never holds identity: it names studies by key, never by patient.
"""

from __future__ import annotations

import errno

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})  # of an OSError: it is `Full`


class RadRelayError(Exception):
    """What happened, to which study (by key), what RadRelay does next, and what the reader can do."""

    status = 500
    title = "Something went wrong inside RadRelay"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Retryable(RadRelayError):
    status = 503
    title = "Not now; try again"


class Conflict(Retryable):
    status = 409
    title = "Someone else changed this first"


class Unreachable(Retryable):
    title = "A part of RadRelay cannot be reached"


class Full(Retryable):
    status = 507
    title = "No room left"


class Permanent(RadRelayError):
    status = 422
    title = "This can never work as it is"


class Invalid(Permanent):
    title = "The input is not valid"


class Unauthenticated(Permanent):
    status = 401
    title = "Who is asking?"


class Forbidden(Permanent):
    status = 403
    title = "Not allowed"


class TooLarge(Permanent):
    status = 413
    title = "Too large"


class NotFound(Permanent):
    status = 404
    title = "Not found"


class Refused(Permanent):
    status = 409
    title = "Not possible in the present state"
