"""Copies in files: they are whole, or it is said that they are not."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from radrelay_anonymize.domain.pieces import Output
from radrelay_anonymize.files import content_of, written

COPY = Output(b"head " * 200, memoryview(b"pixels" * 500))


def test_a_copy_is_read_back_as_it_was_written_over_a_longer_one(tmp_path: Path) -> None:
    target = tmp_path / "copy.dcm"
    target.write_bytes(bytes(10_000))
    written(COPY, target)
    assert content_of(target) == b"head " * 200 + b"pixels" * 500


def test_a_copy_that_the_disk_does_not_take_whole_is_an_error(tmp_path: Path) -> None:
    """Here because files may not be longer; a full disk takes a part in the same way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            written(COPY, tmp_path / "copy.dcm")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
