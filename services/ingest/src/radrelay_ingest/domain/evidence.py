"""What is known of a study's extent beside its instances themselves: who said how much of it there is."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime

from radrelay_shared.aggregate import Aggregate, Decision, Part
from radrelay_shared.events import Key
from radrelay_shared.ports import Index


class ManifestGiven(Part):
    """A signed manifest, kept among the originals under `key` as it came."""

    key: str
    count: int


class SenderCount(Part):
    """What the sender answered when it was asked; None if it did not answer, or does not know."""

    count: int | None
    at: AwareDatetime


class Evidence(Aggregate):
    """All that was said about one study, before or after its instances came."""

    collection: ClassVar[str] = "evidence"
    indexes: ClassVar[tuple[Index, ...]] = (Index("evidence", ("study",)),)

    study: Key
    site: str
    manifest: ManifestGiven | None = None  # the last one that came
    sender: SenderCount | None = None


def with_manifest(current: Evidence | None, study: Key, site: str, given: ManifestGiven) -> Decision[Evidence] | None:
    """Remember a manifest; the same one again changes nothing."""
    known = current or Evidence(study=study, site=site)
    return None if known.manifest == given else Decision(known.model_copy(update={"manifest": given}))


def with_sender_count(current: Evidence | None, study: Key, site: str, found: SenderCount) -> Decision[Evidence]:
    """Remember what the sender answered last."""
    known = current or Evidence(study=study, site=site)
    return Decision(known.model_copy(update={"sender": found}))
