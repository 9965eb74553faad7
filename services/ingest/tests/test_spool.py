"""The spool: durable before acknowledged, the same instance once, and back to work after a crash or a full disk."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from radrelay_ingest.domain.studies import Arrival, Head
from radrelay_ingest.instance import read_head
from radrelay_ingest.spool import Spool
from radrelay_shared.errors import Full, Invalid, TooLarge, Unreachable

CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))
ARRIVAL = Arrival(
    id="a1",
    site="bozeman",
    study="st-a",
    study_instance_uid="1.2.3",
    expects=None,
    received_at=datetime(2026, 11, 1, tzinfo=UTC),
)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", reserve_bytes=0, limit_bytes=1 << 20)
    opened.open()
    yield opened
    opened.close()


def keep(spool: Spool, content: bytes, study: str = "st-a") -> Head:
    incoming = spool.receive()
    try:
        incoming.write(content)
        head = incoming.finish()
        incoming.keep(head, study, lambda: ARRIVAL)
    finally:
        incoming.discard()
    return head


def test_an_instance_is_kept_byte_for_byte_with_its_hash(spool: Spool) -> None:
    keep(spool, CT.read_bytes())
    spool.claim("st-a")
    [kept] = spool.batch("st-a")
    assert kept.path.read_bytes() == CT.read_bytes()
    assert kept.sha256 == hashlib.sha256(CT.read_bytes()).hexdigest()
    assert kept.size == 39206  # ls -l CT_small.dcm
    assert spool.arrival("st-a") == ARRIVAL


def test_the_same_instance_sent_twice_is_one_file(spool: Spool) -> None:
    keep(spool, CT.read_bytes())
    keep(spool, CT.read_bytes())
    spool.claim("st-a")
    assert len(spool.batch("st-a")) == 1
    assert list(spool.incoming.iterdir()) == []


def test_same_sop_uid_with_other_bytes_are_two_files_in_the_order_they_came(spool: Spool) -> None:
    other = CT.read_bytes()[:-2] + b"\1\1"
    keep(spool, other)
    keep(spool, CT.read_bytes())
    spool.claim("st-a")
    first, second = spool.batch("st-a")
    assert first.sop == second.sop
    assert first.sha256 == hashlib.sha256(other).hexdigest()


def test_instances_that_come_while_a_batch_is_sealed_open_the_next_one(spool: Spool) -> None:
    keep(spool, CT.read_bytes())
    spool.claim("st-a")
    keep(spool, CT.read_bytes()[:-2] + b"\1\1")
    assert len(spool.batch("st-a")) == 1
    spool.drop("st-a")
    assert list(spool.waiting()) == ["st-a"]
    assert spool.claimed() == set()


def test_a_restart_finds_what_was_acknowledged_and_forgets_what_was_not(spool: Spool) -> None:
    keep(spool, CT.read_bytes())
    (spool.incoming / "half").write_bytes(CT.read_bytes()[:1000])
    spool.close()
    spool.open()
    assert list(spool.waiting()) == ["st-a"]
    assert list(spool.incoming.iterdir()) == []


def test_a_batch_half_dropped_at_a_crash_is_dropped_to_the_end(spool: Spool) -> None:
    keep(spool, CT.read_bytes())
    spool.claim("st-a")
    spool.batch("st-a")[0].path.unlink()
    spool.drop("st-a")
    assert spool.claimed() == set()


def test_a_second_process_may_not_work_on_the_same_spool(spool: Spool) -> None:
    with pytest.raises(Unreachable, match="another ingest process"):
        Spool(spool.folder, 0, 0).open()


def test_a_disk_below_its_reserve_is_full_and_recovers_by_itself(spool: Spool) -> None:
    spool.reserve_bytes = shutil.disk_usage(spool.folder).free * 2
    with pytest.raises(Full):
        spool.receive()
    spool.reserve_bytes = 0
    keep(spool, CT.read_bytes())
    assert list(spool.waiting()) == ["st-a"]


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_a_disk_that_fills_up_while_an_instance_comes_is_full(spool: Spool, size: int) -> None:
    def receive() -> None:
        incoming.write(bytes(size))
        incoming.finish()

    incoming = spool.receive()
    incoming.file.close()
    with Path("/dev/full").open("wb") as incoming.file:  # the kernel's own full disk
        with pytest.raises(Full):
            receive()
        incoming.discard()


def test_an_instance_over_the_limit_is_too_large(spool: Spool) -> None:
    incoming = spool.receive()
    with pytest.raises(TooLarge, match="1048576 bytes"):
        incoming.write(bytes(1 + (1 << 20)))
    incoming.discard()
    assert list(spool.incoming.iterdir()) == []


def test_a_ct_slice_cut_anywhere_within_an_element_is_refused(tmp_path: Path) -> None:
    content, cut = CT.read_bytes(), tmp_path / "cut.dcm"
    draw = random.Random(7)
    for size in [*(draw.randrange(7_000, 39_000) for _ in range(30)), len(content) - 1]:  # 32 KiB of pixel data
        cut.write_bytes(content[:size])
        with pytest.raises(Invalid, match="truncated"):
            read_head(cut)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_truncated.dcm", "truncated: 62 bytes of the last element are missing"),
        ("rtplan_truncated.dcm", "truncated: the file ends within an element"),
        ("no_meta.dcm", "not a DICOM file"),
        ("meta_missing_tsyntax.dcm", r"\(0002,0010\) is missing"),
        ("zipMR.gz", "not a DICOM file"),
    ],
)
def test_what_is_no_whole_dicom_file_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        read_head(Path(str(get_testdata_file(name, download=False))))


def test_a_deflated_file_is_read_and_a_cut_one_refused(tmp_path: Path) -> None:
    deflated = Path(str(get_testdata_file("image_dfl.dcm", download=False)))
    assert read_head(deflated).modality == "OT"
    (tmp_path / "cut.dcm").write_bytes(deflated.read_bytes()[:2000])
    with pytest.raises(Invalid, match="truncated"):
        read_head(tmp_path / "cut.dcm")


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
    head = read_head(Path(str(get_testdata_file(name, download=False))))
    assert (head.modality, head.transfer_syntax_uid) == (modality, syntax)
