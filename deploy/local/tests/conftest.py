"""A whole RadRelay in a folder, on free ports, and the command line that speaks to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from radrelay.cli import app
from radrelay.platform import Platform
from servers import free_ports

Command = Callable[..., Awaitable[Result]]


@asynccontextmanager
async def up(folder: Path) -> AsyncIterator[Platform]:
    """RadRelay on this folder, stopped afterwards."""
    settings = {"webhook_allow_networks": ["127.0.0.0/8"], "sweep_seconds": 0.1}
    platform = Platform(folder, http_port=0, dicom_port=free_ports(1)[0], settings=settings)
    await platform.start()
    try:
        yield platform
    finally:
        await platform.stop()


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with up(tmp_path / "data") as running:
        yield running


@pytest.fixture
def starting() -> Callable[[Path], object]:
    """`async with starting(folder) as platform`: for tests that start it more than once."""
    return up


@pytest.fixture
def radrelay() -> Command:
    """Runs the command line in this process, beside the event loop: `await radrelay("status", …)`."""

    async def run(*words: object) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, [str(word) for word in words], env={"COLUMNS": "200"})

    return run
