"""The all-in-one's own secrets."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from radrelay.keys import AUDIENCE, ISSUER, Keys
from radrelay_shared.errors import NotFound, Unauthenticated
from radrelay_shared.security import Gate, Principal, Role, load_api_keys


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    made = Keys(tmp_path / "keys")
    made.ensure()
    return made


def gate(keys: Keys) -> Gate:
    return Gate(load_api_keys(keys.api_keys), str(keys.jwks), ISSUER, AUDIENCE)


def contents(keys: Keys) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in keys.folder.iterdir()}


def test_only_their_owner_can_read_the_secrets(keys: Keys) -> None:
    assert keys.folder.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o777 for file in keys.folder.iterdir()} == dict.fromkeys(
        [
            "identity_key",
            "tenant_secret",
            "vault_key",
            "custody_key",
            "viewer_key",
            "issuer.pem",
            "jwks.json",
            "vault_api_key",
            "api-keys.yaml",
        ],
        0o600,
    )


def test_a_second_start_keeps_every_secret(keys: Keys) -> None:
    before = contents(keys)
    keys.ensure()
    assert contents(keys) == before


def test_two_installations_share_no_secret(keys: Keys, tmp_path: Path) -> None:
    other = Keys(tmp_path / "other")
    other.ensure()
    assert set(contents(keys).values()) & set(contents(other).values()) == set()


async def test_a_token_of_the_local_issuer_is_taken_for_what_it_says(keys: Keys) -> None:
    token = keys.token("dr-silva", {Role.RADIOLOGIST}, {"prairie"})
    caller = await gate(keys).admit(f"Bearer {token}")
    assert caller == Principal("dr-silva", frozenset({Role.RADIOLOGIST}), frozenset({"prairie"}))


async def test_a_token_that_ran_out_is_refused(keys: Keys) -> None:
    token = keys.token("dr-silva", {Role.RADIOLOGIST}, {"prairie"}, timedelta(minutes=-1))
    with pytest.raises(Unauthenticated):
        await gate(keys).admit(f"Bearer {token}")


async def test_a_token_of_another_installation_is_refused(keys: Keys, tmp_path: Path) -> None:
    other = Keys(tmp_path / "other")
    other.ensure()
    with pytest.raises(Unauthenticated):
        await gate(keys).admit(f"Bearer {other.token('operator', {Role.OPERATOR}, {'*'})}")


async def test_notification_may_ask_the_vault_also_after_a_first_start_that_was_cut_short(keys: Keys) -> None:
    keys.api_keys.unlink()  # a crash between the two files of the key
    keys.ensure()
    caller = await gate(keys).admit(None, keys.secret("vault_api_key"))
    assert (caller.subject, caller.roles) == ("key:notification", frozenset({Role.SERVICE}))


def test_where_radrelay_never_ran_nobody_gets_a_token(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="start `radrelay up` once"):
        Keys(tmp_path / "nothing").token("operator", {Role.OPERATOR}, {"*"})
