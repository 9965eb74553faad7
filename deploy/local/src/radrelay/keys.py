"""The all-in-one's own secrets: made at first start, readable by their owner only, never printed."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from radrelay_shared.errors import NotFound
from radrelay_shared.security import Role, jwks_of, new_api_key

ISSUER = "urn:radrelay:local"
AUDIENCE = "radrelay"
KEY_ID = "local-1"
SECRET_NAMES = ("identity_key", "tenant_secret", "vault_key", "custody_key", "viewer_key")


@dataclass(frozen=True)
class Keys:
    """Secrets in a folder of mode 0700."""

    folder: Path

    def ensure(self) -> None:
        """Make what is missing; keep what is there."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in SECRET_NAMES:
            self._once(name, lambda: base64.b64encode(secrets.token_bytes(32)))
        self._once("issuer.pem", new_issuer)
        self._once("jwks.json", lambda: jwks_of(self._private().public_key(), KEY_ID).encode())
        if not self.api_keys.exists():
            secret, kept = new_api_key("notification", {Role.SERVICE}, {"*"})
            (self.folder / "vault_api_key").unlink(missing_ok=True)  # of a start that was interrupted right here
            self._once("vault_api_key", secret.encode)
            self._once("api-keys.yaml", lambda: yaml.safe_dump([kept.model_dump(mode="json")]).encode())

    @property
    def api_keys(self) -> Path:
        return self.folder / "api-keys.yaml"

    @property
    def jwks(self) -> Path:
        return self.folder / "jwks.json"

    def secret(self, name: str) -> str:
        return (self.folder / name).read_text().strip()

    def token(self, subject: str, roles: set[Role], sites: set[str], lasts: timedelta = timedelta(hours=8)) -> str:
        """A bearer token of the local issuer; `NotFound` if the all-in-one was never started here."""
        if not (self.folder / "issuer.pem").exists():
            raise NotFound(f"there are no keys in {self.folder}; start `radrelay up` once, or name its folder")
        now = datetime.now(UTC)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": now,
            "exp": now + lasts,
            "roles": sorted(roles),
            "sites": sorted(sites),
        }
        return jwt.encode(claims, self._private(), algorithm="EdDSA", headers={"kid": KEY_ID})

    def _private(self) -> Ed25519PrivateKey:
        key = load_pem_private_key((self.folder / "issuer.pem").read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError("the issuer's key is not an Ed25519 key")
        return key

    def _once(self, name: str, make: Callable[[], bytes]) -> None:
        """Write the file if it is not there, never readable by others, whole or not at all."""
        path = self.folder / name
        if path.exists():
            return
        partial = path.with_suffix(path.suffix + ".new")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(make())
        partial.rename(path)


def new_issuer() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
