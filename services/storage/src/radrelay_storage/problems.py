"""What DICOMweb tells apart beyond RadRelay's own errors (PS3.18 §8.6.1)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from radrelay_shared.errors import Invalid, NotFound, Permanent, RadRelayError

log = logging.getLogger("radrelay.storage")


class BadQuery(Invalid):
    """The request names something that DICOM, or this server's conformance, does not have."""

    status = 400
    title = "This request is not understood"


class NotAcceptable(Permanent):
    """The thing exists, but not in a form that the request accepts."""

    status = 406
    title = "Not available in this form"


class Gone(NotFound):
    """It was here, and was deleted on purpose."""

    status = 410
    title = "Purged"


class Damaged(RadRelayError):
    """Bytes came back from the object store that are not the bytes that were stored, or none at all."""

    title = "Stored data is damaged"


def damaged(detail: str) -> Damaged:
    log.error(detail)
    return Damaged(f"{detail}. An operator must restore it")


@contextmanager
def present(study: str, what: str, *broken: type[Exception]) -> Iterator[None]:
    """An object that a study's document names is there and whole; if not, that is a fault here and never a 404."""
    faults: tuple[type[Exception], ...] = (NotFound, Invalid, *broken)
    try:
        yield
    except faults as error:
        raise damaged(f"study {study}: its {what} in the object store cannot be read") from error
