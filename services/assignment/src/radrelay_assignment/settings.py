from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from radrelay_shared.events import Priority
from radrelay_shared.settings import ServiceSettings


class AssignmentSettings(ServiceSettings):
    """What assignment can be told besides the common settings."""

    offer_seconds: float = Field(120, gt=0)
    stat_offer_seconds: float = Field(60, gt=0)
    lease_seconds: float = Field(1800, gt=0)
    sweep_seconds: float = Field(1, gt=0)

    def offer_lasts(self, priority: Priority) -> timedelta:
        return timedelta(seconds=self.stat_offer_seconds if priority is Priority.STAT else self.offer_seconds)

    @property
    def lease_lasts(self) -> timedelta:
        return timedelta(seconds=self.lease_seconds)
