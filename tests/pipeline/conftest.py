"""RadRelay in its two shapes: all-in-one on embedded adapters, and seven processes on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fleet import Fleet, Installation, backbone
from radrelay.platform import Platform
from servers import free_ports

LOOPBACK = "127.0.0.0/8"


@asynccontextmanager
async def all_in_one(folder: Path) -> AsyncIterator[Installation]:
    http_port, dicom_port = free_ports(2)
    settings: dict[str, Any] = {"webhook_allow_networks": [LOOPBACK], "sweep_seconds": 0.1}
    platform = Platform(folder, http_port=http_port, dicom_port=dicom_port, settings=settings)
    await platform.start()
    yield Installation(f"http://127.0.0.1:{http_port}", dicom_port, platform.keys)
    await platform.stop()


@asynccontextmanager
async def seven_processes(folder: Path) -> AsyncIterator[Installation]:
    settings = {"webhook_allow_networks": f'["{LOOPBACK}"]', "sweep_seconds": "0.1"}
    with backbone(folder) as servers:
        fleet = Fleet(folder / "fleet", servers.backends, settings)
        try:
            await asyncio.to_thread(fleet.start)
            yield fleet.installation
            await asyncio.to_thread(fleet.stop)
        finally:
            fleet.discard()


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[all_in_one, pytest.param(seven_processes, marks=pytest.mark.external)],
    ids=["all-in-one", "seven-processes"],
)
async def relay(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Installation]:
    async with request.param(tmp_path_factory.mktemp("relay")) as installation:
        yield installation
