"""What comes in, spoilt: nothing crashes, nothing hangs, nothing is left open, and each answer has the right status.

`corpus/<kind>/` holds what is spoilt; an input that ever found a mistake belongs there, too. RADRELAY_FUZZ says how
many inputs (1,000), RADRELAY_FUZZ_SEED which (any number; the one used is printed).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from jwt.algorithms import OKPAlgorithm
from jwt.api_jws import PyJWS

from radrelay_ingest.instance import Reader
from radrelay_shared.errors import Invalid
from radrelay_shared.security import Role
from radrelay_shared.testing import PATIENCE_SECONDS, until

Door = Callable[..., AbstractAsyncContextManager[Any]]

INPUTS = int(os.environ.get("RADRELAY_FUZZ", "1000"))
SEED = int(os.environ.get("RADRELAY_FUZZ_SEED", "20261125"))
KEY = Ed25519PrivateKey.generate()  # the site's, for its manifests
SITE = {"name": "Bozeman Clinic", "jurisdiction": "US-MT", "ae_titles": ["BOZEMAN"]}
CORPUS = Path(__file__).parent / "corpus"
AT_ONCE, DRAWN = 10, 500
GROWTH = 96 << 20  # bytes: far less than what leaked per input would come to
NEAR = 200  # bytes at the beginning, where most headers are


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────

EDITS = st.lists(
    st.tuples(st.integers(0, 4000), st.booleans(), st.binary(max_size=8), st.integers(0, 12)), min_size=1, max_size=4
)


def spoilt(content: bytes, edits: list[tuple[int, bool, bytes, int]]) -> bytes:
    for place, near, put, removed in edits:
        at = place % (min(NEAR, len(content)) if near else len(content) or 1) if content else 0
        content = content[:at] + put + content[at + removed :]
    return content


def inputs(kind: str, count: int) -> Iterator[list[bytes]]:
    """The corpus as it is, then so many spoilt inputs, some at a time."""
    seeds = [path.read_bytes() for path in sorted((CORPUS / kind).iterdir())]
    yield seeds
    for number in range(0, count, DRAWN):
        yield drawn(seeds, min(DRAWN, count - number), SEED + number)


def drawn(seeds: list[bytes], count: int, number: int) -> list[bytes]:
    found: list[bytes] = []

    @seed(number)
    @settings(max_examples=count, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(seeds), EDITS)
    def draw(content: bytes, edits: list[tuple[int, bool, bytes, int]]) -> None:
        found.append(spoilt(content, edits))

    draw()
    return found


# ── how ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Senders:
    """Each sends one input and tells what was answered."""

    door: Any
    machine: Any

    async def associations(self, content: bytes) -> int:
        """The type of the last PDU that came back; 0 for none."""
        heard, last = await heard_from(self.door.context.dicom_port, content), 0
        while len(heard) >= 6:
            last, heard = heard[0], heard[6 + int.from_bytes(heard[2:6], "big") :]
        return last

    async def files(self, content: bytes) -> int:
        body = b"--a-long-boundary\r\n\r\n" + content + b"\r\n--a-long-boundary--"
        status = await self._multipart(body, "a-long-boundary")
        assert (status == 200) == is_dicom(content)
        return status

    async def multiparts(self, content: bytes) -> int:
        return await self._multipart(content, "b")

    async def _multipart(self, body: bytes, boundary: str) -> int:
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        return await self._post("/ingest/dicom-web/studies", body, {"Content-Type": kind})

    async def uploads(self, content: bytes) -> int:
        """What is unpacked is heard of later, and must be unpacked in the end."""
        kind = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}
        answer = await self.machine.post(
            "/ingest/uploads", content=content, headers=kind | {"Upload-Length": str(len(content))}
        )
        if answer.status_code == 201:
            while (await self.machine.get(answer.headers["location"])).json()["state"] == "unpacking":
                await asyncio.sleep(0.005)
            while (await self._forget(answer.headers["location"])) == 423:  # for a moment longer
                await asyncio.sleep(0.005)
        return int(answer.status_code)

    async def _forget(self, upload: str) -> int:
        return int((await self.machine.delete(upload, headers={"Tus-Resumable": "1.0.0"})).status_code)

    async def manifests(self, content: bytes) -> int:
        return await self._post("/ingest/manifests", content, {"Content-Type": "application/jose"})

    async def listings(self, content: bytes) -> int:
        """A manifest that was spoilt before its site signed it."""
        return await self.manifests(PyJWS().encode(content, KEY, "EdDSA").encode())

    async def orders(self, content: bytes) -> int:
        return await self._post("/ingest/fhir/ServiceRequest", content, {"Content-Type": "application/fhir+json"})

    async def hl7(self, content: bytes) -> int:
        return await self._post("/ingest/hl7", content, {"Content-Type": "application/hl7-v2; charset=utf-8"})

    async def mllp(self, content: bytes) -> int:
        """How many acknowledgements came back."""
        return (await heard_from(self.door.context.mllp_port, content)).count(b"\rMSA|")

    async def _post(self, path: str, content: bytes, headers: dict[str, str]) -> int:
        return int((await self.machine.post(path, content=content, headers=headers)).status_code)


async def heard_from(port: int, said: bytes) -> bytes:
    """All that is answered until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(said)
        writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


def is_dicom(content: bytes) -> bool:
    reader = Reader()
    try:
        reader.feed(content)
        reader.finish()
    except Invalid:
        return False
    return True


KINDS = {  # their share of the inputs, and what may be answered
    "associations": (0.25, {0, 2, 3, 4, 6, 7}),
    "files": (0.25, {200, 409}),
    "multiparts": (0.2, {200, 202, 400, 409}),
    "uploads": (0.05, {201}),
    "manifests": (0.02, {403}),
    "listings": (0.03, {202, 422}),
    "orders": (0.1, {202, 400, 422}),
    "hl7": (0.05, {200, 400, 422}),
    "mllp": (0.05, set(range(8))),
}


# ── what is left ─────────────────────────────────────────────────────────────────────────────────────


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def settle(door: Any) -> None:
    """Until every association has ended."""
    await until(lambda: not door.context.spool.segments.busy)


async def register_key(door: Any) -> None:
    key = OKPAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    async with door.as_(Role.OPERATOR) as operator:
        answer = await operator.put("/ingest/sites/bozeman", json=SITE | {"manifest_keys": [key]})
        assert answer.status_code == 200


async def send_all(send: Callable[[bytes], Awaitable[int]], contents: list[bytes]) -> Counter[int]:
    found: Counter[int] = Counter()
    for at in range(0, len(contents), AT_ONCE):
        async with asyncio.timeout(PATIENCE_SECONDS):
            found.update(await asyncio.gather(*map(send, contents[at : at + AT_ONCE])))
    return found


@pytest.mark.timeout(900 + INPUTS // 20)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_comes_in_spoilt_is_refused_or_taken_and_leaves_nothing(
    open_door: Door, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "pynetdicom")  # whose records keep whole associations in memory
    share, allowed = KINDS[kind]
    answers: Counter[int] = Counter()
    limits = {"dicom_max_associations": 100, "dicom_max_associations_per_peer": 100}
    mllp = {"mllp_host": "127.0.0.1", "mllp_port": 0}
    async with open_door(quiet=3600, **limits, **mllp) as door, door.as_(Role.SITE, "bozeman") as machine:
        await register_key(door)
        send: Callable[[bytes], Awaitable[int]] = getattr(Senders(door, machine), kind)
        before: tuple[int, int] | None = None  # descriptors, bytes
        for contents in inputs(kind, int(INPUTS * share)):
            answers += await send_all(send, contents)
            await settle(door)
            before = before or (descriptors(), resident())  # once it is warm
        assert before is not None
        most = before[0] + 2 * AT_ONCE  # segments that are open, idle connections: far less than what leaked per input
        await until(lambda: descriptors() <= most)
        assert resident() < before[1] + GROWTH
    sys.stdout.write(f"RADRELAY_FUZZ_SEED={SEED} {kind}: {dict(answers)}\n")
    assert set(answers) <= allowed
    ours = [each for each in caplog.records if each.name.startswith("radrelay")]
    assert not [each for each in ours if each.exc_info and each.levelno >= logging.ERROR]
