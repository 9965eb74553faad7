"""The demo's studies in a RadRelay with the OHIF viewer, and a headless Chromium that looks at it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from radrelay.client import Client
from radrelay.demo import Show, feed, registered
from radrelay.platform import Platform
from radrelay.samples import SAMPLES
from radrelay_shared.security import Role
from servers import cannot, free_ports

VIEWER = Path(__file__).parents[2] / ".radrelay" / "viewer"
CHROMIUM = shutil.which("chromium")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
STORED_SECONDS = 30
module = pytest_asyncio.fixture(scope="module", loop_scope="module")


@module
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    if not VIEWER.is_dir():
        raise cannot("the OHIF viewer is not here")
    http_port, dicom_port = free_ports(2)
    settings = {"webhook_allow_networks": ["127.0.0.0/8"], "sweep_seconds": 0.1}
    found = Platform(
        tmp_path_factory.mktemp("viewer"),
        http_port=http_port,
        dicom_port=dicom_port,
        viewer=VIEWER,
        settings=settings,
    )
    await found.start()
    yield found
    await found.stop()


@module
async def radiologist(platform: Platform) -> AsyncIterator[Client]:
    """Who may see the demo's studies, all of which are stored."""
    base, show = f"http://127.0.0.1:{platform.http_port}", Show()
    async with registered(Client(base, platform.keys.token("operator", {Role.OPERATOR}, {"*"})), show):
        await feed(base, platform.dicom_port, platform.keys, show)
        found = Client(base, platform.keys.token("dr-test", {Role.RADIOLOGIST}, {"*"}))
        async with asyncio.timeout(STORED_SECONDS):
            while len(await studies(found)) < len(SAMPLES):
                await asyncio.sleep(0.1)
        yield found


async def studies(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await client.call("GET", "/dicom-web/studies")
    return found


@module
async def chromium() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        raise cannot("Debian's chromium is not installed")
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-quic", "--enable-unsafe-swiftshader", *QUIET]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        await browser.close()
