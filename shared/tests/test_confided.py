"""What identity is kept under says nothing about it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from radrelay_shared.adapters.files import FileBlobs
from radrelay_shared.confided import MOST, confide, confided
from radrelay_shared.errors import Invalid

NAME, SECRET, SAID = "identities/st-1/patient", b"a secret of this installation", b'{"id": "MRN-1"}'


@pytest.fixture
async def originals(tmp_path: Path) -> AsyncIterator[FileBlobs]:
    blobs = FileBlobs(tmp_path)
    yield blobs
    await blobs.close()


async def test_what_was_confided_is_read_again_and_kept_once(originals: FileBlobs) -> None:
    key = await confide(originals, NAME, SAID, SECRET)
    assert await confide(originals, NAME, SAID, SECRET) == key
    assert await confided(originals, key) == SAID
    assert [info.key async for info in originals.list()] == [key]


async def test_a_guess_of_the_content_is_not_confirmed_by_its_key(originals: FileBlobs) -> None:
    """Nor do keys tell that two studies say the same, or that two installations do."""
    key = await confide(originals, NAME, SAID, SECRET)
    others = [("identities/st-2/patient", SECRET), (NAME, b"a secret of another installation")]
    keys = [key, *[await confide(originals, name, SAID, secret) for name, secret in others]]
    assert len({each.rpartition("-")[2] for each in keys}) == len(keys)
    assert hashlib.sha256(SAID).hexdigest() not in "".join(keys)


@pytest.mark.parametrize(("was", "became"), [(b"MRN-1", b"MRN-2"), (SAID, b""), (SAID, SAID + b" ")])
async def test_what_was_changed_is_not_read(originals: FileBlobs, was: bytes, became: bytes) -> None:
    key = await confide(originals, NAME, SAID, SECRET)
    await originals.put(key, (await originals.read(key)).replace(was, became))
    with pytest.raises(Invalid, match=key):
        await confided(originals, key)


async def test_no_more_is_read_than_one_study_takes(originals: FileBlobs) -> None:
    key = await confide(originals, NAME, bytes(MOST + 1), SECRET)
    with pytest.raises(Invalid):
        await confided(originals, key)
