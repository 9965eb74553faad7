"""Batches through the running service: what leaves, what is told, and what waits for a person."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from radrelay_anonymize.domain.cases import Case
from radrelay_anonymize.main import SERVICE
from radrelay_shared.envelope import wrap
from radrelay_shared.errors import Invalid
from radrelay_shared.events import PackDamaged, PackRestored, Priority, StudyAnonymized, StudyQuarantined
from radrelay_shared.packs import read_manifest, read_metadata
from radrelay_shared.testing import PATIENCE_SECONDS, deliver, running

if TYPE_CHECKING:
    from services.anonymize.tests.conftest import Bench  # importlib mode gives it no importable name at run time

ROOT = Path(__file__).parents[3]
File = Callable[..., bytes]
CUT = b"not a DICOM file"
WILLIAM = {"PatientName": "Okonkwo^William", "PatientID": "WO-339911"}


async def test_a_study_of_two_series_leaves_as_packs_that_can_be_read_and_checked(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(1), zenobia(2)], [zenobia(1, file="MR_small.dcm", series=2)])
    [told] = bench.downstream.of(StudyAnonymized)
    manifest = await read_manifest(bench.context.blobs, told.manifest)
    assert [(each.modality, len(each.instances)) for each in manifest.series] == [("CT", 2), ("MR", 1)]
    assert manifest.study_instance_uid == told.study_instance_uid
    copies = await bench.released(told)
    assert [str(copy.InstanceNumber) for copy in copies] == ["1", "2", "1"]
    assert {str(copy.StudyInstanceUID) for copy in copies} == {told.study_instance_uid}
    assert all(str(copy.PatientName).startswith("RR-") for copy in copies)
    assert [each.sop_instance_uid for series in manifest.series for each in series.instances] == [
        str(copy.SOPInstanceUID) for copy in copies
    ]


async def test_the_metadata_beside_a_pack_describes_each_instance_without_its_pixels(
    bench: Bench, zenobia: File
) -> None:
    await bench.receive([zenobia(1), zenobia(2)])
    [told] = bench.downstream.of(StudyAnonymized)
    [series] = (await read_manifest(bench.context.blobs, told.manifest)).series
    assert series.metadata == "st-one/000001/0001.json.gz"
    first, second = await read_metadata(bench.context.blobs, series.metadata)
    assert first["00280010"] == {"vr": "US", "Value": [128]}
    assert [first["00200013"]["Value"], second["00200013"]["Value"]] == [[1], [2]]
    assert first["00080018"]["Value"] == [series.instances[0].sop_instance_uid]
    assert "7FE00010" not in first


async def test_the_event_hands_on_the_facts_and_names_only_what_is_de_identified(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(BodyPartExamined="HEAD")], priority=Priority.STAT)
    [told] = bench.downstream.of(StudyAnonymized)
    assert told.study_instance_uid.startswith("2.25.")
    manifest = await bench.context.blobs.read("st-one/000001/manifest.json")
    assert told == StudyAnonymized(
        site="bozeman",
        study="st-one",
        priority=Priority.STAT,
        order="or-7",
        jurisdiction="US-MT",
        received_at=datetime(2025, 3, 1, 8, 0, tzinfo=UTC),
        completed_at=datetime(2025, 3, 1, 8, 0, 20, tzinfo=UTC),
        batch=1,
        manifest="st-one/000001/manifest.json",
        manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        study_instance_uid=told.study_instance_uid,
        instances=1,
        modalities=("CT",),
        body_parts=("HEAD",),
    )
    assert bench.downstream.of(StudyQuarantined) == []


async def test_the_same_event_twice_is_worked_on_and_told_once(bench: Bench, zenobia: File) -> None:
    event = await bench.seal([zenobia()])
    message = wrap(event, service="ingest", at=event.completed_at, sequence=1).message
    assert bench.runtime.bus is not None
    await bench.runtime.bus.publish(message)
    before = await bench.context.blobs.stat("st-one/000001/0001.pack")
    await bench.runtime.bus.publish(message)
    await bench.runtime.relay.idle()
    assert await bench.context.blobs.stat("st-one/000001/0001.pack") == before
    assert len({envelope.id for envelope in bench.downstream.envelopes}) == 1


async def test_a_batch_that_a_crash_interrupted_is_done_again_with_the_same_bytes(bench: Bench, zenobia: File) -> None:
    event = await bench.receive([zenobia(1), zenobia(2)])
    blobs = bench.context.blobs
    before = {info.key: await blobs.read(info.key) async for info in blobs.list()}
    await deliver(bench.runtime, event)  # in an envelope of its own, as if the first effect had not been saved
    assert {info.key: await blobs.read(info.key) async for info in blobs.list()} == before
    case = await bench.context.store.read(Case, "st-one")
    assert case is not None
    assert [batch.batch for batch in case.batches] == [1]


async def test_late_images_keep_the_patients_pseudonym_and_identity(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(1)])
    await bench.receive([zenobia(2, PatientName="Quillfeather^Z", AccessionNumber="OTHER-1")], batch=2)
    first, second = bench.downstream.of(StudyAnonymized)
    [one], [two] = await bench.released(first), await bench.released(second)
    assert (first.study_instance_uid, one.PatientID) == (second.study_instance_uid, two.PatientID)
    assert second.manifest == "st-one/000002/manifest.json"
    answer = (await bench.identity("st-one")).json()
    assert (answer["patient"]["name"], answer["accession_number"]) == ("Quillfeather^Zenobia", "ACC-5551942")


async def test_late_images_that_overtake_the_first_ones_lose_nothing(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(2)], batch=2)
    await bench.receive([zenobia(1)])
    assert [event.batch for event in bench.downstream.of(StudyAnonymized)] == [2, 1]


async def test_late_text_is_cleaned_of_the_name_that_only_the_first_images_said(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(1)])
    await bench.receive([zenobia(2, PatientName="", StudyDescription="Head of Quillfeather, axial")], batch=2)
    [copy] = await bench.released(bench.downstream.of(StudyAnonymized)[1])
    assert "quillfeather" not in str(copy.StudyDescription).lower()
    assert "axial" in str(copy.StudyDescription)


async def test_another_patients_image_in_the_study_stays_behind(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(1), zenobia(2, **WILLIAM), zenobia(3)])
    [told], [held] = bench.downstream.of(StudyAnonymized), bench.downstream.of(StudyQuarantined)
    assert told.instances == 2
    assert held == StudyQuarantined(site="bozeman", study="st-one", reasons=("patient-differs",), instances=1)


async def test_two_patients_racing_for_one_study_never_both_leave(bench: Bench, zenobia: File) -> None:
    first, second = await bench.seal([zenobia(1)]), await bench.seal([zenobia(2, **WILLIAM)], batch=2)
    await asyncio.gather(deliver(bench.runtime, first), deliver(bench.runtime, second))
    [told], [held] = bench.downstream.of(StudyAnonymized), bench.downstream.of(StudyQuarantined)
    assert {told.batch, held.batch} == {1, 2}
    assert held.reasons == ("patient-differs",)


async def test_a_device_that_leaves_the_issuer_out_means_the_same_patient(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(1), zenobia(2, IssuerOfPatientID="")])
    assert bench.downstream.of(StudyAnonymized)[0].instances == 2


async def test_patients_without_an_id_are_not_taken_for_one_another(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(PatientID="")])
    await bench.receive([zenobia(study=2, PatientID="", PatientName="Unknown^Male")], study="st-two")
    one, two = [(await bench.released(told))[0] for told in bench.downstream.of(StudyAnonymized)]
    assert one.PatientID != two.PatientID


async def test_one_bad_image_does_not_hold_up_its_series(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(1), CUT, zenobia(3)], [CUT])
    [told], [held] = bench.downstream.of(StudyAnonymized), bench.downstream.of(StudyQuarantined)
    assert [str(copy.InstanceNumber) for copy in await bench.released(told)] == ["1", "3"]
    assert (held.reasons, held.instances) == (("unreadable",), 2)
    assert [info.key async for info in bench.context.blobs.list()] == [
        "st-one/000001/0001.json.gz",
        "st-one/000001/0001.pack",
        "st-one/000001/manifest.json",
    ]


async def test_pixels_that_the_sender_says_show_the_name_wait_for_a_person(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(BurnedInAnnotation="YES")])
    assert bench.downstream.of(StudyAnonymized) == []
    assert bench.downstream.of(StudyQuarantined)[0].reasons == ("burned-in-annotation",)
    assert [info.key async for info in bench.context.blobs.list()] == []


async def test_a_batch_of_which_nothing_can_be_read_is_kept_for_a_person(bench: Bench) -> None:
    await bench.receive([CUT, b""])
    [held] = bench.downstream.of(StudyQuarantined)
    assert (held.reasons, held.instances) == (("unreadable",), 2)
    assert (await bench.identity("st-one")).status_code == 404


async def test_readable_images_after_an_unreadable_batch_go_on_under_their_own_patient(
    bench: Bench, zenobia: File
) -> None:
    await bench.receive([CUT])
    await bench.receive([zenobia(1)], batch=2)
    assert bench.downstream.of(StudyAnonymized)[0].instances == 1
    assert (await bench.identity("st-one")).json()["patient"]["id"] == "ZQ-778812"


async def test_an_original_whose_bytes_changed_on_disk_is_not_passed_on(bench: Bench, zenobia: File) -> None:
    event = await bench.seal([zenobia(1), zenobia(2)])
    pack = next((bench.folder / "originals").rglob("*.pack"))
    content = bytearray(pack.read_bytes())
    content[-9] ^= 1  # in the second slice's pixels
    pack.write_bytes(bytes(content))
    await deliver(bench.runtime, event)
    assert bench.downstream.of(StudyAnonymized)[0].instances == 1
    assert bench.downstream.of(StudyQuarantined)[0].reasons == ("hash-mismatch",)


async def test_a_number_that_json_cannot_say_is_left_out_of_the_metadata_only(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(TableSpeed=math.nan)])
    [told] = bench.downstream.of(StudyAnonymized)
    [copy] = await bench.released(told)
    [metadata] = await read_metadata(bench.context.blobs, "st-one/000001/0001.json.gz")
    assert math.isnan(copy.TableSpeed)
    assert "00189309" not in metadata


async def test_an_ecgs_curves_are_bulk_and_not_in_the_metadata(bench: Bench, zenobia: File) -> None:
    await bench.receive([zenobia(file="waveform_ecg.dcm")])
    [metadata] = await read_metadata(bench.context.blobs, "st-one/000001/0001.json.gz")
    assert metadata["54000100"]["Value"][0]["003A0005"]["Value"] == [12]  # channels
    assert "54001010" not in metadata["54000100"]["Value"][0]


async def test_a_stat_study_does_not_wait_for_routine_ones_under_way(bench: Bench, zenobia: File) -> None:
    room = bench.context.room(Priority.ROUTINE)
    while not room.locked():
        await room.acquire()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await bench.receive([zenobia()], priority=Priority.STAT)
    assert len(bench.downstream.of(StudyAnonymized)) == 1


async def test_a_long_series_is_never_in_memory_as_a_whole(bench: Bench, zenobia: File) -> None:
    def slab(number: int) -> bytes:
        return zenobia(number, Rows=512, Columns=1024, PixelData=bytes(1 << 20))

    event = await bench.seal([slab(number) for number in range(1, 49)])  # 48 MiB
    tracemalloc.start()
    await deliver(bench.runtime, event)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert bench.downstream.of(StudyAnonymized)[0].instances == 48
    assert most < 24 << 20


def test_a_cine_larger_than_its_memory_leaves_with_its_pixels(tmp_path: Path) -> None:
    """256 MiB in one instance, in a process of its own, which looks at the copy, too."""
    command = [sys.executable, "-m", "benchmarks.anonymize_memory", "service", str(256 << 20), str(tmp_path)]
    told = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS, cwd=ROOT).stdout
    )
    assert told["mb"] < 200


@pytest.mark.parametrize("key", ["c2hvcnQ=", "not base64!"])
async def test_a_vault_key_that_is_none_stops_the_service_at_its_start(tmp_path: Path, key: str) -> None:
    wrong: dict[str, Any] = {"tenant_secret": "tenant secret of these tests", "vault_key": key}
    with pytest.raises(Invalid, match="RADRELAY_VAULT_KEY"):
        async with running(SERVICE, tmp_path, **wrong):
            pass


async def test_a_damaged_batch_is_made_again_byte_for_byte_or_left_alone(bench: Bench, zenobia: File) -> None:
    """What does not come to the hash in the ledger overwrites nothing."""
    await bench.receive([zenobia(1), zenobia(2)])
    [told] = bench.downstream.of(StudyAnonymized)
    blobs, pack = bench.context.blobs, "st-one/000001/0001.pack"
    whole = await blobs.read(pack)
    await blobs.put(pack, b"bad" + whole[3:])
    damaged = PackDamaged(site="clinic-a", study="st-one", batch=1, object=pack, manifest_sha256="0" * 64)
    await deliver(bench.runtime, damaged)
    assert await blobs.read(pack) == b"bad" + whole[3:]
    await deliver(bench.runtime, damaged.model_copy(update={"manifest_sha256": told.manifest_sha256}))
    assert await blobs.read(pack) == whole
    [restored] = bench.downstream.of(PackRestored)
    assert (restored.batch, restored.manifest_sha256) == (1, told.manifest_sha256)
