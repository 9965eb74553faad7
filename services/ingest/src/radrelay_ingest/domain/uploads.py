"""Resumable uploads: how far each has come, and what was in it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from radrelay_ingest.domain.sites import SiteName
from radrelay_shared.aggregate import Part
from radrelay_shared.events import Key

LISTED_FAILURES = 1000  # the others are only counted


class Failure(Part):
    """A file of an upload that could not be taken, by its place in it: its name may be a patient's."""

    entry: int = Field(ge=1)
    reason: str


class Outcome(Part):
    """What became of the files of a finished upload."""

    stored: int = 0
    failed: int = 0
    studies: frozenset[Key] = frozenset()
    failures: tuple[Failure, ...] = ()

    def with_stored(self, study: Key) -> Outcome:
        return self.model_copy(update={"stored": self.stored + 1, "studies": self.studies | {study}})

    def with_failed(self, entry: int, reason: str) -> Outcome:
        failures = (*self.failures, Failure(entry=entry, reason=reason))[:LISTED_FAILURES]
        return self.model_copy(update={"failed": self.failed + 1, "failures": failures})


class Upload(Part):
    """One upload of one site: the first `offset` of its `length` bytes are durable."""

    id: str
    site: SiteName
    length: int
    offset: int = 0
    expires_at: AwareDatetime  # if nothing comes until then
    traceparent: str | None = None
    outcome: Outcome | None = None

    @property
    def whole(self) -> bool:
        return self.offset == self.length

    @property
    def state(self) -> Literal["receiving", "unpacking", "done"]:
        if self.outcome is not None:
            return "done"
        return "unpacking" if self.whole else "receiving"

    def due(self, now: datetime) -> bool:
        """Whether there is work to do: files to be taken out, or an upload to be forgotten."""
        return self.state == "unpacking" or self.expires_at <= now
