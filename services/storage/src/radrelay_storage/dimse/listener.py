"""The listener for workstations: pynetdicom's threads, each of which asks the event loop and waits a bounded time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

from pydicom.dataset import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, build_context, evt
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from radrelay_shared.errors import Invalid, RadRelayError
from radrelay_shared.security import Principal
from radrelay_storage.access import READERS
from radrelay_storage.context import StorageContext
from radrelay_storage.dimse.finding import answers
from radrelay_storage.dimse.retrieving import data_set, named
from radrelay_storage.dimse.workstations import Workstation, load
from radrelay_storage.shelf import Located

log = logging.getLogger("radrelay.storage")

SERVICES = (
    Verification,
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelMove,
)
MOST_ASSOCIATIONS = 10
PATIENCE_SECONDS = 60
# PS3.4 Tables C.4-1 to C.4-3, PS3.8 Table 9-21
PENDING, CANCEL, SUCCESS, UNABLE, UNKNOWN_DESTINATION, NOT_AN_IDENTIFIER = 0xFF00, 0xFE00, 0, 0xC001, 0xA801, 0xA900
REJECTED, BY_USER, UNKNOWN_CALLER = 1, 1, 3
Answer = tuple[Any, Any]
T = TypeVar("T")


class Desk:
    """What workstations ask of, and are told by: one for the process."""

    def __init__(self, context: StorageContext) -> None:
        self.context, self.loop = context, asyncio.get_running_loop()
        self.workstations = load(context.settings.workstations_file)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What the event loop makes of it; from another thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_SECONDS)

    def caller(self, event: Any) -> Workstation | None:
        requestor = event.assoc.requestor
        found = self.workstations.calling(requestor.primitive.calling_ae_title.strip(), requestor.address)
        return found if found and not found.roles.isdisjoint(READERS) else None

    def admit(self, event: Any) -> None:
        """Reject who is not known under this AE title at this address."""
        if self.caller(event) is None:
            log.warning("an association is refused: its AE title names no workstation at its address")
            event.assoc.acse.send_reject(REJECTED, BY_USER, UNKNOWN_CALLER)
            event.assoc.kill()

    def principal(self, event: Any) -> Principal:
        found = self.caller(event)
        if found is None:
            raise Invalid("this workstation is not known here")
        return found.principal

    def find(self, event: Any) -> Iterator[Answer]:
        try:
            for each in self.wait(gathered(answers(event.identifier, self.principal(event), self.context))):
                if event.is_cancelled:
                    yield CANCEL, None
                    return
                yield PENDING, each
        except Exception as error:  # noqa: BLE001  whatever it is, the workstation is answered
            yield failed(error), None

    def get(self, event: Any) -> Iterator[Any]:
        try:
            found = self.wait(named(event.identifier, self.principal(event), self.context))
        except Exception as error:  # noqa: BLE001  see find
            yield 0
            yield failed(error), None
            return
        yield len(found)
        yield from self.sent(found, event)

    def move(self, event: Any) -> Iterator[Any]:
        """To where the workstation that is named as destination listens, if it is one that may see as much."""
        target = self.workstations.by_title.get(event.move_destination.strip())
        if target is None or target.port is None:
            yield None, None  # pynetdicom answers "destination unknown"
            return
        try:
            for_both = self.wait(self.both(event, target.principal))
        except Exception as error:  # noqa: BLE001  see find
            yield target.address, target.port, {}
            yield 0
            yield failed(error), None
            return
        wanted = {(each.packed.sop_class_uid, each.packed.transfer_syntax_uid) for each in for_both}
        contexts = [build_context(*each) for each in sorted(wanted)][:128]
        yield target.address, target.port, {"contexts": contexts, "ae_title": target.ae_title}
        yield len(for_both)
        yield from self.sent(for_both, event)

    async def both(self, event: Any, target: Principal) -> list[Located]:
        """What the caller and the destination may both see."""
        found = await named(event.identifier, self.principal(event), self.context)
        seen = {each.packed.sop_instance_uid for each in await named(event.identifier, target, self.context)}
        return [each for each in found if each.packed.sop_instance_uid in seen]

    def sent(self, found: list[Located], event: Any) -> Iterator[Answer]:
        for each in found:
            if event.is_cancelled:
                yield CANCEL, None
                return
            try:
                yield PENDING, self.wait(data_set(each, self.context))
            except RadRelayError as error:
                yield failed(error), None
                return


async def gathered(found: AsyncIterator[Dataset]) -> list[Dataset]:
    return [each async for each in found]


def failed(error: Exception) -> int:
    if isinstance(error, RadRelayError):
        log.warning("a workstation's request is refused: %s", error.detail)
        return NOT_AN_IDENTIFIER
    log.error("a workstation's request failed", exc_info=error)
    return UNABLE


async def serve_workstations(context: StorageContext) -> None:
    """Answer workstations until cancelled, if there is a port for them."""
    settings = context.settings
    if settings.query_port is None:
        await asyncio.Event().wait()
        return
    desk, entity = Desk(context), AE(settings.query_ae_title)
    entity.maximum_associations = MOST_ASSOCIATIONS
    entity.network_timeout = entity.dimse_timeout = entity.acse_timeout = PATIENCE_SECONDS
    for service in SERVICES:
        entity.add_supported_context(service)
    for each in AllStoragePresentationContexts:  # for C-GET, in which the workstation is the one that stores
        entity.add_supported_context(each.abstract_syntax, ALL_TRANSFER_SYNTAXES, scu_role=False, scp_role=True)
    handlers = [
        (evt.EVT_REQUESTED, desk.admit),
        (evt.EVT_C_FIND, desk.find),
        (evt.EVT_C_GET, desk.get),
        (evt.EVT_C_MOVE, desk.move),
    ]
    address = (settings.query_host, settings.query_port)
    server = entity.start_server(address, block=False, evt_handlers=handlers)
    context.query_address = server.socket.getsockname()
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.to_thread(entity.shutdown)
