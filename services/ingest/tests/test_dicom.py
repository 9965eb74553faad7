"""C-ECHO and C-STORE as scanners and archives speak them: pynetdicom and dcmtk against the running service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pynetdicom import AE, _config
from pynetdicom.sop_class import Verification

from radrelay_shared.dicom.asking import keep_answers
from radrelay_shared.events import StudyReceived
from radrelay_shared.packs import read_instance, read_manifest
from radrelay_shared.testing import PATIENCE_SECONDS
from servers.dcmtk import dcmtk

Door = Callable[..., AbstractAsyncContextManager[Any]]
Slice = Callable[..., bytes]

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


@pytest.fixture(autouse=True)
def senders_send_files_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """pynetdicom as a sender otherwise parses and writes data sets anew."""
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)


def send(port: int, *files: Path, caller: str = "BOZEMAN", as_: str | None = None) -> list[tuple[int, str]]:
    """Each file's status and error comment; [] if the association was rejected."""
    sender = AE(caller)
    for file in files:
        meta = pydicom.filereader.read_file_meta_info(file)
        sender.add_requested_context(as_ or meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
    association = sender.associate("127.0.0.1", port)
    keep_answers(association)
    if not association.is_established:
        assert association.is_rejected
        return []
    answers = [association.send_c_store(file) for file in files]
    association.release()
    return [(answer.Status, answer.get("ErrorComment", "")) for answer in answers]


@pytest.fixture
def file(tmp_path: Path, ct_slice: Slice) -> Callable[..., Path]:
    def write(content: bytes | None = None, name: str = "1.dcm") -> Path:
        path = tmp_path / name
        path.write_bytes(ct_slice() if content is None else content)
        return path

    return write


def data_set(file: Path | bytes) -> bytes:
    """What follows the file meta information, whose length is in its first element (PS3.10 §7.1)."""
    content = file if isinstance(file, bytes) else file.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


async def sealed(door: Any) -> list[bytes]:
    [received] = await door.told(StudyReceived)
    [series] = (await read_manifest(door.context.originals, received.manifest)).series
    return [await read_instance(door.context.originals, series, each) for each in series.instances]


async def test_c_echo_is_answered(open_door: Door) -> None:
    def echo(port: int) -> int:
        sender = AE("BOZEMAN")
        sender.add_requested_context(Verification)
        association = sender.associate("127.0.0.1", port)
        keep_answers(association)
        status: int = association.send_c_echo().Status
        association.release()
        return status

    async with open_door() as door:
        assert await asyncio.to_thread(echo, door.context.dicom_port) == 0x0000


async def test_a_slice_over_c_store_is_sealed_for_the_calling_site(open_door: Door, file: Callable[..., Path]) -> None:
    async with open_door() as door:
        assert await asyncio.to_thread(send, door.context.dicom_port, file()) == [(0x0000, "")]
        [received] = await door.told(StudyReceived)
        assert (received.site, received.instances) == ("bozeman", 1)
        envelope = next(each for each in door.seen.envelopes if isinstance(each.data, StudyReceived))
        assert envelope.traceparent  # one trace, from the association on


@pytest.mark.parametrize("name", ["MR_small_bigendian.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "image_dfl.dcm"])
async def test_any_transfer_syntax_is_kept_byte_for_byte(open_door: Door, name: str) -> None:
    sent = Path(str(get_testdata_file(name, download=False)))
    async with open_door() as door:
        assert await asyncio.to_thread(send, door.context.dicom_port, sent) == [(0x0000, "")]
        [kept] = await sealed(door)
        assert data_set(kept) == data_set(sent)


async def test_a_private_transfer_syntax_is_kept_byte_for_byte(
    open_door: Door, ct_slice: Slice, file: Callable[..., Path]
) -> None:
    made, written = pydicom.dcmread(BytesIO(ct_slice())), BytesIO()
    made.file_meta.TransferSyntaxUID = "1.2.840.113619.5.2"  # GE's own
    made.save_as(written, implicit_vr=False, little_endian=True)
    sent = file(written.getvalue())
    async with open_door() as door:
        assert await asyncio.to_thread(send, door.context.dicom_port, sent) == [(0x0000, "")]
        [kept] = await sealed(door)
        assert data_set(kept) == data_set(sent)
        assert pydicom.dcmread(BytesIO(kept)).file_meta.TransferSyntaxUID == "1.2.840.113619.5.2"


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.9999", "1.3.46.670589.5.0.1"])
async def test_unknown_and_private_sop_classes_are_taken(
    open_door: Door, ct_slice: Slice, file: Callable[..., Path], sop_class: str
) -> None:
    sent = file(ct_slice(SOPClassUID=sop_class))
    async with open_door() as door:
        assert await asyncio.to_thread(send, door.context.dicom_port, sent) == [(0x0000, "")]
        [kept] = await sealed(door)
        assert data_set(kept) == data_set(sent)


async def test_an_unknown_ae_title_gets_no_association(open_door: Door, file: Callable[..., Path]) -> None:
    async with open_door() as door:
        assert await asyncio.to_thread(send, door.context.dicom_port, file(), caller="STRANGER") == []
        assert door.context.spool.waiting() == {}


async def test_a_truncated_slice_is_not_acknowledged(
    open_door: Door, ct_slice: Slice, file: Callable[..., Path]
) -> None:
    async with open_door() as door:
        [(status, comment)] = await asyncio.to_thread(send, door.context.dicom_port, file(ct_slice()[:-1000]))
        assert status == 0xC000
        assert comment.startswith("truncated: 862 bytes")  # and 138 of trailing padding are gone whole
        assert door.context.spool.waiting() == {}


async def test_a_slice_that_is_not_what_the_request_names_is_a_mismatch(
    open_door: Door, ct_slice: Slice, file: Callable[..., Path]
) -> None:
    lie = ct_slice().replace(b"1.2.3.1.1.1\0", b"1.2.3.1.1.9\0", 1)  # in the file meta information, which names it
    async with open_door() as door:
        [(status, _)] = await asyncio.to_thread(send, door.context.dicom_port, file(lie))
        assert status == 0xA900


async def test_a_full_spool_is_out_of_resources_and_works_again_by_itself(
    open_door: Door, file: Callable[..., Path]
) -> None:
    async with open_door() as door:
        door.context.spool.room.reserve = 1 << 62
        [(status, comment)] = await asyncio.to_thread(send, door.context.dicom_port, file())
        assert (status, comment[:30]) == (0xA700, "the spool's disk is at its res")
        door.context.spool.room.reserve = 0
        assert await asyncio.to_thread(send, door.context.dicom_port, file()) == [(0x0000, "")]


async def test_an_association_under_way_at_shutdown_is_not_waited_for_forever(open_door: Door) -> None:
    def connect(port: int) -> Any:
        sender = AE("BOZEMAN")
        sender.add_requested_context(CT_STORAGE, EXPLICIT_LITTLE_ENDIAN)
        return sender.associate("127.0.0.1", port)

    async with open_door(drain_seconds=0.2) as door:
        association = await asyncio.to_thread(connect, door.context.dicom_port)
        assert association.is_established
    await asyncio.to_thread(association.join, PATIENCE_SECONDS)
    assert association.is_aborted


# ── dcmtk ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.external
async def test_dcmsend_delivers_a_series_in_one_association(open_door: Door, ct_slice: Slice, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.dcm" for number in range(30)]
    for number, path in enumerate(files):
        path.write_bytes(ct_slice(number))
    async with open_door(quiet=1) as door:
        code, output = await dcmtk("dcmsend", "-aet", "BOZEMAN", "127.0.0.1", door.context.dicom_port, *files)
        assert (code, output) == (0, "")
        kept = [pydicom.dcmread(BytesIO(each)) for each in await sealed(door)]
        assert [str(each.SOPInstanceUID) for each in kept] == [f"1.2.3.1.1.{number}" for number in range(30)]
        assert {each.PixelData for each in kept} == {pydicom.dcmread(files[0]).PixelData}


@pytest.mark.external
async def test_storescu_delivers_a_compressed_image_as_it_is(open_door: Door) -> None:
    sent = Path(str(get_testdata_file("MR_small_jp2klossless.dcm", download=False)))
    async with open_door() as door:
        code, output = await dcmtk("storescu", "-xv", "-aet", "BOZEMAN", "127.0.0.1", door.context.dicom_port, sent)
        assert code == 0, output
        [kept] = [pydicom.dcmread(BytesIO(each)) for each in await sealed(door)]
        assert kept.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.90"
        assert kept.PixelData == pydicom.dcmread(sent).PixelData


@pytest.mark.external
async def test_echoscu_of_a_stranger_is_told_that_its_ae_title_is_unknown(open_door: Door) -> None:
    async with open_door() as door:
        code, output = await dcmtk("echoscu", "-aet", "STRANGER", "127.0.0.1", door.context.dicom_port)
        assert code != 0
        assert "Calling AE Title Not Recognized" in output
