"""multipart/related answers (RFC 2387, PS3.18 §8.6.1.2), streamed."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from fastapi import Response
from fastapi.responses import StreamingResponse

from radrelay_storage.copies import Bytes

Body = Callable[[bytes], AsyncIterator[Bytes]]  # the bytes it is given, then its own


@dataclass(frozen=True, slots=True)
class Part:
    content_type: str
    body: Body


Sizes = Sequence[tuple[str, int]]  # content type and length of each part, where they are known before


async def answer(
    parts: AsyncIterator[Part], media_type: str, headers: Mapping[str, str], sizes: Sizes = ()
) -> Response:
    """The parts as multipart/related.

    The first part is known to be good before the status is sent, so that errors are still errors. A later part that
    fails ends the connection before the final boundary: the client knows that it lacks something.
    """
    boundary = secrets.token_hex(16)
    stream = encode(parts, boundary)
    start = await anext(stream)
    length = {"Content-Length": str(total(sizes, boundary))} if sizes else {}
    content_type = multipart_type(media_type, boundary)
    return StreamingResponse(joined(start, stream), media_type=content_type, headers={**headers, **length})


def answer_at_once(parts: Sequence[Bytes], content_type: str, media_type: str, headers: Mapping[str, str]) -> Response:
    """The same for parts that are in memory."""
    boundary = secrets.token_hex(16)
    content = b"".join([*(piece for part in parts for piece in (head(boundary, content_type), part)), tail(boundary)])
    return Response(content, media_type=multipart_type(media_type, boundary), headers=dict(headers))


def framed(content_type: str, media_type: str, *, alone: bool) -> tuple[str, bytes, bytes]:
    """For an answer of a single part: its content type, and what goes before and after the part."""
    if alone:
        return content_type, b"", b""
    boundary = secrets.token_hex(16)
    return multipart_type(media_type, boundary), head(boundary, content_type), tail(boundary)


def multipart_type(media_type: str, boundary: str) -> str:
    return f'multipart/related; type="{media_type}"; boundary={boundary}'


def head(boundary: str, content_type: str) -> bytes:
    return f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n\r\n".encode()


def tail(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()


def total(sizes: Sizes, boundary: str) -> int:
    return sum(len(head(boundary, content_type)) + size for content_type, size in sizes) + len(tail(boundary))


async def encode(parts: AsyncIterator[Part], boundary: str) -> AsyncIterator[Bytes]:
    async for part in parts:
        async for piece in part.body(head(boundary, part.content_type)):
            yield piece
    yield tail(boundary)


async def joined(start: Bytes, rest: AsyncIterator[Bytes]) -> AsyncIterator[Bytes]:
    yield start
    async for piece in rest:
        yield piece


def once(content: Bytes) -> Body:
    async def body(head: bytes) -> AsyncIterator[Bytes]:
        yield head
        yield content

    return body
