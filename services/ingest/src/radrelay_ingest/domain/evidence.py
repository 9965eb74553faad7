"""What is known of a study's extent beside its instances themselves: who said how much of it there is."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.events import Key


class ManifestGiven(BaseModel):
    """A signed manifest, kept among the originals under `key` as it came."""

    model_config = ConfigDict(frozen=True)

    key: str
    count: int


class Evidence(Aggregate):
    """All that was said about one study, before or after its instances came."""

    collection: ClassVar[str] = "evidence"

    study: Key
    site: str
    manifest: ManifestGiven | None = None  # the last one that came


def with_manifest(current: Evidence | None, study: Key, site: str, given: ManifestGiven) -> Decision[Evidence] | None:
    """Remember a manifest; the same one again changes nothing."""
    known = current or Evidence(study=study, site=site)
    return None if known.manifest == given else Decision(known.model_copy(update={"manifest": given}))
