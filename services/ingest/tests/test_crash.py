"""SIGKILL while dcmtk sends: every acknowledged slice is there with its hash, once.

RADRELAY_KILLS says how often (8), RADRELAY_KILLS_SEED when (any number; the one used is printed).
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest

from radrelay_ingest.domain.studies import Study
from radrelay_shared.packs import read_instance, read_manifest
from radrelay_shared.testing import PATIENCE_SECONDS
from servers import cannot, free_ports

KILLS = int(os.environ.get("RADRELAY_KILLS", "8"))
SEED = int(os.environ.get("RADRELAY_KILLS_SEED", "20261125"))
SENDERS, SLICES = 2, 15  # of each sender
ACKNOWLEDGED = re.compile(r"Sending file: (\S+)\n(?:(?!Sending file)[\s\S])*?Received Store Response \(Success\)")

RUN = "from radrelay_ingest.main import main; main()"


async def started(environment: dict[str, str]) -> tuple[asyncio.subprocess.Process, int]:
    """Ingest, and the port on which it listens."""
    port, http = free_ports(2)
    ports = {"RADRELAY_DICOM_PORT": str(port), "RADRELAY_HTTP_PORT": str(http)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, env={**os.environ, **environment, **ports}, stderr=asyncio.subprocess.PIPE
    )
    if not await listening(process, http):  # the last to open
        assert process.stderr is not None
        raise AssertionError(f"ingest does not start: {(await process.stderr.read()).decode()[-2000:]}")
    return process, port


async def listening(process: asyncio.subprocess.Process, port: int) -> bool:
    """Whether it does; False once it has ended."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while process.returncode is None:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return True
            await asyncio.sleep(0.02)
    return False


async def send(port: int, files: list[Path], begun: asyncio.Event) -> set[Path]:
    """Those that were acknowledged before the receiver died; `begun` is set once the first is on its way."""
    sender = await asyncio.create_subprocess_exec(
        *("storescu", "-v", "-aet", "BOZEMAN", "127.0.0.1", str(port), *map(str, files)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    said: list[str] = []
    assert sender.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for line in sender.stdout:
            said.append(line.decode())
            if "Sending file" in said[-1]:
                begun.set()
        await sender.wait()
    begun.set()
    return {Path(name) for name in ACKNOWLEDGED.findall("".join(said))}


async def killed_once(environment: dict[str, str], files: list[Path], after: float | None) -> tuple[set[Path], float]:
    """Start ingest, kill it so long after the first file was on its way, or once all is sent: what came, and when."""
    process, port = await started(environment)
    try:
        begun = asyncio.Event()
        sending = asyncio.gather(*(send(port, files[part::SENDERS], begun) for part in range(SENDERS)))
        await begun.wait()
        began = time.monotonic()
        await asyncio.wait([sending], timeout=after)
        took = time.monotonic() - began
    finally:
        process.kill()
        await process.wait()
    return set().union(*await sending), took


async def sealed(door: Any) -> list[bytes]:
    """Every instance among the originals, found to have its hash."""
    await door.emptied()
    found: list[bytes] = []
    for study in await door.context.store.find(Study, [], limit=10_000):
        for batch in study.batches:
            manifest = await read_manifest(door.context.originals, batch.manifest)
            for series in manifest.series:
                found += [await read_instance(door.context.originals, series, each) for each in series.instances]
    return found


@pytest.mark.external
@pytest.mark.timeout(900 + 60 * KILLS)
async def test_every_slice_acknowledged_before_a_sigkill_is_sealed_once(
    open_door: Callable[..., AbstractAsyncContextManager[Any]], ct_slice: Callable[..., bytes], tmp_path: Path
) -> None:
    if shutil.which("storescu") is None:
        raise cannot("storescu of dcmtk is missing")
    async with open_door(quiet=0.05) as door:
        settings = door.runtime.settings
    environment = {
        "RADRELAY_DOCUMENTS_URL": settings.documents_url,
        "RADRELAY_ORIGINALS_URL": settings.originals_url,
        "RADRELAY_IDENTITY_KEY": settings.identity_key.get_secret_value(),
        "RADRELAY_SPOOL": str(settings.spool),
        "RADRELAY_SPOOL_RESERVE_BYTES": "0",
        "RADRELAY_SPOOL_RESUME_BYTES": "0",
        "RADRELAY_SPOOL_SEGMENT_BYTES": str(1 << 20),
        "RADRELAY_SPOOL_SPARE_SEGMENTS": "2",
        "RADRELAY_SWEEP_SECONDS": "0.02",
        "RADRELAY_DICOM_HOST": "127.0.0.1",
        "RADRELAY_LOG_LEVEL": "CRITICAL",
    }
    draw, acknowledged, whole = random.Random(SEED), dict[str, Path](), None
    sys.stdout.write(f"RADRELAY_KILLS={KILLS} RADRELAY_KILLS_SEED={SEED}\n")
    for kill in range(KILLS):
        folder = tmp_path / f"{kill}"
        folder.mkdir()
        for number in range(SENDERS * SLICES):
            (folder / f"{number}.dcm").write_bytes(ct_slice(number, study=f"1.2.3.{kill + 1}"))
        files = sorted(folder.iterdir())
        kept, took = await killed_once(environment, files, whole and draw.uniform(0, whole))
        whole = whole or took  # the first one shows how long a transfer takes here; the others end before that
        for file in kept:
            acknowledged[f"1.2.3.{kill + 1}.1.{file.stem}"] = file
    async with open_door(quiet=0.05) as door:
        found = await sealed(door)
    there = {str(each.SOPInstanceUID): each for each in (pydicom.dcmread(BytesIO(content)) for content in found)}
    assert 0 < len(acknowledged) < KILLS * SENDERS * SLICES
    assert len(there) == len(found)
    for uid, file in acknowledged.items():
        sent = pydicom.dcmread(file)
        assert (there[uid].InstanceNumber, there[uid].PixelData) == (sent.InstanceNumber, sent.PixelData)
    sys.stdout.write(f"{len(acknowledged)} acknowledged, {len(found)} found, each once\n")
