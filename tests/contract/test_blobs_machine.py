"""A state machine that keeps a dictionary beside each `Blobs` adapter and compares them after every step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from radrelay_shared.adapters.files import FileBlobs
from radrelay_shared.adapters.s3 import S3Blobs
from radrelay_shared.errors import Conflict, NotFound
from radrelay_shared.ports import Blobs
from servers.seaweedfs import SeaweedFS

# Few keys, so that they meet again; none is another's folder, and none sorts differently segment by segment.
NAMES = ("s1/000001/0001.pack", "s1/000001/0002.pack", "s1/000002/manifest.json", "s2/x", "t")
KEYS = st.sampled_from(NAMES)
CONTENTS = st.binary(max_size=9)
PREFIXES = st.sampled_from(["", "s", "s1/", "s1/000001/0", "s2/x", "none/"])
POSITIONS = st.integers(0, 12)


class Machine(RuleBasedStateMachine):
    """Random puts, reads and deletes of one store; every example works under a prefix of its own."""

    examples = count()

    def __init__(self, blobs: Blobs, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        super().__init__()
        self.blobs, self.run = blobs, run
        self.root = f"e{next(self.examples)}/"
        self.model: dict[str, bytes] = {}

    @rule(key=KEYS, content=CONTENTS)
    def put(self, key: str, content: bytes) -> None:
        assert self.run(self.blobs.put(self.root + key, content)) == len(content)
        self.model[key] = content

    @rule(key=KEYS, content=CONTENTS)
    def put_if_absent(self, key: str, content: bytes) -> None:
        putting = self.blobs.put(self.root + key, content, if_absent=True)
        if key in self.model:
            with pytest.raises(Conflict):
                self.run(putting)
        else:
            self.run(putting)
            self.model[key] = content

    @rule(key=KEYS, content=CONTENTS, if_absent=st.booleans())
    def put_from_a_source_that_fails(self, key: str, content: bytes, *, if_absent: bool) -> None:
        async def source() -> AsyncIterator[bytes]:
            yield content
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            self.run(self.blobs.put(self.root + key, source(), if_absent=if_absent))

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.run(self.blobs.delete(self.root + key))
        self.model.pop(key, None)

    @rule(start=POSITIONS, length=st.one_of(st.none(), POSITIONS))
    def read_a_range_of_every_key(self, start: int, length: int | None) -> None:
        for key in NAMES:
            reading = self.blobs.read(self.root + key, start=start, length=length)
            if key not in self.model:
                with pytest.raises(NotFound):
                    self.run(reading)
            else:
                assert self.run(reading) == self.model[key][start : None if length is None else start + length]

    @rule(prefix=PREFIXES)
    def list_prefix(self, prefix: str) -> None:
        assert self.run(self._listed(prefix)) == self._expected(prefix)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        assert self.run(self._listed("")) == self._expected("")

    def _expected(self, prefix: str) -> list[tuple[str, int]]:
        return [(self.root + key, len(self.model[key])) for key in sorted(self.model) if key.startswith(prefix)]

    async def _listed(self, prefix: str) -> Any:
        return [(info.key, info.size) async for info in self.blobs.list(self.root + prefix)]


def explore(blobs: Blobs, examples: int) -> None:
    bounds = settings(
        max_examples=examples,
        stateful_step_count=15,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    with asyncio.Runner() as runner:
        machine = partial(Machine, blobs, runner.run)
        run_state_machine_as_test(machine, settings=bounds)  # type: ignore[arg-type]  # documented: any factory
        runner.run(blobs.close())


def test_a_folder_does_what_a_dictionary_does(tmp_path: Path) -> None:
    explore(FileBlobs(tmp_path), examples=60)


@pytest.mark.external
def test_a_bucket_does_what_a_dictionary_does(seaweedfs: SeaweedFS) -> None:
    blobs = S3Blobs(seaweedfs.url(f"test-{uuid4().hex}"), seaweedfs.access_key, seaweedfs.secret_key)
    asyncio.run(blobs.ensure_bucket())
    explore(blobs, examples=30)
