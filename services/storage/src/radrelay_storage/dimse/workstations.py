"""Which AE titles may ask, from where, as whom, and where their images are sent."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

from radrelay_shared.security import Principal, Role


class Workstation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    ae_title: str = Field(min_length=1, max_length=16)
    address: str  # an AE title alone proves nothing
    port: int | None = Field(None, ge=1, le=65535)  # where it takes the images of a C-MOVE; None: it does not
    subject: str
    roles: frozenset[Role]
    sites: frozenset[str]

    @property
    def principal(self) -> Principal:
        return Principal(self.subject, self.roles, self.sites)


class Workstations:
    """The list of a YAML file."""

    def __init__(self, known: list[Workstation]) -> None:
        self.by_title = {each.ae_title: each for each in known}

    def calling(self, ae_title: str, address: str) -> Workstation | None:
        found = self.by_title.get(ae_title)
        return found if found is not None and found.address == address else None


def load(file: Path | None) -> Workstations:
    entries = yaml.safe_load(file.read_text()) if file else []
    return Workstations([Workstation.model_validate(each) for each in entries or []])
