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
from radrelay_shared.testing import PATIENCE_SECONDS
from servers import cannot, free_ports

VIEWER = Path(__file__).parents[2] / ".radrelay" / "viewer"
CHROMIUM = shutil.which("chromium")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
READER = "dr-silva"
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
    """Who has claimed all of the demo's studies, and so may see them."""
    base, show = f"http://127.0.0.1:{platform.http_port}", Show()
    operator = Client(base, platform.keys.token("operator", {Role.OPERATOR}, {"*"}))
    async with registered(operator, show) as tables:
        await alone(READER, tables["radiologists"], operator)
        await feed(base, platform.dicom_port, platform.keys, show)
        found, claimed = Client(base, platform.keys.token(READER, {Role.RADIOLOGIST}, {"*"})), 0
        async with asyncio.timeout(PATIENCE_SECONDS):
            while claimed < len(SAMPLES):
                claimed += await found.call("POST", "/worklist/next") is not None
                await asyncio.sleep(0.1)
        yield found


async def alone(reader: str, radiologists: dict[str, dict[str, Any]], operator: Client) -> None:
    """The reader is on duty around the clock, and the others read for nobody."""
    always = [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "00:00", "to": "00:00"}]
    for name, facts in radiologists.items():
        duty = {"shifts": always} if name == reader else {"sites": []}
        await operator.call("PUT", f"/radiologists/{name}", json=facts | duty)


@module
async def chromium() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        raise cannot("Debian's chromium is not installed")
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-quic", "--enable-unsafe-swiftshader", *QUIET]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        await browser.close()
