"""The upper layer from hand-made bytes: what is well formed is understood however it is cut, the rest ends politely."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import build_context

from radrelay_ingest.dicom.pdu import Fragment, Pdu, ProtocolError, Splitter
from radrelay_shared.testing import PATIENCE_SECONDS, until

Door = Callable[..., AbstractAsyncContextManager[Any]]
Slice = Callable[..., bytes]

CT, VERIFICATION, FIND = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
EXPLICIT = "1.2.840.10008.1.2.1"
ACCEPT, REJECT, DATA, RELEASE_RP, ABORT = 2, 3, 4, 6, 7
COMMAND, LAST = 1, 2
RELEASE_RQ = bytes.fromhex("05 00 00000004 00000000")


# ── bytes by hand ────────────────────────────────────────────────────────────────────────────────────


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body


def pdv(control: int, content: bytes, context: int = 1) -> bytes:
    return struct.pack(">IBB", len(content) + 2, context, control) + content


def command(field: int, uid: str = "1.2.3.1.1.1", sop_class: str = CT, data_set: int = 1) -> bytes:
    def element(number: int, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HHI", 0, number, len(value)) + value

    body = element(0x0002, sop_class.encode()) + element(0x0100, struct.pack("<H", field))
    body += element(0x0110, struct.pack("<H", 7)) + element(0x0800, struct.pack("<H", data_set))
    body += element(0x1000, uid.encode())
    return element(0, struct.pack("<I", len(body))) + body


def association(caller: str = "BOZEMAN", *contexts: str, application: str = "1.2.840.10008.3.1.1.1") -> bytes:
    request = A_ASSOCIATE()
    request.calling_ae_title, request.called_ae_title, request.application_context_name = caller, "ANY", application
    proposed = [build_context(each, EXPLICIT) for each in contexts or (CT, VERIFICATION, FIND)]
    for number, each in enumerate(proposed):
        each.context_id = 2 * number + 1
    request.presentation_context_definition_list = proposed
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = 16384, "1.2.3"
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid, role.scu_role, role.scp_role = CT, True, False
    request.user_information = [length, implementation, role]
    encoded: bytes = A_ASSOCIATE_RQ(request).encode()
    return encoded


def data_set(file: bytes) -> bytes:
    return file[144 + int.from_bytes(file[140:144], "little") :]


# ── a peer ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Peer:
    """A TCP connection that says exactly what it is told to."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))
        await self.writer.drain()

    async def hear(self) -> tuple[int, bytes]:
        """The next PDU's type and body; (0, b"") at the end."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                kind, length = struct.unpack(">BxI", await self.reader.readexactly(6))
                return kind, await self.reader.readexactly(length)
            except (asyncio.IncompleteReadError, ConnectionError):
                return 0, b""

    async def status(self) -> int:
        """Of the next response."""
        kind, body = await self.hear()
        assert kind == DATA
        at = body.index(bytes.fromhex("0000 0009 02000000"))
        return int.from_bytes(body[at + 8 : at + 10], "little")


@asynccontextmanager
async def peer(door: Any, *said: bytes) -> AsyncIterator[Peer]:
    """A connection on which this lies, as far as the kernel takes it, before the listener's patience begins."""
    connection, first = socket.create_connection(("127.0.0.1", door.context.dicom_port)), b"".join(said)
    connection.setblocking(False)
    taken = connection.send(first)
    found = Peer(*await asyncio.open_connection(sock=connection))
    try:
        await found.say(first[taken:])
        yield found
    finally:
        found.writer.transport.abort()


async def nothing_left(door: Any) -> None:
    """The spool is as empty as before."""
    await until(lambda: not door.context.spool.segments.busy)
    assert door.context.spool.waiting() == {}


async def takes_a_good_slice(door: Any, file: bytes) -> None:
    async with peer(door, association()) as found:
        assert (await found.hear())[0] == ACCEPT
        await found.say(pdu(DATA, pdv(COMMAND | LAST, command(0x0001))), pdu(DATA, pdv(LAST, data_set(file))))
        assert await found.status() == 0x0000
        await found.say(RELEASE_RQ)
        assert (await found.hear())[0] == RELEASE_RP


# ── cutting ──────────────────────────────────────────────────────────────────────────────────────────

STREAM = (
    pdu(1, b"request")
    + pdu(DATA, pdv(COMMAND, b"com") + pdv(COMMAND | LAST, b"mand") + pdv(0, b"data "))
    + pdu(DATA, pdv(LAST, b"set"))
    + pdu(DATA, pdv(LAST, b"", context=3))
    + RELEASE_RQ
)


@settings(max_examples=200)
@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=20))
def test_messages_are_the_same_however_tcp_cuts_them(cuts: list[int]) -> None:
    splitter, ends = Splitter(max_pdu=100), sorted({0, *cuts, len(STREAM)})
    parts = [part for begin, end in pairwise(ends) for part in splitter.feed(memoryview(STREAM[begin:end]))]
    fragments = [part for part in parts if isinstance(part, Fragment)]
    assert [part.encoded for part in parts if isinstance(part, Pdu)] == [pdu(1, b"request"), RELEASE_RQ]
    assert b"".join(part.content for part in fragments if part.command) == b"command"
    assert b"".join(part.content for part in fragments if not part.command) == b"data set"
    assert [(part.context, part.command) for part in fragments if part.last] == [(1, True), (1, False), (3, False)]


@settings(max_examples=1000)
@given(st.binary(max_size=300))
def test_garbage_is_cut_or_refused_and_never_more(garbage: bytes) -> None:
    try:
        list(Splitter(max_pdu=100).feed(memoryview(garbage)))
    except ProtocolError as error:
        assert error.reason in (1, 6)  # noqa: PT017  either is right


# ── associations ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (association("STRANGER"), b"\0\1\1\3"),  # calling AE title not recognized
        (association(application="1.2.3"), b"\0\1\1\2"),  # application context name not supported
        (association()[:6] + b"\0\0" + association()[8:], b"\0\1\2\2"),  # protocol version not supported
    ],
    ids=["unknown caller", "unknown application", "unknown version"],
)
async def test_a_request_that_cannot_be_met_is_rejected_with_the_reason(
    open_door: Door, request_: bytes, answer: bytes
) -> None:
    async with open_door() as door, peer(door, request_) as found:
        assert await found.hear() == (REJECT, answer)


@pytest.mark.parametrize("limit", ["dicom_max_associations", "dicom_max_associations_per_peer"])
async def test_one_association_too_many_is_put_off_and_taken_later(open_door: Door, limit: str) -> None:
    async with open_door(**{limit: 1}) as door:
        async with peer(door, association()) as first:
            assert (await first.hear())[0] == ACCEPT
            async with peer(door, association()) as second:
                assert await second.hear() == (REJECT, b"\0\2\3\2")  # transient, local limit exceeded
            await first.say(RELEASE_RQ)
            assert (await first.hear())[0] == RELEASE_RP

        async def accepted() -> bool:
            async with peer(door, association()) as third:
                return (await third.hear())[0] == ACCEPT

        await until(accepted)  # once the first one's end is noticed


async def test_storage_and_verification_are_accepted_and_query_is_not(open_door: Door) -> None:
    async with open_door() as door, peer(door, association()) as found:
        kind, body = await found.hear()
    assert kind == ACCEPT
    results = [body[at + 6] for at in range(len(body)) if body[at : at + 2] == b"\x21\0" and body[at + 5] == 0]
    assert results[:3] == [0, 0, 3]  # 3: abstract syntax not supported


async def test_a_data_set_in_crumbs_is_kept_byte_for_byte(open_door: Door, ct_slice: Slice) -> None:
    """Several items in one PDU, items over several PDUs, and PDUs over several TCP segments."""
    asked, sent = command(0x0001), data_set(ct_slice())
    crumbs = [pdv(LAST if at + 999 >= len(sent) else 0, sent[at : at + 999]) for at in range(0, len(sent), 999)]
    pdus = [pdu(DATA, b"".join(crumbs[at : at + 3])) for at in range(0, len(crumbs), 3)]
    stream = pdu(DATA, pdv(COMMAND, asked[:10]) + pdv(COMMAND | LAST, asked[10:])) + b"".join(pdus)
    async with open_door(quiet=60) as door, peer(door, association()) as found:
        assert (await found.hear())[0] == ACCEPT
        for at in range(0, len(stream), 4001):
            await found.say(stream[at : at + 4001])
        assert await found.status() == 0x0000
        [study] = door.context.spool.waiting()
        door.context.spool.claim(study)
        [kept] = door.context.spool.batch(study)
        assert data_set(b"".join(kept.pieces())) == sent


async def test_an_impatient_sender_that_does_not_wait_for_answers_gets_them_in_order(
    open_door: Door, ct_slice: Slice
) -> None:
    messages = [
        pdu(DATA, pdv(COMMAND | LAST, command(0x0001, f"1.2.3.1.1.{number}")))
        + pdu(DATA, pdv(LAST, data_set(ct_slice(number if number != 2 else 9))))
        for number in range(4)
    ]
    async with open_door() as door, peer(door, association(), *messages, RELEASE_RQ) as found:
        assert (await found.hear())[0] == ACCEPT
        assert [await found.status() for _ in messages] == [0x0000, 0x0000, 0xA900, 0x0000]
        assert (await found.hear())[0] == RELEASE_RP


async def test_an_operation_that_is_no_store_is_answered_as_unrecognized(open_door: Door) -> None:
    async with open_door() as door, peer(door, association()) as found:
        assert (await found.hear())[0] == ACCEPT
        await found.say(pdu(DATA, pdv(COMMAND | LAST, command(0x0020)) + pdv(LAST, b"identifier")))
        assert await found.status() == 0x0211
        await found.say(pdu(DATA, pdv(COMMAND | LAST, command(0x0001, data_set=0x0101))))
        assert await found.status() == 0xC000  # a store without a data set


# ── how it ends ──────────────────────────────────────────────────────────────────────────────────────

ASKED = pdu(DATA, pdv(COMMAND | LAST, command(0x0001)))
WRONG = {
    "a PDU of an unknown type": (pdu(9, b"1234"), 1),
    "a second association request": (association(), 2),
    "an answer that was not asked for": (pdu(DATA, pdv(COMMAND | LAST, command(0x8001))), 2),
    "a PDU over the limit": (struct.pack(">BxI", DATA, 200_000), 6),
    "an empty P-DATA-TF": (pdu(DATA, b""), 6),
    "an item longer than its PDU": (pdu(DATA, struct.pack(">IBB", 100, 1, 0) + bytes(10)), 6),
    "an item shorter than its header": (pdu(DATA, struct.pack(">IBB", 1, 1, 0)), 6),
    "a context that was not accepted": (pdu(DATA, pdv(COMMAND | LAST, command(0x0001), context=5)), 6),
    "a data set that nobody announced": (pdu(DATA, pdv(LAST, b"data")), 6),
    "a command within a data set": (ASKED + ASKED, 6),
    "a data set in another context": (ASKED + pdu(DATA, pdv(LAST, b"data", context=3)), 6),
    "a command set that is none": (pdu(DATA, pdv(COMMAND | LAST, b"garbage")), 6),
    "a command set without end": (pdu(DATA, pdv(COMMAND, bytes(70_000))), 6),
}


@pytest.mark.parametrize("wrong", list(WRONG))
async def test_who_breaks_the_protocol_is_told_how_and_leaves_nothing(open_door: Door, wrong: str) -> None:
    said, reason = WRONG[wrong]
    async with open_door() as door, peer(door, association()) as found:
        assert (await found.hear())[0] == ACCEPT
        await found.say(said)
        assert await found.hear() == (ABORT, bytes((0, 0, 2, reason)))
        await nothing_left(door)


@pytest.mark.parametrize(
    "said", [RELEASE_RQ, ASKED, association()[:40] + b"\xff" * 200], ids=["release", "data", "junk"]
)
async def test_what_is_no_association_request_is_aborted(open_door: Door, said: bytes) -> None:
    async with open_door() as door, peer(door, said[:2] + struct.pack(">I", len(said) - 6) + said[6:]) as found:
        assert (await found.hear())[0] == ABORT


@pytest.mark.parametrize("end", [pdu(ABORT, bytes(4)), RELEASE_RQ, b""], ids=["abort", "release", "hang-up"])
async def test_an_end_in_the_middle_of_a_data_set_leaves_nothing_in_the_spool(
    open_door: Door, ct_slice: Slice, end: bytes
) -> None:
    async with open_door() as door:
        async with peer(door, association()) as found:
            assert (await found.hear())[0] == ACCEPT
            await found.say(ASKED, pdu(DATA, pdv(0, data_set(ct_slice())[:20_000])))
            await until(lambda: door.context.spool.segments.busy)
            await found.say(end)
            if end:
                await found.hear()
        await nothing_left(door)


async def test_a_silent_connection_is_closed_before_and_within_an_association(open_door: Door) -> None:
    async with open_door(dicom_timeout=0.2) as door:
        async with peer(door, association()[:50]) as half_open:
            assert (await half_open.hear())[0] == ABORT
        async with peer(door, association(), ASKED) as idle:
            assert (await idle.hear())[0] == ACCEPT
            assert (await idle.hear())[0] == ABORT


async def test_a_thousand_fuzzed_streams_neither_crash_nor_hang_the_listener(
    open_door: Door, ct_slice: Slice, caplog: pytest.LogCaptureFixture
) -> None:
    """Whole conversations with bytes replaced, removed and repeated; afterwards a good slice is taken."""
    good = association() + ASKED + pdu(DATA, pdv(LAST, data_set(ct_slice())[:2000])) + RELEASE_RQ
    streams: list[bytes] = []

    @settings(max_examples=1000)
    @given(st.integers(0, len(good)), st.binary(min_size=1, max_size=12), st.integers(0, 12), st.booleans())
    def draw(at: int, put: bytes, removed: int, near: bool) -> None:  # noqa: FBT001  hypothesis calls it
        at = at % 420 if near else at  # where the headers are
        streams.append(good[:at] + put + good[at + removed :])

    draw()

    async def converse(door: Any, stream: bytes) -> None:
        async with peer(door, stream) as found:
            found.writer.write_eof()
            while (await found.hear())[0]:
                pass

    async with open_door() as door:
        for begin in range(0, len(streams), 20):
            await asyncio.gather(*(converse(door, stream) for stream in streams[begin : begin + 20]))
        await nothing_left(door)
        await takes_a_good_slice(door, ct_slice())
    assert len(streams) == 1000
    assert not [each for each in caplog.records if each.exc_info and "aborted" in each.getMessage()]
