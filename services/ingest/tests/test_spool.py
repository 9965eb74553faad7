"""The spool: durable before acknowledged, the same instance once, and back to work after a crash or a full disk."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydicom.data import get_testdata_file

from radrelay_ingest.disk import Room
from radrelay_ingest.domain.studies import Arrival, Head
from radrelay_ingest.instance import Reader, read_head
from radrelay_ingest.segments import Segments, Spooled
from radrelay_ingest.spool import Spool
from radrelay_shared.errors import Full, Invalid, TooLarge, Unreachable
from radrelay_shared.testing import PATIENCE_SECONDS

CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))
ARRIVAL = Arrival(
    id="a1",
    site="bozeman",
    study="st-a",
    study_instance_uid="1.2.3",
    received_at=datetime(2026, 11, 1, tzinfo=UTC),
)


SEGMENT = 1 << 17  # room for three slices


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    folder = tmp_path / "spool"
    opened = Spool(Segments(folder, SEGMENT, spares=2), Room(folder, 0, 0), limit_bytes=1 << 20)
    opened.open()
    yield opened
    opened.close()


def ct(number: int = 0) -> bytes:
    """A CT slice that differs from others in its last bytes."""
    return CT.read_bytes()[:-4] + number.to_bytes(4, "big")


def keep(spool: Spool, content: bytes, study: str = "st-a", arrival: Arrival = ARRIVAL) -> Head:
    incoming = spool.receive()
    try:
        incoming.write(content)
        head = incoming.finish()
        incoming.keep(study, lambda: arrival)
    finally:
        incoming.discard()
    return head


def contents(spool: Spool, study: str = "st-a") -> list[bytes]:
    return [b"".join(each.pieces()) for each in spool.batch(study)]


def files(folder: Path) -> int:
    return len(list(folder.iterdir()))


def test_an_instance_is_kept_byte_for_byte_with_its_hash(spool: Spool) -> None:
    keep(spool, CT.read_bytes())
    spool.claim("st-a")
    [kept] = spool.batch("st-a")
    assert b"".join(kept.pieces()) == CT.read_bytes()
    assert kept.sha256 == hashlib.sha256(CT.read_bytes()).hexdigest()
    assert kept.size == 39206  # ls -l CT_small.dcm
    assert spool.arrival("st-a") == ARRIVAL


def test_the_same_instance_sent_twice_is_there_once(spool: Spool) -> None:
    keep(spool, ct())
    keep(spool, ct())
    spool.claim("st-a")
    assert contents(spool) == [ct()]


def test_same_sop_uid_with_other_bytes_are_two_in_the_order_they_came(spool: Spool) -> None:
    keep(spool, ct(1))
    keep(spool, ct(0))
    spool.claim("st-a")
    assert contents(spool) == [ct(1), ct(0)]


def test_instances_that_come_while_a_batch_is_sealed_open_the_next_one(spool: Spool) -> None:
    keep(spool, ct(1))
    spool.claim("st-a")
    keep(spool, ct(2), arrival=ARRIVAL.model_copy(update={"id": "a2"}))
    assert contents(spool) == [ct(1)]
    spool.drop("st-a")
    assert list(spool.waiting()) == ["st-a"]
    assert spool.claimed() == set()


def test_a_restart_finds_what_was_acknowledged_and_forgets_what_was_not(spool: Spool) -> None:
    for number in range(9):
        keep(spool, ct(number))
    spool.receive().write(ct()[:1000])
    before = spool.waiting()
    spool.close()
    spool.open()
    assert spool.waiting() == before
    spool.claim("st-a")
    assert contents(spool) == [ct(number) for number in range(9)]


def test_a_batch_claimed_before_a_restart_is_not_joined_by_what_comes_after_it(spool: Spool) -> None:
    keep(spool, ct(1))
    spool.claim("st-a")
    keep(spool, ct(2), arrival=ARRIVAL.model_copy(update={"id": "a2"}))
    spool.close()
    spool.open()
    assert (spool.claimed(), list(spool.waiting())) == ({"st-a"}, ["st-a"])
    assert contents(spool) == [ct(1)]
    spool.drop("st-a")
    spool.claim("st-a")
    assert contents(spool) == [ct(2)]


def test_a_batch_is_claimed_only_once_what_it_still_gets_is_durable(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(spool, ct(1))
    slow = spool.receive()
    slow.write(ct(2))
    adding, syncing, synced = slow.segment.add, threading.Event(), threading.Event()

    def add(*given: Any) -> Spooled:
        syncing.set()
        assert synced.wait(PATIENCE_SECONDS)
        return adding(*given)

    monkeypatch.setattr(slow.segment, "add", add)  # a disk that takes its time
    with ThreadPoolExecutor(2) as threads:
        keeping = threads.submit(slow.keep, "st-a", lambda: ARRIVAL)
        assert syncing.wait(PATIENCE_SECONDS)
        claiming = threads.submit(spool.claim, "st-a")
        assert not wait([claiming], timeout=0.05).done
        synced.set()
        keeping.result(PATIENCE_SECONDS)
        claiming.result(PATIENCE_SECONDS)
    assert contents(spool) == [ct(1), ct(2)]


def test_segments_are_used_again_once_nothing_in_them_is_needed(spool: Spool) -> None:
    for turn in range(5):
        arrival = ARRIVAL.model_copy(update={"id": f"a{turn}"})
        for number in range(12):
            keep(spool, ct(100 * turn + number), arrival=arrival)
        spool.claim("st-a")
        assert contents(spool) == [ct(100 * turn + number) for number in range(12)]
        spool.drop("st-a")
        assert files(spool.segments.folder) == 0
        assert files(spool.segments.spare) == 2


def test_what_lay_in_a_segment_before_does_not_come_back(spool: Spool) -> None:
    for number in range(4):
        keep(spool, ct(number))
    spool.claim("st-a")
    spool.drop("st-a")
    keep(spool, ct(9))  # the same arrival, and so the same mark
    spool.close()
    spool.open()
    spool.claim("st-a")
    assert contents(spool) == [ct(9)]


def test_an_instance_cut_short_by_a_power_cut_is_not_there_and_the_next_takes_its_place(spool: Spool) -> None:
    keep(spool, ct(1))
    keep(spool, ct(2))
    [segment] = spool.segments.folder.iterdir()
    last = max(spool.opened["st-a"].instances.values(), key=lambda each: each.offset)
    spool.close()
    with segment.open("r+b") as file:  # its header came to the disk, a page of it did not
        file.seek(last.offset + 4096)
        file.write(bytes(4096))
    spool.open()
    keep(spool, ct(3))
    spool.claim("st-a")
    assert contents(spool) == [ct(1), ct(3)]


def test_a_damaged_header_hides_no_other_instance(spool: Spool) -> None:
    for number in range(3):
        keep(spool, ct(number))
    [segment] = spool.segments.folder.iterdir()
    spool.close()
    with segment.open("r+b") as file:
        file.write(b"X")
    spool.open()
    spool.claim("st-a")
    assert contents(spool) == [ct(1), ct(2)]


def test_an_ultrasound_longer_than_a_segment_is_kept(spool: Spool) -> None:
    long = ct() + bytes(3 * SEGMENT)  # padding
    keep(spool, long)
    keep(spool, ct(1))
    spool.close()
    spool.open()
    spool.claim("st-a")
    assert contents(spool) == [long, ct(1)]
    spool.drop("st-a")
    assert all(path.stat().st_size <= SEGMENT for path in spool.segments.spare.iterdir())


def test_spare_segments_are_prepared_and_used_first(spool: Spool) -> None:
    spool.prepare()
    assert [path.stat().st_size for path in spool.segments.spare.iterdir()] == [SEGMENT] * 2
    keep(spool, ct())
    assert files(spool.segments.spare) == 1


def test_where_another_slice_like_the_last_does_not_fit_the_next_segment_begins(spool: Spool) -> None:
    spool.prepare()
    for number in range(4):
        keep(spool, ct(number))
    assert [path.stat().st_size for path in spool.segments.folder.iterdir()] == [SEGMENT] * 2


def test_a_batch_to_which_something_came_since_it_was_judged_stays_open(spool: Spool) -> None:
    keep(spool, ct())
    judged = spool.waiting()["st-a"]
    keep(spool, ct(1))
    assert not spool.claim("st-a", judged)
    assert spool.claimed() == set()
    assert spool.claim("st-a", spool.waiting()["st-a"])
    assert contents(spool) == [ct(), ct(1)]


def test_an_instance_that_comes_while_a_spare_segment_is_written_through_is_not_written_over(spool: Spool) -> None:
    class AskedMeanwhile(threading.Event):
        def is_set(self) -> bool:
            if not spool.waiting():
                keep(spool, ct())
            return False

    spool.segments.closing = AskedMeanwhile()
    spool.segments.prepare_spare()
    spool.claim("st-a")
    assert contents(spool) == [ct()]
    assert [path.stat().st_size for path in spool.segments.spare.iterdir()] == [SEGMENT]


def test_a_spare_segment_that_broke_off_is_not_used(spool: Spool) -> None:
    spool.segments.closing.set()
    spool.segments.prepare_spare()
    (spool.segments.raw / uuid4().hex).write_bytes(b"RadRelay")
    spool.close()
    spool.open()
    assert files(spool.segments.spare) == files(spool.segments.raw) == 0


def test_a_second_process_may_not_work_on_the_same_spool(spool: Spool) -> None:
    with pytest.raises(Unreachable, match="another ingest process"):
        Spool(spool.segments, spool.room, 0).open()


def test_a_disk_below_its_reserve_is_full_until_more_than_the_reserve_is_free_again(spool: Spool) -> None:
    free = shutil.disk_usage(spool.folder).free
    spool.room.reserve = free * 2
    with pytest.raises(Full):
        spool.receive()
    spool.room.reserve, spool.room.resume = free // 4, free * 2
    with pytest.raises(Full):
        spool.receive()
    spool.room.resume = free // 2
    keep(spool, ct())
    assert list(spool.waiting()) == ["st-a"]
    spool.room.resume = free * 2  # matters to a disk that is full only
    keep(spool, ct(1))


def test_a_disk_that_fills_up_while_an_instance_comes_is_full(spool: Spool) -> None:
    incoming = spool.receive()
    os.close(incoming.segment.descriptor)
    incoming.segment.descriptor = os.open("/dev/full", os.O_RDWR)  # the kernel's own full disk
    with pytest.raises(Full):
        incoming.write(bytes(100))
    incoming.discard()


def test_an_instance_that_was_not_kept_takes_no_room(spool: Spool) -> None:
    incoming = spool.receive()
    incoming.write(CT.read_bytes()[:20_000])
    incoming.discard()
    assert [path.stat().st_size for path in spool.segments.folder.iterdir()] == [0]
    assert not spool.segments.busy


def test_an_instance_over_the_limit_is_too_large(spool: Spool) -> None:
    incoming = spool.receive()
    with pytest.raises(TooLarge, match="1048576 bytes"):
        incoming.write(bytes(1 + (1 << 20)))
    incoming.discard()


def head_of(content: bytes, piece: int = 1 << 20) -> Head:
    reader = Reader()
    for at in range(0, len(content), piece):
        reader.feed(content[at : at + piece])
    return reader.finish()


def test_a_ct_slice_cut_anywhere_within_an_element_is_refused() -> None:
    content = CT.read_bytes()
    draw = random.Random(7)
    for size in [*(draw.randrange(7_000, 39_000) for _ in range(30)), len(content) - 1]:  # 32 KiB of pixel data
        with pytest.raises(Invalid, match="truncated"):
            head_of(content[:size])


def test_tags_out_of_order_are_read_the_same_when_they_are_sealed() -> None:
    patient_id = b"\x10\x00\x20\x00LO\x04\x001CT1"
    content = CT.read_bytes()
    assert content.count(patient_id) == 1
    odd = content.replace(patient_id, b"") + patient_id
    assert head_of(odd) == read_head(BytesIO(odd), len(odd)) == head_of(content)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_truncated.dcm", "truncated: 62 bytes of the last element are missing"),
        ("rtplan_truncated.dcm", "truncated: 265 bytes of the last element are missing"),
        ("no_meta.dcm", "not a DICOM file"),
        ("meta_missing_tsyntax.dcm", r"\(0002,0010\) is missing"),
        ("zipMR.gz", "not a DICOM file"),
    ],
)
def test_what_is_no_whole_dicom_file_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        head_of(Path(str(get_testdata_file(name, download=False))).read_bytes())


def test_a_deflated_file_is_read_and_a_cut_one_refused() -> None:
    deflated = Path(str(get_testdata_file("image_dfl.dcm", download=False))).read_bytes()
    assert head_of(deflated).modality == "OT"
    with pytest.raises(Invalid, match="truncated"):
        head_of(deflated[:2000])


@pytest.mark.parametrize(
    ("name", "modality", "syntax"),
    [
        ("MR_small_bigendian.dcm", "MR", "1.2.840.10008.1.2.2"),
        ("MR_small_implicit.dcm", "MR", "1.2.840.10008.1.2"),
        ("JPEG2000.dcm", "NM", "1.2.840.10008.1.2.4.91"),
        ("MR_small_RLE.dcm", "MR", "1.2.840.10008.1.2.5"),
        ("test-SR.dcm", "SR", "1.2.840.10008.1.2.1"),
        ("waveform_ecg.dcm", "ECG", "1.2.840.10008.1.2.1"),
    ],
)
def test_every_transfer_syntax_and_kind_of_object_is_understood(name: str, modality: str, syntax: str) -> None:
    content = Path(str(get_testdata_file(name, download=False))).read_bytes()
    for piece in (1, 11, 1 << 20):  # bytes at a time
        head = head_of(content, piece)
        assert (head.modality, head.transfer_syntax_uid) == (modality, syntax)
    assert read_head(BytesIO(content), len(content)) == head
