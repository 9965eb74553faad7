"""Who is asking, in which role, for which sites: JSON Web Tokens of an OIDC issuer, and API keys for machines."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import jwt
import yaml
from fastapi import Depends, Request
from pydantic import BaseModel, ConfigDict

from radrelay_shared.errors import Forbidden, NotFound, Unauthenticated, Unreachable

ALGORITHMS = ("EdDSA", "ES256", "ES384", "RS256", "RS384", "RS512", "PS256")
EVERY_SITE = "*"
KEY_PREFIX = "rrk_"
JWKS_SECONDS = 10
ADMITTED = "radrelay.admitted"  # in the ASGI scope: a `Principal` that a service's own middleware has proven


class Role(StrEnum):
    """What a caller is; the last one is for RadRelay's own services."""

    SITE = "site"
    ASSISTANT = "assistant"
    RADIOLOGIST = "radiologist"
    REFERRER = "referrer"
    MODEL = "model"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller."""

    subject: str
    roles: frozenset[Role]
    sites: frozenset[str]
    study: str | None = None  # Study Instance UID: the only one, of a viewer's link

    def sees(self, site: str) -> bool:
        return EVERY_SITE in self.sites or site in self.sites

    def must_see(self, site: str, what: str) -> None:
        """Raise `NotFound`, the same as for a thing that is not there, unless the site is the caller's."""
        if not self.sees(site):
            raise NotFound(f"there is no {what} for you here")


class ApiKey(BaseModel):
    """A machine's key as it is kept: only its hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    sha256: str
    roles: frozenset[Role]
    sites: frozenset[str]


def new_api_key(key_id: str, roles: set[Role], sites: set[str]) -> tuple[str, ApiKey]:
    """A fresh key of 256 random bits as (what the machine keeps, what RadRelay keeps)."""
    secret = f"{KEY_PREFIX}{key_id}.{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return secret, ApiKey(id=key_id, sha256=digest, roles=frozenset(roles), sites=frozenset(sites))


def load_api_keys(file: Path | None) -> dict[str, ApiKey]:
    """The keys of a YAML list, by id."""
    entries = yaml.safe_load(file.read_text()) if file else []
    return {key.id: key for key in map(ApiKey.model_validate, entries or [])}


class Gate:
    """Turns credentials into a `Principal`, or raises `Unauthenticated` without saying why in detail."""

    def __init__(self, keys: dict[str, ApiKey], jwks: str | None, issuer: str, audience: str) -> None:
        self.keys, self.issuer, self.audience = keys, issuer, audience
        self.jwks = JwksSource(jwks) if jwks else None

    async def admit(self, authorization: str | None, api_key: str | None = None) -> Principal:
        scheme, _, token = (authorization or "").partition(" ")
        if api_key or token.startswith(KEY_PREFIX):
            return self._by_key(api_key or token)
        if scheme.lower() == "bearer" and token and self.jwks:
            return await self._by_token(token, self.jwks)
        raise Unauthenticated("send a bearer token of this platform's issuer, or an API key")

    def _by_key(self, presented: str) -> Principal:
        key_id = presented.removeprefix(KEY_PREFIX).partition(".")[0]
        known = self.keys.get(key_id)
        digest = hashlib.sha256(presented.encode()).hexdigest()
        if known is None or not hmac.compare_digest(digest, known.sha256):
            raise Unauthenticated("this API key is not known here")
        return Principal(f"key:{known.id}", known.roles, known.sites)

    async def _by_token(self, token: str, jwks: JwksSource) -> Principal:
        try:
            claims = jwt.decode(
                token,
                await jwks.key(token),
                algorithms=ALGORITHMS,
                issuer=self.issuer,
                audience=self.audience,
                options={"require": ["exp", "sub"]},
                leeway=10,
            )
            roles = frozenset(Role(role) for role in words(claims, "roles") if role in set(Role))
            return Principal(str(claims["sub"]), roles, words(claims, "sites"))
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise Unauthenticated("this token is not valid here (wrong issuer or audience, or expired)") from error


def words(claims: dict[str, Any], name: str) -> frozenset[str]:
    """A claim that is a list of words; a bare word is refused, for its letters could mean more (`*`)."""
    found = claims.get(name, [])
    if not isinstance(found, list):
        raise jwt.InvalidTokenError(f"{name} is not a list")
    return frozenset(map(str, found))


class JwksSource:
    """The issuer's public keys, from a file or a URL, fetched when first needed and when a key id is new."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.client = jwt.PyJWKClient(location, timeout=JWKS_SECONDS) if "://" in location else None

    async def key(self, token: str) -> Any:
        find = self.client.get_signing_key_from_jwt if self.client else self._in_file
        try:
            async with asyncio.timeout(JWKS_SECONDS + 1):
                return (await asyncio.to_thread(find, token)).key
        except (jwt.PyJWKClientConnectionError, json.JSONDecodeError, OSError) as error:  # TimeoutError is an OSError
            raise Unreachable("the identity provider's keys cannot be fetched; try again") from error

    def _in_file(self, token: str) -> jwt.PyJWK:
        kid = jwt.get_unverified_header(token).get("kid")
        for key in jwt.PyJWKSet.from_json(Path(self.location).read_text()).keys:
            if key.key_id == kid:
                return key
        raise jwt.InvalidTokenError("unknown key")


def require(*roles: Role) -> Any:
    """A FastAPI dependency: the caller, who has one of these roles. `Annotated[Principal, require(Role.SITE)]`."""

    async def caller(request: Request) -> Principal:
        return await admit_as(request, roles)

    checked: Callable[[Request], Coroutine[Any, Any, Principal]] = caller
    return Depends(checked)


async def admit_as(request: Request, roles: Sequence[Role]) -> Principal:
    """The caller of this request, who has one of these roles."""
    principal = await admit(request)
    if not principal.roles.intersection(roles):
        raise Forbidden(f"this needs the role {' or '.join(roles)}")
    return principal


async def admit(request: Request) -> Principal:
    """The caller of this request, whatever the role."""
    if known := request.scope.get(ADMITTED):
        admitted: Principal = known
        return admitted
    gate: Gate = request.app.state.gate
    return await gate.admit(request.headers.get("authorization"), request.headers.get("x-api-key"))


Operator = Annotated[Principal, require(Role.OPERATOR)]


def jwks_of(public_key: Any, key_id: str) -> str:
    """A JSON Web Key Set with one Ed25519 public key, for an issuer of our own."""
    key = jwt.algorithms.OKPAlgorithm.to_jwk(public_key, as_dict=True)
    return json.dumps({"keys": [{**key, "kid": key_id, "use": "sig", "alg": "EdDSA"}]})
