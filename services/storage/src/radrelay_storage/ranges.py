"""A run of an answer's bytes (RFC 9110 §14), for answers that are one file, frame, value or picture.

One range is obeyed. Several, or what is none, are answered with the whole, as is a range of a version (`If-Range`) that
is not, byte for byte, the one that would be sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from radrelay_storage.caching import validators
from radrelay_storage.copies import Bytes

ONE_RANGE = re.compile(r"bytes=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Extent:
    """Which bytes are sent, and with what status and headers."""

    span: range
    status: int
    headers: dict[str, str]


def extent(request: Request, tag: str, length: int) -> Extent:
    """What of an answer of this tag and length the client wants; 416 if there is nothing of it."""
    span = wanted(request, tag, length)
    headers = validators(tag) | {"Accept-Ranges": "bytes"}
    if span is None:
        return Extent(range(length), 200, headers)
    if not span:
        raise HTTPException(416, "The range lies outside", {"Content-Range": f"bytes */{length}"})
    return Extent(span, 206, headers | {"Content-Range": f"bytes {span.start}-{span.stop - 1}/{length}"})


def wanted(request: Request, tag: str, length: int) -> range | None:
    """The bytes that the Range header names, an empty run if there are none; None if all are to be sent."""
    found = ONE_RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or not still(request, tag):
        return None
    first, last, final = found.groups()
    if final:
        return range(max(0, length - int(final)), length)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, length) if last else length)


def still(request: Request, tag: str) -> bool:
    """Whether a part fits what the client has; a weak tag proves nothing about bytes (RFC 9110 §13.1.5)."""
    known = request.headers.get("if-range")
    return known is None or (known == tag and not tag.startswith("W/"))


def sole(request: Request, content: Bytes, media_type: str, tag: str) -> Response:
    """The content, or the run of it that the client wants."""
    part = extent(request, tag, len(content))
    return Response(content[part.span.start : part.span.stop], part.status, part.headers, media_type)
