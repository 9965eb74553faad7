"""The vault's envelopes: for one study of one tenant, through changes of keys, and never for anybody else."""

from __future__ import annotations

import base64

import pytest

from radrelay_anonymize.domain.seals import Keyring, key_of, keyring, resealed, seal, unseal
from radrelay_shared.errors import Invalid

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
BEFORE, AFTER, RETIRED = Keyring([OLD]), Keyring([NEW, OLD]), Keyring([NEW])
ZENOBIA = b'{"patient": {"name": "Quillfeather^Zenobia"}}'


def in_base64(*keys: bytes) -> str:
    return "\n".join(base64.b64encode(key).decode() for key in keys)


def test_an_envelope_opens_for_its_tenant_and_study() -> None:
    sealed = seal(BEFORE, "bozeman", "st-one", ZENOBIA)
    assert unseal(BEFORE, "bozeman", "st-one", sealed) == ZENOBIA
    assert "Quillfeather" not in sealed


@pytest.mark.parametrize(
    ("tenant", "study"),
    [("bozeman", "st-two"), ("hamburg", "st-one"), ("hamburg", "st-two")],
    ids=["another study", "another tenant", "both"],
)
def test_an_envelope_opens_for_nobody_else(tenant: str, study: str) -> None:
    sealed = seal(BEFORE, "bozeman", "st-one", ZENOBIA)
    with pytest.raises(Invalid, match=f"{study} cannot be opened"):
        unseal(BEFORE, tenant, study, sealed)


@pytest.mark.parametrize("part", [0, 1, 2], ids=["the key's name", "the data key", "the content"])
def test_a_change_of_any_part_is_noticed(part: int) -> None:
    parts = seal(BEFORE, "bozeman", "st-one", ZENOBIA).split(".")
    first = parts[part][0]
    parts[part] = ("A" if first != "A" else "B") + parts[part][1:]
    with pytest.raises(Invalid, match="was changed, or sealed with a key that is not here"):
        unseal(BEFORE, "bozeman", "st-one", ".".join(parts))


@pytest.mark.parametrize("rubbish", ["", ".", "..", "no base64 at all", "a.b.c", "é.é.é"])
def test_rubbish_is_refused_without_a_riddle(rubbish: str) -> None:
    with pytest.raises(Invalid, match="was changed, or sealed with a key that is not here"):
        unseal(BEFORE, "bozeman", "st-one", rubbish)


def test_rotation_loses_nothing_and_needs_the_old_key_only_until_it_is_done() -> None:
    sealed = seal(BEFORE, "bozeman", "st-one", ZENOBIA)
    assert unseal(AFTER, "bozeman", "st-one", sealed) == ZENOBIA
    with pytest.raises(Invalid, match="sealed with a key that is not here"):
        unseal(RETIRED, "bozeman", "st-one", sealed)
    moved = resealed(AFTER, "bozeman", sealed)
    assert unseal(RETIRED, "bozeman", "st-one", moved) == ZENOBIA
    assert (key_of(sealed), key_of(moved)) == (BEFORE.current, AFTER.current)


def test_the_same_content_never_looks_the_same_twice() -> None:
    assert seal(BEFORE, "bozeman", "st-one", ZENOBIA) != seal(BEFORE, "bozeman", "st-one", ZENOBIA)


def test_keys_are_read_one_a_line_and_the_first_seals() -> None:
    found = keyring(in_base64(NEW, OLD) + "\n")
    assert (found.current, found.retired) == (AFTER.current, (BEFORE.current,))


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "is empty"), ("not base64!", "is not base64"), (in_base64(b"short"), "32 random bytes")],
    ids=["nothing", "no base64", "too short"],
)
def test_keys_that_are_none_are_refused_in_plain_words(text: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        keyring(text)
