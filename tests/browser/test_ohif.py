"""OHIF, as a radiologist opens it from a link: what is on the screen, pixel by pixel."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.async_api import Browser, Page, expect

from radrelay.client import Client

pytestmark = pytest.mark.asyncio(loop_scope="module")
SCREENSHOTS = Path(__file__).parent / "screenshots"
GIVEN_UP = "net::ERR_ABORTED"  # by the page itself, as when it is left
CANVAS = "canvas.cornerstone-canvas"
PATIENCE = 120.0
expect.set_options(timeout=PATIENCE * 1000)
Pixels = Any  # numpy.ndarray of uint8, grey
SAVE = """() => window.commandsManager.runCommand('storeMeasurements', {
    measurementData: window.services.measurementService.getMeasurements(),
    dataSource: window.extensionManager.getActiveDataSource()[0],
    additionalFindingTypes: ['ArrowAnnotate'],
    options: {SeriesDescription: 'Measured at the viewer', SeriesNumber: 100},
}, 'CORNERSTONE_STRUCTURED_REPORT')"""

# The demo's studies of this modality and so many instances; how many images there are to scroll through.
STACKS = [("CT", 24, 24), ("MR", 20, 20), ("US", 1, 30)]


@asynccontextmanager
async def opened(chromium: Browser, radiologist: Client, study: str | None) -> AsyncIterator[Page]:
    """A fresh browser, which goes to a link and may meet no error on the way."""
    link = await radiologist.call("POST", "/viewers/links", json={"study": study})
    context = await chromium.new_context(viewport={"width": 1280, "height": 800})
    page, failed = await context.new_page(), list[str]()
    page.set_default_timeout(PATIENCE * 1000)
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    page.on("requestfailed", lambda request: failed.append(request.url) if request.failure != GIVEN_UP else None)
    try:
        await page.goto(link["url"])
        yield page
        assert failed == []
    finally:
        await context.close()


async def uid_of(radiologist: Client, modality: str, instances: int) -> str:
    found = await radiologist.call("GET", f"/dicom-web/studies?ModalitiesInStudy={modality}")
    (uid,) = [each["0020000D"]["Value"][0] for each in found if each["00201208"]["Value"] == [instances]]
    return str(uid)


async def pixels(page: Page) -> Pixels:
    """What is drawn on the first viewport's canvas, and not what lies over it."""
    url = str(await page.locator(CANVAS).first.evaluate("canvas => canvas.toDataURL('image/png')"))
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("L"))


async def drawn(page: Page, before: Pixels | None = None) -> Pixels:
    """The canvas once it has a picture with light and dark in it, other than `before`."""
    async with asyncio.timeout(PATIENCE):
        while True:
            shown = await pixels(page)
            if shown.std() > 5 and (before is None or not np.array_equal(shown, before)):
                return shown
            await asyncio.sleep(0.1)


async def keep(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png")


async def test_the_study_list_names_every_study_by_pseudonym(chromium: Browser, radiologist: Client) -> None:
    async with opened(chromium, radiologist, None) as page:
        shown = await listed(page, 6)
        await keep(page, "study-list")
        assert {each for each in ("CT", "MR", "US", "CR", "SR") if each in shown} == {"CT", "MR", "US", "CR", "SR"}
        assert len(pseudonyms(shown)) == 6
        assert "Whitehorse" not in shown
        assert "PR-1001" not in shown


def pseudonyms(text: str) -> set[str]:
    return {word for word in text.split() if word.startswith("RR-")}


async def listed(page: Page, patients: int) -> str:
    """The page's text once it names so many."""
    async with asyncio.timeout(PATIENCE):
        while len(pseudonyms(text := await page.inner_text("body"))) < patients:
            await asyncio.sleep(0.1)
    return text


@pytest.mark.parametrize(("modality", "instances", "images"), STACKS)
async def test_a_stack_is_drawn_and_scrolls(
    chromium: Browser, radiologist: Client, modality: str, instances: int, images: int
) -> None:
    async with opened(chromium, radiologist, await uid_of(radiologist, modality, instances)) as page:
        await page.get_by_text("Skip all").click()
        first = await drawn(page)
        await keep(page, f"{modality}-first")
        await expect(page.get_by_text(f"(1/{images})")).to_be_visible()
        await page.locator(CANVAS).first.hover()
        await page.mouse.wheel(0, 100)
        await expect(page.get_by_text(f"(2/{images})")).to_be_visible()
        await drawn(page, before=first)
        await keep(page, f"{modality}-second")


async def test_a_link_to_a_study_shows_no_other_and_leaves_no_credential_behind(
    chromium: Browser, radiologist: Client
) -> None:
    study, other = await uid_of(radiologist, "US", 1), await uid_of(radiologist, "CT", 24)
    async with opened(chromium, radiologist, study) as page:
        await page.wait_for_url("**/viewer/viewer?*")
        assert "rrv_" not in page.url
        assert "rrv_" not in await page.evaluate("document.cookie")
        cookies = await page.context.cookies(radiologist.url("/dicom-web/studies"))
        (cookie,) = [each for each in cookies if each["name"] == "radrelay_viewer"]
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/dicom-web")
        seen = await page.evaluate("fetch('/dicom-web/studies').then((answer) => answer.json())")
        assert [each["0020000D"]["Value"][0] for each in seen] == [study]
        asked = await page.context.request.get(f"{radiologist.url('/dicom-web/studies/')}{other}/metadata")
        assert asked.status == 404


async def test_what_a_radiologist_measures_is_stored_as_a_report_beside_the_images(
    chromium: Browser, radiologist: Client
) -> None:
    """The line is drawn with the mouse; report and request are OHIF's own."""
    study = await uid_of(radiologist, "CT", 24)
    async with opened(chromium, radiologist, study) as page:
        await page.get_by_text("Skip all").click()
        await drawn(page)
        await page.locator('[data-cy="MeasurementTools-split-button-primary"]').click()
        box = await page.locator(CANVAS).first.bounding_box()
        assert box is not None
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        await page.mouse.move(*middle)
        await page.mouse.down()
        await page.mouse.move(middle[0] + 80, middle[1] + 40, steps=5)
        await page.mouse.up()
        await page.locator('[data-cy="prompt-begin-tracking-yes-btn"]').click()
        await keep(page, "CT-measured")
        saved = await page.evaluate(SAVE)
        assert saved["Modality"] == "SR"
        series = await radiologist.call("GET", f"/dicom-web/studies/{study}/series?Modality=SR")
        assert [each["0020000E"]["Value"][0] for each in series] == [saved["SeriesInstanceUID"]]
        await page.reload()
        await expect(page.get_by_text("Measured at the viewer").first).to_be_visible()
        await drawn(page)
        await keep(page, "CT-report")
