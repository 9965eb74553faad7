from __future__ import annotations

from pathlib import Path

from radrelay_shared.settings import ServiceSettings


class TriageSettings(ServiceSettings):
    """What triage can be told besides the common settings."""

    contracts_file: Path | None = None  # YAML rows, read before the packaged ones
    models_file: Path | None = None  # YAML rows of which models are asked to look at which studies
