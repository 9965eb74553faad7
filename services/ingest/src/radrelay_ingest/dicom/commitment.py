"""Storage Commitment Push Model (PS3.4 Annex J): "may I delete these?", answered by what is durable here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pynetdicom import AE, build_role
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from radrelay_ingest.commitments import verdict_on
from radrelay_ingest.context import IngestContext
from radrelay_ingest.dicom.messages import Answer, Asked, Report
from radrelay_ingest.dicom.peers import associated
from radrelay_ingest.domain.commitments import Commitment, Reference
from radrelay_ingest.domain.commitments import asked as remembered
from radrelay_ingest.domain.sites import Peer
from radrelay_shared.dicom.whole import is_uid
from radrelay_shared.errors import Invalid, TooLarge

REQUEST = 1  # the one action type (PS3.4 §J.3.2)
ALL_KEPT, SOME_FAILED = 1, 2  # event types (PS3.4 §J.3.3)
MOST_REFERENCES = 20_000

Verdict = tuple[Sequence[Reference], Sequence[tuple[Reference, int]]]


def request(context: IngestContext, asked: Asked) -> Iterator[Answer | Report]:
    """N-ACTION: told to where the AE title listens, if its site says where; otherwise at once, on this association."""
    if asked.request.action_type != REQUEST or asked.request.sop_instance_uid != StorageCommitmentPushModelInstance:
        raise Invalid("storage commitment has one action type, 1, of one well-known instance")
    wish = _read(context, asked)
    if context.site(wish.site).listener(wish.calling) is not None:
        context.wait(context.store.change(Commitment, wish.id, partial(remembered, fresh=wish)))
        context.loop.call_soon_threadsafe(context.committing.set)
        yield Answer()
        return
    yield Answer()
    kind, data_set = report(wish.transaction_uid, context.wait(verdict_on(context, wish)))
    yield Report(kind, data_set)


def _read(context: IngestContext, asked: Asked) -> Commitment:
    said = asked.data_set()
    items = said.get("ReferencedSOPSequence") or []
    if len(items) > MOST_REFERENCES:
        raise TooLarge(f"a request for storage commitment names at most {MOST_REFERENCES} instances here")
    references = tuple(
        Reference(
            sop_class_uid=_uid(each.get("ReferencedSOPClassUID")),
            sop_instance_uid=_uid(each.get("ReferencedSOPInstanceUID")),
        )
        for each in items
    )
    if not references:
        raise Invalid("(0008,1199) Referenced SOP Sequence names no instance")
    transaction = _uid(said.get("TransactionUID"))
    return Commitment(
        id=context.commitment_key(asked.sender.site, transaction),
        site=asked.sender.site,
        calling=asked.calling,
        transaction_uid=transaction,
        references=references,
        next_at=context.clock().timestamp(),
    )


def _uid(value: object) -> str:
    text = str(value or "")
    if not is_uid(text):
        raise Invalid("a UID in the request for storage commitment is missing, or is none")
    return text


def report(transaction_uid: str, verdict: Verdict) -> tuple[int, Dataset]:
    """Event type and information of the N-EVENT-REPORT."""
    kept, failed = verdict
    told = Dataset()
    told.TransactionUID = transaction_uid
    if kept:
        told.ReferencedSOPSequence = Items([_item(each) for each in kept])
    if failed:
        told.FailedSOPSequence = Items([_item(each, reason) for each, reason in failed])
    return (SOME_FAILED if failed else ALL_KEPT), told


def _item(reference: Reference, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if reason is not None:
        item.FailureReason = reason
    return item


def tell(peer: Peer, calling: str, transaction_uid: str, verdict: Verdict) -> bool:
    """Report over an association of our own; whether the peer took it. Blocks."""
    kind, data_set = report(transaction_uid, verdict)
    entity = AE(calling)
    entity.add_requested_context(StorageCommitmentPushModel)
    roles = [build_role(StorageCommitmentPushModel, scp_role=True)]
    with associated(entity, peer, roles) as association:
        if association is None:
            return False
        status, _ = association.send_n_event_report(
            data_set, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        return bool(status) and status.Status == 0
