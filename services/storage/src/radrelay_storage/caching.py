"""What lets a viewer keep an answer and ask whether it still holds (RFC 9110 §8.8, §13.1.2)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from fastapi import Request, Response

VALIDATED = {"Cache-Control": "private, no-cache", "Vary": "Accept, Accept-Encoding"}


def etag(*parts: Any) -> str:
    """A weak entity tag: boundaries and encodings may differ between answers that say the same."""
    return f'W/"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"'


def exact(tag: str) -> str:
    """The same tag for an answer that is the same to the byte: stored bytes, alone and not compressed."""
    return tag.removeprefix("W/")


def validators(tag: str) -> dict[str, str]:
    """Headers: the client may keep the answer for itself, and asks each time whether it still holds."""
    return VALIDATED | {"ETag": tag}


def held(request: Request, tag: str) -> Response | None:
    """304 if the client has this already; None if it has to be sent."""
    known = request.headers.get("if-none-match", "")
    if known.strip() == "*" or opaque(tag) & opaque(known):
        return Response(status_code=304, headers=validators(tag))
    return None


def opaque(tags: str) -> set[str]:
    """The tags of a list, compared as weak ones are."""
    return set(re.findall(r'"[^"]*"', tags))
