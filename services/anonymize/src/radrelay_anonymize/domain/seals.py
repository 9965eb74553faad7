"""The vault's envelopes: content under a data key of its own, the data key under one of the tenant's (AES-256-GCM).

A tenant is a site. Its key is derived from a master key (HKDF, RFC 5869), so no site's entry opens with another's. To
rotate is to put a new master key in front: from then on it seals, and `resealed` moves entries to it one by one, by
their data keys alone. `Keyring.wrap` and `unwrap` are what a key management service does; one can take its place.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from radrelay_shared.errors import Invalid

NONCE_BYTES, KEY_BYTES = 12, 32
KEY_ID_DIGITS = 16


class Keyring:
    """Master keys; the first one seals, all of them open."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.keys = {key_id(key): key for key in keys}
        self.current = key_id(keys[0])

    @property
    def retired(self) -> tuple[str, ...]:
        return tuple(name for name in self.keys if name != self.current)

    def wrap(self, tenant: str, data_key: bytes) -> str:
        """The data key under the tenant's current key, which it names."""
        return f"{self.current}.{_encrypted(self._key(self.current, tenant), data_key, tenant)}"

    def unwrap(self, tenant: str, wrapped: str) -> bytes:
        """The data key; raises `Invalid` if it was changed, is another tenant's, or its master key is not here."""
        name, _, text = wrapped.partition(".")
        return _decrypted(self._key(name, tenant), text, tenant)

    def _key(self, name: str, tenant: str) -> bytes:
        if name not in self.keys:
            raise Invalid("it was changed, or sealed with a key that is not here")
        return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"radrelay vault {tenant}".encode()).derive(self.keys[name])


def keyring(text: str) -> Keyring:
    """Master keys in base64, one a line, the one that seals first; raises `Invalid` unless each has 256 bits."""
    keys = [_decoded_key(line) for line in text.split()]
    if not keys:
        raise Invalid("RADRELAY_VAULT_KEY is empty")
    return Keyring(keys)


def _decoded_key(line: str) -> bytes:
    try:
        key = base64.b64decode(line, validate=True)
    except ValueError as error:
        raise Invalid("RADRELAY_VAULT_KEY is not base64") from error
    if len(key) != KEY_BYTES:
        raise Invalid("RADRELAY_VAULT_KEY is 32 random bytes in base64 (`openssl rand -base64 32`), one key a line")
    return key


def key_id(key: bytes) -> str:
    """A master key's name in envelopes, which says nothing about it."""
    return hashlib.sha256(b"radrelay vault key " + key).hexdigest()[:KEY_ID_DIGITS]


def seal(keys: Keyring, tenant: str, study: str, content: bytes) -> str:
    """The content in an envelope that opens for this tenant and study only: `<key>.<data key>.<content>`."""
    data_key = secrets.token_bytes(KEY_BYTES)
    return f"{keys.wrap(tenant, data_key)}.{_encrypted(data_key, content, study)}"


def unseal(keys: Keyring, tenant: str, study: str, sealed: str) -> bytes:
    """The content; raises `Invalid` if anything of it, its tenant or its study was changed, or its key is not here."""
    wrapped, _, text = sealed.rpartition(".")
    try:
        return _decrypted(keys.unwrap(tenant, wrapped), text, study)
    except Invalid as error:
        raise Invalid(f"the vault's entry of {study} cannot be opened: {error.detail}") from None


def resealed(keys: Keyring, tenant: str, sealed: str) -> str:
    """The same content, its data key under the tenant's current key."""
    wrapped, _, text = sealed.rpartition(".")
    return f"{keys.wrap(tenant, keys.unwrap(tenant, wrapped))}.{text}"


def key_of(sealed: str) -> str:
    """The name of the master key that opens the envelope; empty for none."""
    return sealed.partition(".")[0]


def _encrypted(key: bytes, content: bytes, bound_to: str) -> str:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, content, bound_to.encode())).decode()


def _decrypted(key: bytes, text: str, bound_to: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
        return AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], bound_to.encode())
    except (InvalidTag, ValueError):
        raise Invalid("it was changed, or sealed with a key that is not here") from None
