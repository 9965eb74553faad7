"""Request bodies that may be long: taken piece by piece, or whole up to a bound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from radrelay_shared.errors import Invalid, TooLarge


class UnsupportedMedia(Invalid):
    status = 415
    title = "Unsupported media type"


class TooSlow(Invalid):
    status = 408
    title = "The body stopped coming"


async def patiently(body: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    """The body's pieces; raises `TooSlow` if the next one takes longer."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                piece = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise TooSlow("the next piece of the body did not come in time; send it again") from error
        yield piece


async def collected(body: AsyncIterator[bytes], most: int) -> bytes:
    """The whole of a body that may be larger than `BODY_LIMIT`; raises `TooLarge` beyond `most` bytes."""
    found = bytearray()
    async for piece in body:
        found += piece
        if len(found) > most:
            raise TooLarge(f"a request body here is at most {most} bytes")
    return bytes(found)
