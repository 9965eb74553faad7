"""What a signed link carries, and the signature over it: pure.

rrv_<claims, JSON in base64url>.<HMAC-SHA256 over the claims, base64url>
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from radrelay_shared.errors import Unauthenticated
from radrelay_shared.security import Principal, Role

PREFIX = "rrv_"


class Use(StrEnum):
    """A link is good for a session and nothing else; a session reads images."""

    LINK = "link"
    SESSION = "session"


LASTS = {Use.LINK: timedelta(minutes=1), Use.SESSION: timedelta(hours=1)}


class Claims(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    use: Use
    viewer: str
    subject: str
    roles: tuple[Role, ...]
    sites: tuple[str, ...]
    study: str | None  # Study Instance UID; None: whatever the caller may see
    until: AwareDatetime

    @property
    def principal(self) -> Principal:
        return Principal(self.subject, frozenset(self.roles), frozenset(self.sites), self.study)


def claims_of(caller: Principal, study: str | None, viewer: str, now: datetime) -> Claims:
    """A link's claims; who was bound to one study already stays so."""
    return Claims(
        use=Use.LINK,
        viewer=viewer,
        subject=caller.subject,
        roles=tuple(sorted(caller.roles)),
        sites=tuple(sorted(caller.sites)),
        study=caller.study or study,
        until=now + LASTS[Use.LINK],
    )


def as_session(link: Claims, now: datetime) -> Claims:
    return link.model_copy(update={"use": Use.SESSION, "until": now + LASTS[Use.SESSION]})


def signed(claims: Claims, key: bytes) -> str:
    body = encode(claims.model_dump_json().encode())
    return f"{PREFIX}{body}.{encode(signature(body, key))}"


def opened(token: str, use: Use, key: bytes, now: datetime) -> Claims:
    """The claims, if the signature, the use and the time are right; else `Unauthenticated`."""
    body, _, presented = token.removeprefix(PREFIX).partition(".")
    if not hmac.compare_digest(encode(signature(body, key)).encode(), presented.encode()):
        raise Unauthenticated("this viewer link was not made here")
    try:
        claims = Claims.model_validate_json(decode(body))
    except (ValueError, ValidationError) as error:
        raise Unauthenticated("this viewer link was not made here") from error
    if claims.use is not use or claims.until <= now:
        raise Unauthenticated("this viewer link is no longer good; ask for a new one")
    return claims


def signature(body: str, key: bytes) -> bytes:
    return hmac.digest(key, body.encode(), hashlib.sha256)


def encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
