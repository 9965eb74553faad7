"""Who looked at what, and why: written down before the answer is given, never changed afterwards."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime

from radrelay_shared.aggregate import Aggregate, Decision, Store
from radrelay_shared.envelope import uuid7
from radrelay_shared.ports import Eq, Index
from radrelay_shared.security import Principal


class AuditRecord(Aggregate):
    """One access. `study` is a key; the record itself holds no identity."""

    collection: ClassVar[str] = "audit"
    indexes: ClassVar[tuple[Index, ...]] = (Index("audit", ("study",)),)

    id: str
    at: AwareDatetime
    who: str
    action: str  # "reidentify"
    study: str
    purpose: str


async def record(store: Store, caller: Principal, action: str, study: str, purpose: str) -> None:
    """Write the access down; it is durable on return."""
    entry = AuditRecord(id=uuid7(), at=store.clock(), who=caller.subject, action=action, study=study, purpose=purpose)
    await store.change(AuditRecord, entry.id, lambda _: Decision(entry))


async def records(store: Store, study: str) -> list[AuditRecord]:
    """Every access to a study, oldest first."""
    return await store.find(AuditRecord, (Eq("study", study),), limit=10_000)
