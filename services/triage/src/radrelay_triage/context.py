from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from radrelay_shared.service import Context
from radrelay_triage.domain.contracts import Contract, read_contracts, read_rows
from radrelay_triage.domain.models import Asking
from radrelay_triage.settings import TriageSettings


@dataclass
class TriageContext(Context[TriageSettings]):
    """What triage works with: its tables, read once at the start."""

    contracts: tuple[Contract, ...] = ()
    models: tuple[Asking, ...] = ()

    async def open(self) -> None:
        """Read the tables; one that is not valid stops the start with the reason."""
        self.contracts = await asyncio.to_thread(load_contracts, self.settings.contracts_file)
        self.models = await asyncio.to_thread(load_models, self.settings.models_file)


def load_contracts(file: Path | None) -> tuple[Contract, ...]:
    """The operator's rows, then the packaged ones, so that no priority is ever without a promise."""
    packaged = files("radrelay_triage").joinpath("contracts.yaml").read_text("utf-8")
    own = read_contracts(file.read_text("utf-8")) if file else ()
    return own + read_contracts(packaged)


def load_models(file: Path | None) -> tuple[Asking, ...]:
    """The operator's rows; without a file no model is asked."""
    return read_rows(Asking, file.read_text("utf-8"), "table of models") if file else ()
