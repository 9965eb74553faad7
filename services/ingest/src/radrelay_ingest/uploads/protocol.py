"""The words of tus 1.0 (core, creation, creation-with-upload, checksum, expiration, termination)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import MutableMapping
from datetime import UTC
from email.utils import format_datetime
from typing import Any

from starlette.middleware import Middleware

from radrelay_ingest.domain.uploads import Upload
from radrelay_ingest.settings import IngestSettings
from radrelay_shared.errors import Invalid, Refused, Retryable
from radrelay_shared.http import Receive, Scope, Send

PATH = "/ingest/uploads"
VERSION = "1.0.0"
OFFSET_STREAM = "application/offset+octet-stream"
ALGORITHMS = {"sha1": 20, "sha256": 32}  # and the bytes of a digest; tus requires the first
CAPABILITIES = {
    "Tus-Version": VERSION,
    "Tus-Extension": "creation,creation-with-upload,checksum,expiration,termination",
    "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
}


class WrongVersion(Invalid):
    status = 412
    title = "Another version of tus"


class WrongOffset(Refused):
    title = "Another offset"


class ChecksumMismatch(Invalid):
    status = 460
    title = "Checksum mismatch"


class Busy(Retryable):
    status = 423
    title = "The upload is being written"


class Checksum:
    """The `Upload-Checksum` header: an algorithm and the digest of one request's body in base64."""

    def __init__(self, header: str) -> None:
        self.algorithm, _, encoded = header.partition(" ")
        try:
            self.digest = base64.b64decode(encoded.strip(), validate=True)
        except binascii.Error as error:
            raise Invalid("Upload-Checksum is an algorithm, a space, and the digest in base64") from error
        if len(self.digest) != ALGORITHMS.get(self.algorithm, -1):
            raise Invalid(f"Upload-Checksum is one of {', '.join(ALGORITHMS)}, with the whole digest")
        self.hash = hashlib.new(self.algorithm, usedforsecurity=False)

    @property
    def holds(self) -> bool:
        """Whether what was hashed so far is what the header promised."""
        return hmac.compare_digest(self.hash.digest(), self.digest)


def headers_of(upload: Upload) -> dict[str, str]:
    """Where the upload stands, and until when it may stand still."""
    return {
        "Upload-Offset": str(upload.offset),
        "Upload-Length": str(upload.length),
        "Upload-Expires": format_datetime(upload.expires_at.astimezone(UTC), usegmt=True),
        "Cache-Control": "no-store",
    }


class Versioned:
    """Every answer under `PATH` says which version it speaks, refusals too."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def versioned(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"tus-resumable", VERSION.encode())]
            await send(message)

        ours = scope["type"] == "http" and scope["path"].startswith(PATH)
        await self.app(scope, receive, versioned if ours else send)


def speaking(_: IngestSettings) -> list[Middleware]:
    return [Middleware(Versioned)]
