"""Packs that are about to be read, fetched one after the other before anyone waits for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress

from radrelay_shared.errors import RadRelayError
from radrelay_storage.domain import Series
from radrelay_storage.shelf import Shelf

log = logging.getLogger("radrelay.storage")

SERIES_AHEAD = 256  # that wait to be fetched; what comes beyond is fetched when it is read


class Prefetch:
    """A queue of series in front of the pack cache."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.wanted: asyncio.Queue[Series] = asyncio.Queue(SERIES_AHEAD)

    async def expect(self, found: Iterable[Series]) -> None:
        """Have these series fetched, if there is room for them in the queue."""
        with suppress(asyncio.QueueFull):
            for each in found:
                self.wanted.put_nowait(each)

    async def run(self) -> None:
        while True:
            series = await self.wanted.get()
            try:
                await self.shelf.copied_whole(series)
            except RadRelayError as error:
                log.warning("study %s is not fetched ahead: %s", series.study, error.detail)
