"""Standard Webhooks 1.0, as their receiver: HMAC-SHA256 (`v1`, `whsec_…`) and Ed25519 (`v1a`, `whpk_…`)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import yaml
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from radrelay_shared.errors import Unauthenticated

SECRET, PUBLIC_KEY = "whsec_", "whpk_"
TOLERANCE_SECONDS = 300  # both ways, as the reference libraries have it


def load_secrets(file: Path | None) -> dict[str, tuple[str, ...]]:
    """Each site's secrets and public keys, from YAML: `clinic: [whsec_…, whpk_…]`; several while one is replaced."""
    found = yaml.safe_load(file.read_text()) if file else {}
    return {site: tuple(secrets) for site, secrets in (found or {}).items()}


def verify(secrets: tuple[str, ...], headers: Mapping[str, str], body: bytes, now: datetime) -> str:
    """The message's id, under which it is the same however often it comes; raises `Unauthenticated`."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not timestamp.isascii() or not timestamp.isdigit():
        raise Unauthenticated("a signed request needs webhook-id, webhook-timestamp and webhook-signature")
    if abs(int(timestamp[:15]) - now.timestamp()) > TOLERANCE_SECONDS:
        raise Unauthenticated("webhook-timestamp is more than five minutes off; sign each attempt anew")
    content = f"{message_id}.{timestamp}.".encode() + body
    given = headers.get("webhook-signature", "").split()[:10]
    if not any(_fits(secret, content, signature) for secret in secrets for signature in given):
        raise Unauthenticated("no secret or key of this site made this signature")
    return message_id


def _fits(secret: str, content: bytes, signature: str) -> bool:
    version, _, text = signature.partition(",")
    try:
        made = base64.b64decode(text, validate=True)
        if version == "v1" and secret.startswith(SECRET):
            key = base64.b64decode(secret.removeprefix(SECRET))
            return hmac.compare_digest(hmac.digest(key, content, hashlib.sha256), made)
        if version == "v1a" and secret.startswith(PUBLIC_KEY):
            Ed25519PublicKey.from_public_bytes(base64.b64decode(secret.removeprefix(PUBLIC_KEY))).verify(made, content)
            return True
    except (ValueError, InvalidSignature):
        pass
    return False
