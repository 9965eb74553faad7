"""multipart/related answers (RFC 2387, PS3.18 §8.6.1.2) and answers of a single part, streamed."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from fastapi.responses import StreamingResponse


@dataclass(frozen=True, slots=True)
class Part:
    content_type: str
    body: AsyncIterator[bytes]


async def answer(
    parts: AsyncIterator[Part], media_type: str, headers: Mapping[str, str], *, alone: bool
) -> StreamingResponse:
    """The parts as multipart/related, or the only one `alone`.

    The first part is known to be good before the status is sent, so that errors are still errors. A later part that
    fails ends the connection without the final boundary: the client knows that it lacks something.
    """
    if alone:
        part = await anext(parts)
        return StreamingResponse(sole(part, parts), media_type=part.content_type, headers=dict(headers))
    boundary = secrets.token_hex(16)
    stream = encode(parts, boundary)
    start = await anext(stream)
    content_type = f'multipart/related; type="{media_type}"; boundary={boundary}'
    return StreamingResponse(joined(start, stream), media_type=content_type, headers=dict(headers))


async def encode(parts: AsyncIterator[Part], boundary: str) -> AsyncIterator[bytes]:
    async for part in parts:
        yield f"\r\n--{boundary}\r\nContent-Type: {part.content_type}\r\n\r\n".encode()
        async for piece in part.body:
            yield piece
    yield f"\r\n--{boundary}--\r\n".encode()


async def joined(start: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for piece in rest:
        yield piece


async def sole(part: Part, parts: AsyncIterator[Part]) -> AsyncIterator[bytes]:
    """The part's body; what its maker holds open stays open until all of it was sent."""
    async for piece in part.body:
        yield piece
    async for _ in parts:
        raise TypeError("an answer of one part has no second one")


async def once(content: bytes) -> AsyncIterator[bytes]:
    yield content
