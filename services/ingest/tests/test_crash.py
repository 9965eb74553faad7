"""SIGKILL while slices come in: what was acknowledged is there, once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from pynetdicom import AE, _config

from radrelay_shared.events import StudyReceived, StudyUpdated
from radrelay_shared.packs import read_manifest

RUN = "from radrelay_ingest.main import main; main()"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def send_until_it_dies(port: int, files: list[Path], acknowledged: set[Path]) -> None:
    sender = AE("BOZEMAN")
    sender.dimse_timeout = sender.acse_timeout = 5
    sender.add_requested_context("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
    association = sender.associate("127.0.0.1", port)
    with association.dul.socket.socket:  # which pynetdicom leaves open when the peer dies
        for file in files:
            if not association.is_established:
                return
            if association.send_c_store(file).get("Status") == 0x0000:
                acknowledged.add(file)
        association.release()


async def listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def test_every_slice_acknowledged_before_a_sigkill_is_sealed_once(
    open_door: Callable[..., AbstractAsyncContextManager[Any]],
    ct_slice: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    files = [tmp_path / f"{number}.dcm" for number in range(200)]
    for number, file in enumerate(files):
        file.write_bytes(ct_slice(number))
    async with open_door(quiet=0.05) as door:
        settings = door.runtime.settings
    environment = {
        "RADRELAY_DOCUMENTS_URL": settings.documents_url,
        "RADRELAY_ORIGINALS_URL": settings.originals_url,
        "RADRELAY_IDENTITY_KEY": settings.identity_key.get_secret_value(),
        "RADRELAY_SPOOL": str(settings.spool),
        "RADRELAY_SPOOL_RESERVE_BYTES": "0",
        "RADRELAY_SWEEP_SECONDS": "0.02",
        "RADRELAY_DICOM_HOST": "127.0.0.1",
    }
    acknowledged: set[Path] = set()
    draw = random.Random(20261101)
    for _ in range(2):
        port = free_port()
        ports = {"RADRELAY_DICOM_PORT": str(port), "RADRELAY_HTTP_PORT": str(free_port())}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", RUN, env={**os.environ, **environment, **ports}, stderr=asyncio.subprocess.DEVNULL
        )
        await listening(port)
        left = [file for file in files if file not in acknowledged]
        sending = asyncio.create_task(asyncio.to_thread(send_until_it_dies, port, left, acknowledged))
        await asyncio.sleep(draw.uniform(0.2, 0.5))
        process.send_signal(signal.SIGKILL)
        await asyncio.gather(sending, process.wait())
    assert 0 < len(acknowledged) < 200
    async with open_door(quiet=0.05) as door:
        while door.context.spool.waiting() or door.context.spool.claimed():
            await asyncio.sleep(0.02)
        await door.runtime.relay.idle()
        batches = sorted([*door.seen.of(StudyReceived), *door.seen.of(StudyUpdated)], key=lambda batch: batch.batch)
        manifests = [await read_manifest(door.context.originals, batch.manifest) for batch in batches]
    sealed = [each.sop_instance_uid for manifest in manifests for each in manifest.series[0].instances]
    assert [batch.batch for batch in batches] == list(range(1, len(batches) + 1))
    assert len(sealed) == len(set(sealed))
    assert {f"1.2.3.1.1.{file.stem}" for file in acknowledged} <= set(sealed)
