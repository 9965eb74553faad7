"""How many minutes a site was promised, as a table that reads top to bottom: the first row that fits decides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from radrelay_shared.errors import Invalid
from radrelay_shared.events import Priority

EVERY_SITE = "*"
Row = TypeVar("Row", bound=BaseModel)


class Contract(BaseModel):
    """One row: a reading of this priority is due so many minutes after the study was found whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    site: str = EVERY_SITE
    priority: Priority
    modality: str | None = None  # None: any
    procedure: str | None = None  # a code of the order; None: any
    minutes: int = Field(gt=0)

    def fits(self, site: str, priority: Priority, modalities: Collection[str], procedures: Collection[str]) -> bool:
        return (
            self.site in (EVERY_SITE, site)
            and self.priority is priority
            and (self.modality is None or self.modality in modalities)
            and (self.procedure is None or self.procedure in procedures)
        )

    @property
    def reason(self) -> str:
        """As in "60 min by contract *"; with modality and procedure where the row names them."""
        named = (self.site, self.modality, self.procedure)
        return f"{self.minutes} min by contract {' '.join(name for name in named if name)}"


def read_contracts(text: str) -> tuple[Contract, ...]:
    return read_rows(Contract, text, "contract table")


def read_rows(kind: type[Row], text: str, name: str) -> tuple[Row, ...]:
    """The rows of a YAML list, in their order; raises `Invalid` (with the places) for anything else."""
    try:
        return TypeAdapter(tuple[kind, ...]).validate_python(yaml.safe_load(text) or ())  # type: ignore[valid-type]  # it is one, at run time
    except ValueError as error:  # pydantic's ValidationError is one
        raise Invalid(f"the {name} is not valid: {error}") from error
    except yaml.YAMLError as error:
        raise Invalid(f"the {name} is not YAML: {error}") from error


def contract_for(
    contracts: Sequence[Contract],
    site: str,
    priority: Priority,
    modalities: Collection[str] = (),
    procedures: Collection[str] = (),
) -> Contract:
    """The first row that fits; `Invalid` if the table leaves a hole (the packaged rows at its end leave none)."""
    for contract in contracts:
        if contract.fits(site, priority, modalities, procedures):
            return contract
    raise Invalid(f"no contract row fits a {priority} study of {site}; add one for site '*'")
