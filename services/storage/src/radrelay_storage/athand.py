"""Frames whose bytes are at hand, answered before the web framework looks at the request.

**It can only say yes.** A request of someone who may not read, for what is missing, damaged, transcoded or not on this
disk yet, or that is conditional, goes on to the routes, whose answers differ in nothing but their pace (ADR 0014).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from radrelay_shared.errors import NotFound
from radrelay_shared.http import Receive, Scope, Send
from radrelay_storage.access import series_for
from radrelay_storage.caching import validators
from radrelay_storage.context import StorageContext
from radrelay_storage.copies import Bytes
from radrelay_storage.multipart import framed
from radrelay_storage.negotiation import Form, frame_form
from radrelay_storage.pictures import frames_tag
from radrelay_storage.problems import NotAcceptable
from radrelay_storage.shelf import Located

ONE_FRAME = re.compile(r"/dicom-web/studies/([0-9.]+)/series/([0-9.]+)/instances/([0-9.]+)/frames/([1-9]\d{0,8})")
CONDITIONS = frozenset({b"if-none-match", b"range"})
Answer = tuple[Mapping[str, str], Bytes]


class AtHand:
    """ASGI middleware in front of the routes."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = ONE_FRAME.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        answer = await one_frame(Request(scope), *wanted.groups()) if wanted else None
        if answer is None:
            await self.app(scope, receive, send)
            return
        headers, body = answer
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        raw.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": body})


async def one_frame(request: Request, study: str, series: str, instance: str, number: str) -> Answer | None:
    if not CONDITIONS.isdisjoint(name for name, _ in request.scope["headers"]):
        return None
    found = await series_for(request, study, series)
    if found is None:
        return None
    context: StorageContext = request.app.state.context
    try:
        located = await context.shelf.instance(found, instance)
        form = frame_form(request.headers.get("accept"), located.packed.transfer_syntax_uid, one=True)
    except (NotFound, NotAcceptable):
        return None
    return None if form.transcoded else from_copy(located, int(number), form, context)


def from_copy(located: Located, number: int, form: Form, context: StorageContext) -> Answer | None:
    """The frame as it is stored, out of the pack's copy, read straight to its place between the boundaries."""
    table, copy = context.shelf.frame_tables.get(located.packed.sha256), context.shelf.copied(located)
    if table is None or copy is None or number > len(table) or len(table[number - 1].fragments) > 1:
        return None
    start, length = table[number - 1].span
    content_type, head, tail = framed(form.content_type, form.media_type, alone=form.alone)
    body = copy.at_hand(located.packed.offset + start, length, head, tail)
    if body is None:
        return None
    ranges = {"Accept-Ranges": "bytes"} if form.alone else {}
    headers = validators(frames_tag(located, [number], form)) | ranges
    return headers | {"Content-Type": content_type}, body
