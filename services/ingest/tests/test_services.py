"""Performed procedure steps and storage commitment, asked by pynetdicom as a scanner would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from io import BytesIO
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    ModalityPerformedProcedureStep,
    MRImageStorage,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from radrelay_ingest.domain.commitments import Commitment
from radrelay_shared.events import StudyReceived
from radrelay_shared.security import Role
from radrelay_shared.testing import until

Door = Callable[..., AbstractAsyncContextManager[Any]]
Slice = Callable[..., bytes]

STEP, STUDY = "1.2.840.99.1", "1.2.3.1"
SUCCESS, DUPLICATE, UNKNOWN, INVALID, ENDED = 0x0000, 0x0111, 0x0112, 0x0106, 0x0110
BOZEMAN = {"name": "Bozeman Clinic", "jurisdiction": "US-MT", "ae_titles": ["BOZEMAN"]}


@asynccontextmanager
async def scanner(door: Any, calling: str = "BOZEMAN", **handlers: Any) -> AsyncIterator[Any]:
    """An association of the scanner's; its calls block, and run in threads."""
    entity = AE(calling)
    entity.add_requested_context(ModalityPerformedProcedureStep)
    entity.add_requested_context(StorageCommitmentPushModel)
    entity.add_requested_context(CTImageStorage)
    bound = [(getattr(evt, name), handler) for name, handler in handlers.items()]
    association = await asyncio.to_thread(entity.associate, "127.0.0.1", door.context.dicom_port, evt_handlers=bound)
    assert association.is_established
    try:
        yield association
    finally:
        await asyncio.to_thread(association.release)


# ── performed procedure steps ──


def begins(status: str = "IN PROGRESS", study: str = STUDY) -> Dataset:
    scheduled = Dataset()
    scheduled.StudyInstanceUID, scheduled.AccessionNumber = study, "ACC123"
    step = Dataset()
    step.PerformedProcedureStepStatus = status
    step.ScheduledStepAttributesSequence = Sequence([scheduled])
    step.PatientName, step.PatientID, step.Modality = "Doe^Jane", "123456", "CT"
    return step


def ends(*images: str, status: str = "COMPLETED") -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = f"{STUDY}.1"
    series.ReferencedImageSequence = Sequence([referenced(each) for each in images])
    step = Dataset()
    step.PerformedProcedureStepStatus = status
    step.PerformedSeriesSequence = Sequence([series])
    return step


def referenced(uid: str, sop_class: str = CTImageStorage) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item


async def created(association: Any, step: Dataset, uid: str = STEP) -> int:
    status, _ = await asyncio.to_thread(association.send_n_create, step, ModalityPerformedProcedureStep, uid)
    return int(status.Status)


async def changed(association: Any, step: Dataset, uid: str = STEP) -> int:
    status, _ = await asyncio.to_thread(association.send_n_set, step, ModalityPerformedProcedureStep, uid)
    return int(status.Status)


def image(content: bytes) -> Dataset:
    return dcmread(BytesIO(content))


async def test_a_study_is_whole_once_the_scanner_has_sent_what_it_says_it_made(
    open_door: Door, ct_slice: Slice
) -> None:
    async with open_door(quiet=3600) as door, scanner(door) as association:
        assert await created(association, begins()) == SUCCESS
        await asyncio.to_thread(association.send_c_store, image(ct_slice(1)))
        assert await changed(association, ends("1.2.3.1.1.1", "1.2.3.1.1.2")) == SUCCESS
        await asyncio.sleep(0.3)
        assert door.seen.of(StudyReceived) == []
        await asyncio.to_thread(association.send_c_store, image(ct_slice(2)))
        [received] = await door.told(StudyReceived)
        assert (received.basis, received.confidence, received.instances) == ("mpps", "high", 2)


async def test_a_step_outlives_a_restart(open_door: Door, ct_slice: Slice) -> None:
    async with open_door(quiet=3600) as door, scanner(door) as association:
        await created(association, begins())
    async with open_door(quiet=3600) as door, scanner(door) as association:
        assert await created(association, begins()) == DUPLICATE
        assert await changed(association, ends("1.2.3.1.1.1")) == SUCCESS
        await asyncio.to_thread(association.send_c_store, image(ct_slice(1)))
        assert (await door.told(StudyReceived))[0].basis == "mpps"


async def test_a_step_that_has_ended_does_not_change(open_door: Door) -> None:
    async with open_door() as door, scanner(door) as association:
        await created(association, begins())
        assert await changed(association, ends("1.2.3.1.1.1", status="DISCONTINUED")) == SUCCESS
        assert await changed(association, ends("1.2.3.1.1.1", "1.2.3.1.1.2")) == ENDED


@pytest.mark.parametrize(
    ("step", "status"),
    [(begins("COMPLETED"), INVALID), (begins("ASLEEP"), INVALID), (begins(study=""), INVALID)],
    ids=["it has ended already", "no such status", "no study"],
)
async def test_a_step_that_makes_no_sense_is_refused(open_door: Door, step: Dataset, status: int) -> None:
    async with open_door() as door, scanner(door) as association:
        assert await created(association, step) == status


async def test_a_clinic_changes_no_step_of_another(open_door: Door) -> None:
    async with open_door() as door:
        async with scanner(door) as mine:
            await created(mine, begins())
        async with scanner(door, "HAMBURG") as other:
            assert await changed(other, ends("1.2.3.1.1.1")) == UNKNOWN
            assert await created(other, begins()) == SUCCESS  # its own, though the UID is the same


# ── storage commitment ──


def wish(*items: Dataset, transaction: str = "1.2.840.99.7") -> Dataset:
    asked = Dataset()
    asked.TransactionUID, asked.ReferencedSOPSequence = transaction, Sequence(list(items))
    return asked


async def committed(association: Any, asked: Dataset, action: int = 1) -> int:
    status, _ = await asyncio.to_thread(
        association.send_n_action, asked, action, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )
    return int(status.Status)


class Reports:
    """What a scanner is told about its requests."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Dataset]] = []

    def take(self, event: Any) -> tuple[int, None]:
        self.told.append((event.event_type, event.event_information))
        return 0x0000, None

    async def first(self) -> tuple[int, list[str], list[tuple[str, int]]]:
        """Event type, what is kept, and what is not with the reason."""
        await until(lambda: self.told)
        kind, told = self.told[0]
        kept = [str(each.ReferencedSOPInstanceUID) for each in told.get("ReferencedSOPSequence") or []]
        failed = [
            (str(each.ReferencedSOPInstanceUID), int(each.FailureReason))
            for each in told.get("FailedSOPSequence") or []
        ]
        return kind, kept, failed


async def test_what_is_durable_may_be_deleted_and_nothing_else(open_door: Door, ct_slice: Slice) -> None:
    reports = Reports()
    async with open_door() as door:
        async with scanner(door) as association:
            await asyncio.to_thread(association.send_c_store, image(ct_slice(1)))
        await door.told(StudyReceived)  # sealed
        async with scanner(door, EVT_N_EVENT_REPORT=reports.take) as association:
            await asyncio.to_thread(association.send_c_store, image(ct_slice(1, study="1.2.3.2")))  # in the spool
            asked = wish(
                referenced("1.2.3.1.1.1"),
                referenced("1.2.3.2.1.1"),
                referenced("1.2.3.9"),
                referenced("1.2.3.1.1.1", MRImageStorage),
            )
            assert await committed(association, asked) == SUCCESS
            assert await reports.first() == (
                2,
                ["1.2.3.1.1.1", "1.2.3.2.1.1"],
                [("1.2.3.9", 0x0112), ("1.2.3.1.1.1", 0x0119)],
            )


@contextmanager
def listening(port: int, reports: Reports) -> Iterator[None]:
    """The scanner's own listener for reports."""
    entity = AE("BOZEMAN")
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = entity.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, reports.take)]
    )
    try:
        yield
    finally:
        server.shutdown()


async def listens(door: Any, port: int) -> None:
    """The site's register says where its scanner listens."""
    listener = {"ae_title": "BOZEMAN", "host": "127.0.0.1", "port": port}
    async with door.as_(Role.OPERATOR) as operator:
        assert (await operator.put("/ingest/sites/bozeman", json=BOZEMAN | {"listeners": [listener]})).is_success


async def tried(door: Any) -> int:
    """How often it was tried to tell the only wish's outcome."""
    [wish] = await door.context.store.find(Commitment)
    return int(wish.tries)


async def test_a_scanner_that_was_switched_off_is_told_when_it_is_back(
    open_door: Door, ct_slice: Slice, free_port: int
) -> None:
    reports = Reports()
    async with open_door() as door:
        await listens(door, free_port)
        async with scanner(door) as association:
            await asyncio.to_thread(association.send_c_store, image(ct_slice(1)))
            assert await committed(association, wish(referenced("1.2.3.1.1.1"))) == SUCCESS
        await until(lambda: tried(door))
    async with open_door() as door:  # after a restart, too
        await listens(door, free_port)
        with listening(free_port, reports):
            assert await reports.first() == (1, ["1.2.3.1.1.1"], [])


async def test_a_clinic_learns_nothing_of_anothers_instances(open_door: Door, ct_slice: Slice) -> None:
    reports = Reports()
    async with open_door() as door:
        async with scanner(door) as association:
            await asyncio.to_thread(association.send_c_store, image(ct_slice(1)))
        async with scanner(door, "HAMBURG", EVT_N_EVENT_REPORT=reports.take) as other:
            assert await committed(other, wish(referenced("1.2.3.1.1.1"))) == SUCCESS
            assert await reports.first() == (2, [], [("1.2.3.1.1.1", 0x0112)])


@pytest.mark.parametrize(
    ("asked", "action"),
    [
        (wish(), 1),
        (wish(referenced("")), 1),
        (wish(referenced("1.2.3"), transaction=""), 1),
        (wish(referenced("1.2.3")), 2),
    ],
    ids=["nothing", "no UID", "no transaction", "another action"],
)
async def test_a_wish_that_makes_no_sense_is_refused(open_door: Door, asked: Dataset, action: int) -> None:
    async with open_door() as door, scanner(door) as association:
        assert await committed(association, asked, action) == INVALID
