"""Identity among the originals, under keys that events may carry: whoever guesses the content cannot check the guess.

A blob is a salt and the content, and its key ends with the SHA-256 of both. The salt is made from name and content with
a secret, so that the same content has the same key; whoever holds the blob can prove it.
"""

from __future__ import annotations

import hashlib
import hmac

from radrelay_shared.errors import Invalid
from radrelay_shared.events import Key
from radrelay_shared.ports import Blobs, put_once

SALT = 32  # bytes
MOST = 8 << 20  # bytes of content: more than what is said of one study ever takes


async def confide(originals: Blobs, name: str, content: bytes, secret: bytes) -> Key:
    """Keep content, durable on return; the key, which begins with `name`. Doing it again changes nothing."""
    salt = hmac.digest(secret, name.encode() + b"\0" + content, "sha256")
    key = f"{name}-{hashlib.sha256(salt + content).hexdigest()}"
    await put_once(originals, key, salt + content)
    return key


async def confided(originals: Blobs, key: Key) -> bytes:
    """The content; `NotFound` if it is not there, `Invalid` if it was changed."""
    blob = await originals.read(key, length=SALT + MOST)
    if hashlib.sha256(blob).hexdigest() != key.rpartition("-")[2]:
        raise Invalid(f"{key} is not what was kept there; restore it from a backup and replay what needs it")
    return blob[SALT:]
