"""The whole service on embedded adapters: studies over STOW-RS and orders over FHIR, until they are events."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from radrelay_ingest import api
from radrelay_ingest.spool import Incoming
from radrelay_shared.events import Key, OrderReceived, Priority, StudyQuarantined, StudyReceived, StudyUpdated
from radrelay_shared.packs import read_instance, read_manifest
from radrelay_shared.security import Role
from radrelay_shared.testing import until

Door = Callable[..., AbstractAsyncContextManager[Any]]
Slice = Callable[..., bytes]

STOW = "/ingest/dicom-web/studies"
MULTIPART = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


def body(*instances: bytes) -> bytes:
    parts = (b"--b\r\nContent-Type: application/dicom\r\n\r\n" + each + b"\r\n" for each in instances)
    return b"".join(parts) + b"--b--\r\n"


async def stow(door: Any, site: str, *instances: bytes, path: str = STOW, **headers: str) -> Any:
    async with door.as_(Role.SITE, site) as machine:
        return await machine.post(path, content=body(*instances), headers=MULTIPART | headers)


async def order(door: Any, site: str, **changes: Any) -> Any:
    request = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "priority": "stat",
        "identifier": [{"type": {"coding": [{"code": "ACSN"}]}, "value": "ACC123"}],
        "subject": {"identifier": {"value": "123456"}, "display": "Jane Doe"},
    }
    async with door.as_(Role.SITE, site) as machine:
        return await machine.post("/ingest/fhir/ServiceRequest", json=request | changes)


async def test_a_ct_sent_over_stow_is_sealed_byte_for_byte_and_announced(open_door: Door, ct_slice: Slice) -> None:
    sent = [ct_slice(number) for number in (1, 2, 3)]
    async with open_door() as door:
        answer = await stow(door, "bozeman", *sent)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/dicom+json"
        assert answer.json()["00081199"]["Value"][0] == {
            "00081150": {"vr": "UI", "Value": [CT_STORAGE]},
            "00081155": {"vr": "UI", "Value": ["1.2.3.1.1.1"]},
        }
        [received] = await door.told(StudyReceived)
        assert (received.site, received.jurisdiction, received.batch) == ("bozeman", "US-MT", 1)
        assert (received.instances, received.size) == (3, sum(map(len, sent)))
        assert (received.modalities, received.basis, received.order) == (("CT",), "quiet-period", None)
        manifest = await read_manifest(door.context.originals, received.manifest)
        [series] = manifest.series
        assert [await read_instance(door.context.originals, series, each) for each in series.instances] == sent
        assert (manifest.study_instance_uid, series.series_instance_uid, series.modality) == (
            "1.2.3.1",
            "1.2.3.1.1",
            "CT",
        )
        await door.settled()


async def test_slices_of_one_request_are_one_batch_however_slowly_the_first_one_is_kept(
    open_door: Door, ct_slice: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Incoming.keep

    def slowly(*instance: Any) -> None:
        keep(*instance)
        time.sleep(0.5)  # more than a quiet period

    monkeypatch.setattr(Incoming, "keep", slowly)
    async with open_door() as door:
        await stow(door, "bozeman", ct_slice(1), ct_slice(2))
        [received] = await door.told(StudyReceived)
        assert received.instances == 2


async def test_two_clinics_with_the_same_accession_number_do_not_mix(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        stat, routine = await order(door, "bozeman"), await order(door, "hamburg", priority="routine")
        await stow(door, "bozeman", ct_slice())
        await stow(door, "hamburg", ct_slice())
        received = {each.site: each for each in await door.told(StudyReceived, 2)}
        assert received["bozeman"].study != received["hamburg"].study
        assert received["bozeman"].order == stat.json()["order"]
        assert received["hamburg"].order == routine.json()["order"]
        assert received["bozeman"].priority is Priority.STAT
        assert received["hamburg"].priority is Priority.ROUTINE


async def test_a_study_with_a_stat_order_is_whole_sooner(open_door: Door, ct_slice: Slice) -> None:
    async with open_door(quiet=3600) as door:
        await order(door, "bozeman")
        await stow(door, "bozeman", ct_slice())
        await stow(door, "bozeman", ct_slice(study="1.2.3.2", accession="OTHER"))
        [received] = await door.told(StudyReceived)
        assert received.priority is Priority.STAT
        assert len(door.context.spool.waiting()) == 1


async def test_an_order_that_comes_after_its_images_finds_them(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await stow(door, "bozeman", ct_slice())
        [received] = await door.told(StudyReceived)
        answer = await order(door, "bozeman")
        assert answer.status_code == 202
        alone, matched = await door.told(OrderReceived, 2)
        assert (alone.study, matched.study) == ("", received.study)
        assert matched.priority is Priority.STAT
        async with door.as_(Role.OPERATOR) as operator:
            study = (await operator.get(f"/ingest/studies/{received.study}")).json()
        assert study["order"] == answer.json()["order"]


async def test_late_instances_are_a_batch_of_their_own(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        await stow(door, "bozeman", ct_slice(1))
        [received] = await door.told(StudyReceived)
        await stow(door, "bozeman", ct_slice(1), ct_slice(2))
        [updated] = await door.told(StudyUpdated)
        assert (updated.study, updated.batch, updated.instances) == (received.study, 2, 1)
        manifest = await read_manifest(door.context.originals, updated.manifest)
        assert manifest.series[0].instances[0].sop_instance_uid == "1.2.3.1.1.2"


async def test_same_sop_uid_with_other_bytes_is_kept_aside_and_flagged(open_door: Door, ct_slice: Slice) -> None:
    first, other = ct_slice(), ct_slice(PatientName="OTHER^ONE")
    async with open_door() as door:
        assert (await stow(door, "bozeman", first, other)).status_code == 200
        [received] = await door.told(StudyReceived)
        [quarantined] = await door.told(StudyQuarantined)
        assert (quarantined.reasons, quarantined.instances) == (("sop-instance-conflict:1",), 1)
        kept = [blob.key async for blob in door.context.originals.list(f"conflicts/{received.study}")]
        assert [await door.context.originals.read(key) for key in kept] == [other]
        manifest = await read_manifest(door.context.originals, received.manifest)
        [instance] = manifest.series[0].instances
        assert await read_instance(door.context.originals, manifest.series[0], instance) == first
        async with door.as_(Role.ASSISTANT, "bozeman") as assistant:
            [conflict] = (await assistant.get(f"/ingest/reviews/{received.study}")).json()["conflicts"]
        assert (conflict["first"], conflict["other"]) == (sha256(first), sha256(other))
        assert (conflict["sop_instance_uid"], conflict["kept_as"]) == ("1.2.3.1.1.1", kept[0])


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_the_same_slice_again_is_acknowledged_and_counted_and_the_same_conflict_is_told_once(
    open_door: Door, ct_slice: Slice
) -> None:
    first, other = ct_slice(), ct_slice(PatientName="OTHER^ONE")
    async with open_door(quiet=0.5) as door:
        await stow(door, "bozeman", first, first, other)
        [received] = await door.told(StudyReceived)
        for _ in range(2):
            await stow(door, "bozeman", first, other)
            assert (await sealed_study(door, received.study))["state"] == "sealed"
        study = await sealed_study(door, received.study)
        assert (study["instances"], study["conflicts"], study["repeats"]) == (1, 1, 1 + 2 + 2)
        await door.runtime.relay.idle()
        assert len(door.seen.of(StudyQuarantined)) == 1


async def sealed_study(door: Any, study: str) -> Any:
    """Ingest's answer about the study, once nothing of it is in the spool."""
    spool = door.context.spool
    await until(lambda: study not in spool.waiting() and study not in spool.claimed())
    async with door.as_(Role.SITE, "bozeman") as machine:
        return (await machine.get(f"/ingest/studies/{study}")).json()


async def test_a_restart_in_the_middle_of_a_study_loses_nothing(open_door: Door, ct_slice: Slice) -> None:
    async with open_door(quiet=3600) as door:
        assert (await stow(door, "bozeman", ct_slice(1), ct_slice(2))).status_code == 200
    async with open_door(quiet=3600) as door:
        assert (await stow(door, "bozeman", ct_slice(2), ct_slice(3))).status_code == 200
        await door.register(quiet=0.1)
        [received] = await door.told(StudyReceived)
        assert (received.instances, received.batch) == (3, 1)


async def test_a_batch_sealed_just_before_a_crash_is_not_announced_twice(open_door: Door, ct_slice: Slice) -> None:
    async with open_door(quiet=3600) as door:
        await stow(door, "bozeman", ct_slice())
    spool, copy = door.context.spool.folder, door.context.spool.folder.with_name("copy")
    shutil.copytree(spool, copy)
    async with open_door(quiet=0.01) as door:
        await door.told(StudyReceived)
        await door.settled()
        await door.runtime.relay.idle()  # what was not struck off would be told again
    shutil.rmtree(spool)
    copy.rename(spool)  # as if it had not been told
    async with open_door(quiet=0.01) as door:
        await door.emptied()
        await door.runtime.relay.idle()
        assert door.seen.envelopes == []
        async with door.as_(Role.OPERATOR) as operator:
            [study] = (await operator.get("/ingest/studies")).json()
        assert (study["batches"], study["instances"]) == (1, 1)


async def test_a_study_that_cannot_be_uploaded_waits_and_holds_up_no_other(open_door: Door, ct_slice: Slice) -> None:
    async with open_door(quiet=3600) as door:
        await stow(door, "bozeman", ct_slice(study="1.2.3.1"))
        [stuck] = door.context.spool.waiting()
        await door.context.originals.put(stuck, b"in the way: no key can be a folder, too")
        await door.register(quiet=0.05)
        await stow(door, "bozeman", ct_slice(study="1.2.3.2"))
        [received] = await door.told(StudyReceived)
        assert received.study != stuck
        await door.context.originals.delete(stuck)
        assert [each.study for each in await door.told(StudyReceived, 2)] == [received.study, stuck]


async def test_events_continue_the_sender_s_trace_and_hold_no_identity(open_door: Door, ct_slice: Slice) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with open_door() as door:
        await order(door, "bozeman", subject={"identifier": {"value": "ZZCANARY"}, "display": "Zzcanary Jane"})
        instance = ct_slice(PatientName="ZZCANARY^JANE", PatientID="ZZCANARY")
        await stow(door, "bozeman", instance, traceparent=f"00-{trace}-00f067aa0ba902b7-01")
        await door.told(StudyReceived)
        received = next(each for each in door.seen.envelopes if isinstance(each.data, StudyReceived))
        assert received.traceparent is not None
        assert received.traceparent[3:35] == trace
        for envelope in door.seen.envelopes:
            text = envelope.model_dump_json()
            assert not any(each in text.upper() for each in ("ZZCANARY", "ACC123", "1.2.3.1"))


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────


def reasons(answer: Any, sequence: str) -> list[int]:
    return [item["00081197"]["Value"][0] for item in answer.json()[sequence]["Value"]]


async def test_a_word_file_among_the_slices_fails_alone(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        answer = await stow(door, "bozeman", ct_slice(1), b"PK\3\4 no DICOM", ct_slice(2))
        assert answer.status_code == 202
        assert reasons(answer, "0008119A") == [0xC000]
        assert (await door.told(StudyReceived))[0].instances == 2


@pytest.mark.parametrize("content", [b"", bytes(132), b"no DICOM at all", bytes(128) + b"DICM"])
async def test_what_is_not_dicom_is_not_stored(open_door: Door, content: bytes) -> None:
    async with open_door() as door:
        answer = await stow(door, "bozeman", content)
        assert answer.status_code == 409
        assert reasons(answer, "0008119A") == [0xC000]
        assert door.context.spool.waiting() == {}


async def test_a_truncated_slice_is_not_stored(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        answer = await stow(door, "bozeman", ct_slice()[:-1000])
        assert (answer.status_code, reasons(answer, "0008119A")) == (409, [0xC000])


async def test_an_instance_of_another_study_than_the_url_s_is_not_stored(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        answer = await stow(door, "bozeman", ct_slice(), path=f"{STOW}/1.2.3.99")
        assert (answer.status_code, reasons(answer, "00081198")) == (409, [0xA900])
        assert (await stow(door, "bozeman", ct_slice(), path=f"{STOW}/1.2.3.1")).status_code == 200


async def test_an_instance_over_the_limit_fails_alone(open_door: Door, ct_slice: Slice) -> None:
    async with open_door(max_instance_bytes=100_000) as door:
        answer = await stow(door, "bozeman", bytes(200_000), ct_slice())
        assert (answer.status_code, reasons(answer, "0008119A")) == (202, [0xC000])
        assert not door.context.spool.segments.busy


async def test_a_0_byte_upload_is_a_bad_request(open_door: Door) -> None:
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        assert (await machine.post(STOW, content=b"", headers=MULTIPART)).status_code == 400
        assert (await machine.post(STOW, content=b"--b--\r\n", headers=MULTIPART)).status_code == 400


async def test_a_zip_in_place_of_multipart_is_an_unsupported_media_type(open_door: Door) -> None:
    async with open_door() as door, door.as_(Role.SITE, "bozeman") as machine:
        answer = await machine.post(STOW, content=b"PK", headers={"Content-Type": "application/zip"})
        assert answer.status_code == 415


async def ready(door: Any, status: int) -> Any:
    """What it says of its health, once it says so with this status."""
    async with door.as_(Role.OPERATOR) as anybody:

        async def answer() -> Any:
            found = await anybody.get("/readyz")
            return found.status_code == status and found

        return await until(answer)


async def test_a_full_spool_is_507_and_works_again_by_itself(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        door.context.spool.room.reserve = 1 << 62
        answer = await stow(door, "bozeman", ct_slice())
        assert (answer.status_code, answer.headers["retry-after"]) == (507, "5")
        assert (await ready(door, 507)).json()["detail"].startswith("the spool's disk is at its reserve")
        door.context.spool.room.reserve = 0
        await ready(door, 200)
        assert (await stow(door, "bozeman", ct_slice())).status_code == 200


async def test_a_full_bucket_leaves_studies_in_the_spool_until_there_is_room(open_door: Door, ct_slice: Slice) -> None:
    async with open_door(quiet=0.05) as door:
        door.context.originals._reserve = 1 << 62
        assert (await stow(door, "bozeman", ct_slice())).status_code == 200
        await until(door.context.spool.claimed)
        await ready(door, 507)
        door.context.originals._reserve = 0
        assert (await door.told(StudyReceived))[0].instances == 1


async def test_a_sender_that_stops_in_the_middle_leaves_nothing_behind(open_door: Door, ct_slice: Slice) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield body(ct_slice())[:10_000]
        await asyncio.sleep(3600)

    async with open_door(stow_timeout=0.1) as door, door.as_(Role.SITE, "bozeman") as machine:
        assert (await machine.post(STOW, content=half(), headers=MULTIPART)).status_code == 408
        assert not door.context.spool.segments.busy


async def test_a_clinic_cannot_send_for_another_one(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door:
        answer = await stow(door, "bozeman", ct_slice(), **{"X-RadRelay-Site": "hamburg"})
        assert answer.status_code == 404
        assert (await stow(door, "missoula", ct_slice())).status_code == 403
        assert door.context.spool.waiting() == {}


async def test_nobody_unknown_and_no_radiologist_may_send(open_door: Door, ct_slice: Slice) -> None:
    async with open_door() as door, door.as_(Role.RADIOLOGIST) as radiologist:
        assert (await radiologist.post(STOW, content=body(ct_slice()), headers=MULTIPART)).status_code == 403
        stranger = {"Authorization": "Bearer rrk_nobody.x"}
        assert (await radiologist.post(STOW, content=b"", headers=MULTIPART | stranger)).status_code == 401


async def test_an_order_without_patient_is_refused_with_the_path(open_door: Door) -> None:
    async with open_door() as door:
        answer = await order(door, "bozeman", subject=None)
        assert answer.status_code == 422
        assert answer.json()["detail"] == "ServiceRequest.subject: the patient is missing"


async def test_an_order_sent_twice_is_announced_once_and_its_message_is_kept(open_door: Door) -> None:
    async with open_door() as door:
        first, second = await order(door, "bozeman"), await order(door, "bozeman")
        assert first.json() == second.json()
        await door.runtime.relay.idle()
        assert len(door.seen.of(OrderReceived)) == 1
        assert len([blob async for blob in door.context.originals.list("messages/")]) == 1


async def test_a_clinic_sees_its_own_studies_only(open_door: Door, ct_slice: Slice) -> None:
    async with open_door(quiet=3600) as door:
        await stow(door, "bozeman", ct_slice())
        [study] = door.context.spool.waiting()
        async with door.as_(Role.SITE, "bozeman") as bozeman, door.as_(Role.SITE, "hamburg") as hamburg:
            assert [each["state"] for each in (await bozeman.get("/ingest/studies")).json()] == ["receiving"]
            assert (await hamburg.get("/ingest/studies")).json() == []
            assert (await bozeman.get(f"/ingest/studies/{study}")).status_code == 200
            assert (await hamburg.get(f"/ingest/studies/{study}")).status_code == 404


async def test_a_study_that_is_sealed_while_somebody_lists_them_is_in_the_list(
    open_door: Door, ct_slice: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which studies lie in the spool is asked at the very moment at which the last one has left it."""
    async with open_door(quiet=3600) as door:
        await stow(door, "bozeman", ct_slice())
        [study], in_the_spool = door.context.spool.waiting(), api._under_way

        def sealed_by_now(context: Any) -> dict[Key, str]:
            context.spool.claim(study)
            while context.spool.claimed():
                time.sleep(0.01)
            return in_the_spool(context)

        monkeypatch.setattr(api, "_under_way", sealed_by_now)
        async with door.as_(Role.SITE, "bozeman") as machine:
            listed = (await machine.get("/ingest/studies")).json()
        assert [(each["study"], each["state"], each["instances"]) for each in listed] == [(study, "sealed", 1)]


async def test_an_ae_title_of_another_site_cannot_be_registered(open_door: Door) -> None:
    async with open_door() as door, door.as_(Role.OPERATOR) as operator:
        thief = {"name": "Thief", "jurisdiction": "DE", "ae_titles": ["BOZEMAN"]}
        assert (await operator.put("/ingest/sites/thief", json=thief)).status_code == 409
        assert sorted((await operator.get("/ingest/sites")).json()) == ["bozeman", "hamburg"]
