"""Who gets in: tokens of our own issuer from a file or a URL, API keys, roles and sites."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import APIRouter

from radrelay_shared.security import Gate, Principal, Role, jwks_of, load_api_keys, new_api_key, require
from radrelay_shared.service import Service
from radrelay_shared.testing import api_keys_file, running

ISSUER, AUDIENCE, KID = "https://login.example", "radrelay", "key-1"
router = APIRouter()
Reader = Annotated[Principal, require(Role.RADIOLOGIST, Role.OPERATOR)]


@router.get("/studies/{study}")
async def read(caller: Reader, study: str) -> dict[str, Any]:
    """Every study here is of clinic-a."""
    caller.must_see("clinic-a", "study")
    return {"study": study, "subject": caller.subject, "roles": sorted(caller.roles), "sites": sorted(caller.sites)}


SERVICE = Service("tiny", {}, (), routers=(router,))


@dataclass
class Issuer:
    """An OIDC issuer with one Ed25519 key."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    kid: str = KID

    @property
    def jwks(self) -> str:
        return jwks_of(self.key.public_key(), self.kid)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """A good radiologist's; None takes a claim away."""
        good = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "anna",
            "exp": datetime.now(UTC) + timedelta(days=1),
            "roles": ["radiologist"],
            "sites": ["clinic-a"],
        }
        return {name: value for name, value in (good | changes).items() if value is not None}

    def token(self, **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), self.key, "EdDSA", {"kid": self.kid})


ISSUED = Issuer()


@asynccontextmanager
async def asking(folder: Path, **settings: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client without credentials of its own; the issuer's keys are in a file unless said otherwise."""
    (folder / "jwks.json").write_text(ISSUED.jwks)
    settings = {"auth_jwks": str(folder / "jwks.json"), "auth_issuer": ISSUER} | settings
    async with running(SERVICE, folder, **settings) as (runtime, _):
        transport = httpx2.ASGITransport(runtime.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://radrelay") as http:
            yield http


async def get(http: httpx2.AsyncClient, token: str) -> httpx2.Response:
    return await http.get("/studies/st-1", headers={"Authorization": f"Bearer {token}"})


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_radiologist_of_the_clinic_gets_in(tmp_path: Path) -> None:
    async with asking(tmp_path) as http:
        answer = await get(http, ISSUED.token())
    assert answer.status_code == 200
    assert answer.json() == {"study": "st-1", "subject": "anna", "roles": ["radiologist"], "sites": ["clinic-a"]}


def unsigned() -> str:
    return jwt.encode(ISSUED.claims(), "", "none", {"kid": KID})


def signed_with_the_public_key() -> str:
    """HS256, with the issuer's public key as the shared secret: the classic confusion of algorithms."""
    public = ISSUED.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = ISSUED.claims()
    claims["exp"] = int(claims["exp"].timestamp())
    parts = ({"alg": "HS256", "typ": "JWT", "kid": KID}, claims)
    signing_input = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.new(public, signing_input, hashlib.sha256).digest()).rstrip(b"=")
    return (signing_input + b"." + signature).decode()


def tampered() -> str:
    header, _, signature = ISSUED.token().split(".")
    claims = ISSUED.claims(sites=["*"])
    claims["exp"] = int(claims["exp"].timestamp())
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{header}.{middle}.{signature}"


BAD_TOKENS = {
    "wrong issuer": ISSUED.token(iss="https://login.elsewhere"),
    "no issuer": ISSUED.token(iss=None),
    "wrong audience": ISSUED.token(aud="another-platform"),
    "no audience": ISSUED.token(aud=None),
    "expired": ISSUED.token(exp=datetime.now(UTC) - timedelta(minutes=1)),
    "never expires": ISSUED.token(exp=None),
    "not yet valid": ISSUED.token(nbf=datetime.now(UTC) + timedelta(hours=12)),
    "nobody": ISSUED.token(sub=None),
    "unsigned": unsigned(),
    "HS256 with the public key": signed_with_the_public_key(),
    "tampered": tampered(),
    "another issuer's key": Issuer().token(),
    "unknown key id": Issuer(ISSUED.key, "key-2").token(),
    "no token": "a.b.c",
    "sites are one word": ISSUED.token(sites="clinic*"),
    "roles are one word": ISSUED.token(roles="radiologist"),
    "roles are a table": ISSUED.token(roles={"radiologist": True}),
    "empty": "",
}


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS)
async def test_a_token_that_is_not_right_in_every_way_gets_nobody_in(tmp_path: Path, token: str) -> None:
    async with asking(tmp_path) as http:
        answer = await get(http, token)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:radrelay:problem:unauthenticated"


@pytest.mark.parametrize("authorization", [None, "Basic YTpi", "Bearer", "rrk_x.y"])
async def test_without_credentials_nobody_gets_in(tmp_path: Path, authorization: str | None) -> None:
    async with asking(tmp_path) as http:
        answer = await http.get("/studies/st-1", headers={"Authorization": authorization} if authorization else {})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_without_an_issuer_no_token_is_right(tmp_path: Path) -> None:
    async with asking(tmp_path, auth_jwks=None) as http:
        assert (await get(http, ISSUED.token())).status_code == 401


async def test_roles_that_nobody_knows_here_are_passed_over(tmp_path: Path) -> None:
    async with asking(tmp_path) as http:
        answer = await get(http, ISSUED.token(roles=["offline_access", "radiologist", "superuser", 7]))
        assert answer.json()["roles"] == ["radiologist"]
        assert (await get(http, ISSUED.token(roles=["superuser"]))).status_code == 403


@pytest.mark.parametrize("roles", [None, [], ["site"], ["service"], ["auditor", "assistant", "referrer", "model"]])
async def test_without_the_role_it_is_forbidden(tmp_path: Path, roles: list[str] | None) -> None:
    async with asking(tmp_path) as http:
        answer = await get(http, ISSUED.token(roles=roles))
    assert answer.status_code == 403
    assert answer.json()["detail"] == "this needs the role radiologist or operator"


@pytest.mark.parametrize(
    ("sites", "status"),
    [(["clinic-a"], 200), (["*"], 200), (["clinic-b"], 404), (["clinic"], 404), ([], 404), (None, 404)],
)
async def test_a_study_of_another_site_is_not_there(tmp_path: Path, sites: list[str] | None, status: int) -> None:
    async with asking(tmp_path) as http:
        assert (await get(http, ISSUED.token(sites=sites))).status_code == status


# ── the issuer's keys, from a URL ────────────────────────────────────────────────────────────────────


class KeyServer(ThreadingHTTPServer):
    """Serves a JWKS on loopback, and counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.body, self.asked = b"", 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/jwks"


class Answer(BaseHTTPRequestHandler):
    server: KeyServer

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""


@pytest.fixture
def key_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = KeyServer()
    server.body = ISSUED.jwks.encode()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def test_keys_are_fetched_once_for_many_callers(tmp_path: Path, key_server: KeyServer) -> None:
    async with asking(tmp_path, auth_jwks=key_server.url) as http:
        assert key_server.asked == 0
        for _ in range(5):
            assert (await get(http, ISSUED.token())).status_code == 200
        assert key_server.asked == 1
        for name in ("wrong issuer", "unsigned", "HS256 with the public key", "unknown key id"):
            assert (await get(http, BAD_TOKENS[name])).status_code == 401


async def test_a_file_of_keys_that_the_issuer_changed_is_read_again(tmp_path: Path) -> None:
    later = Issuer(kid="key-2")
    async with asking(tmp_path) as http:
        assert (await get(http, later.token())).status_code == 401
        (tmp_path / "jwks.json").write_text(later.jwks)
        assert (await get(http, later.token())).status_code == 200


async def test_while_the_issuer_is_away_callers_are_told_to_come_again(tmp_path: Path, key_server: KeyServer) -> None:
    key_server.body = b"<html>maintenance</html>"
    async with asking(tmp_path, auth_jwks=key_server.url) as http:
        answer = await get(http, ISSUED.token())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        key_server.body = ISSUED.jwks.encode()
        assert (await get(http, ISSUED.token())).status_code == 200


@pytest.mark.parametrize("content", [None, "", "not JSON"])
async def test_a_missing_or_broken_file_of_keys_is_our_fault_and_not_the_callers(
    tmp_path: Path, content: str | None
) -> None:
    async with asking(tmp_path) as http:
        file = tmp_path / "jwks.json"
        file.unlink() if content is None else file.write_text(content)
        assert (await get(http, ISSUED.token())).status_code == 503


async def test_a_slow_issuer_blocks_nobody_else(tmp_path: Path, key_server: KeyServer) -> None:
    key_server.body = ISSUED.jwks.encode()
    async with asking(tmp_path, auth_jwks=key_server.url) as http:
        answers = await asyncio.gather(*(get(http, ISSUED.token()) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}


# ── API keys ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_machine_gets_in_with_its_own_key_only(tmp_path: Path) -> None:
    secrets = api_keys_file(
        tmp_path / "keys.yaml", ct1=({Role.OPERATOR}, {"clinic-a"}), ct2=({Role.OPERATOR}, {"clinic-b"})
    )
    own, others = secrets["ct1"], secrets["ct2"]
    async with asking(tmp_path, api_keys_file=tmp_path / "keys.yaml") as http:

        async def status(key: str) -> int:
            return (await http.get("/studies/st-1", headers={"X-API-Key": key})).status_code

        assert (await get(http, own)).json()["subject"] == "key:ct1"
        assert [await status(own), await status(others)] == [200, 404]
        assert await status(own[:-1] + ("a" if own[-1] != "a" else "b")) == 401  # wrong
        assert await status(own.replace("ct1", "ct3")) == 401  # unknown id
        assert await status(own.replace("ct1", "ct2")) == 401  # other's id
        assert await status("rrk_ct1.") == 401
        assert await status("ct1") == 401


def test_only_the_hash_of_a_key_is_kept(tmp_path: Path) -> None:
    secrets = api_keys_file(tmp_path / "keys.yaml", ct1=({Role.SITE}, {"clinic-a"}))
    assert secrets["ct1"].startswith("rrk_ct1.")
    assert secrets["ct1"].partition(".")[2] not in (tmp_path / "keys.yaml").read_text()
    kept = load_api_keys(tmp_path / "keys.yaml")["ct1"]
    assert kept.sha256 == hashlib.sha256(secrets["ct1"].encode()).hexdigest()
    assert new_api_key("ct1", set(), set())[0] != new_api_key("ct1", set(), set())[0]


async def test_without_a_file_of_keys_there_are_none() -> None:
    assert load_api_keys(None) == {}
    with pytest.raises(Exception, match="not known here"):
        await Gate({}, None, "", "").admit(None, "rrk_a.b")
