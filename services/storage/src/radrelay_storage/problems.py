"""What DICOMweb tells apart beyond RadRelay's own errors (PS3.18 §8.6.1)."""

from __future__ import annotations

from radrelay_shared.errors import Invalid, Permanent, RadRelayError


class BadQuery(Invalid):
    """The request names something that DICOM, or this server's conformance, does not have."""

    status = 400
    title = "This request is not understood"


class NotAcceptable(Permanent):
    """The thing exists, but not in a form that the request accepts."""

    status = 406
    title = "Not available in this form"


class Damaged(RadRelayError):
    """Bytes came back from the object store that are not the bytes that were stored."""

    title = "Stored data is damaged"
