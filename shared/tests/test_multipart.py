"""Multipart bodies, however the network cuts them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.message import Message

import pytest

from radrelay_shared.bodies import UnsupportedMedia
from radrelay_shared.dicom.multipart import Begin, Data, End, Malformed, Splitter
from radrelay_shared.dicom.stow import boundary_of
from radrelay_shared.dicom.stow import parts as parts_of

TWO_PARTS = (
    b"to be ignored\r\n--b\r\nContent-Type: application/dicom\r\n\r\none\r\n--not\r\n--b  \r\n\r\n\r\n--b--\r\nand this"
)


def header(content_type: str) -> Message:
    found = Message()
    found["Content-Type"] = content_type
    return found


def parts(body: bytes, size: int) -> list[tuple[str, bytes]]:
    splitter, found = Splitter("b"), []
    for at in range(0, len(body), size):
        for token in splitter.feed(body[at : at + size]):
            match token:
                case Begin(headers):
                    kind, content = headers.get_content_type(), b""
                case Data(piece):
                    content += piece
                case End():
                    found.append((kind, content))
    splitter.close()
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_parts_come_out_whole_whatever_the_pieces(size: int) -> None:
    assert parts(TWO_PARTS, size) == [("application/dicom", b"one\r\n--not"), ("text/plain", b"")]


def test_content_flows_before_its_part_has_ended() -> None:
    splitter = Splitter("b")
    tokens = list(splitter.feed(b"--b\r\n\r\n" + bytes(100_000)))
    assert sum(len(token.content) for token in tokens if isinstance(token, Data)) > 99_000
    assert len(splitter.buffer) < 100


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no delimiter",
        b"--b\r\n\r\nand no end",
        b"--b\r\nContent-Type: application/dicom",
        b"--b and more\r\n\r\n",
        b"--b\r\n" + b"x" * 20_000,
        b"--b" + b" " * 20_000,
    ],
)
def test_a_broken_body_is_said_to_be_broken(body: bytes) -> None:
    with pytest.raises(Malformed):
        parts(body, 1000)


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/related; type="application/dicom"; boundary=b',
        "multipart/related; boundary=b",
        'Multipart/Related; TYPE="Application/DICOM"; boundary="b"',
    ],
)
def test_the_boundary_is_found(content_type: str) -> None:
    assert boundary_of(header(content_type)) == "b"


@pytest.mark.parametrize(
    "content_type",
    ["", "application/dicom", "multipart/form-data; boundary=b", 'multipart/related; type="image/jpeg"; boundary=b'],
)
def test_other_content_is_not_taken(content_type: str) -> None:
    with pytest.raises(UnsupportedMedia):
        boundary_of(header(content_type))


def test_the_boundary_may_be_as_long_as_orthancs() -> None:
    assert boundary_of(header(f"multipart/related; boundary={73 * 'b'}")) == 73 * "b"
    with pytest.raises(Malformed):
        boundary_of(header(f"multipart/related; boundary={201 * 'b'}"))


def test_a_content_type_without_boundary_is_malformed() -> None:
    with pytest.raises(Malformed):
        boundary_of(header('multipart/related; type="application/dicom"'))


async def test_one_instance_may_come_without_an_envelope() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"on"
        yield b"e"

    tokens = [each async for each in parts_of("application/dicom; transfer-syntax=*", body())]
    assert tokens[1:] == [Data(b"on"), Data(b"e"), End()]
    assert isinstance(tokens[0], Begin)
