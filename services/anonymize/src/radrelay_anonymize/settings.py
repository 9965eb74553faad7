"""What anonymize can be told, beside what every service can (`RADRELAY_…`)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from radrelay_shared.settings import ServiceSettings


class AnonymizeSettings(ServiceSettings):
    """Both secrets are per tenant; whoever loses them loses the way back."""

    tenant_secret: SecretStr = Field(min_length=16)  # UIDs, pseudonyms and date shifts follow from it; never change it
    vault_key: SecretStr  # 32 random bytes in base64, one key a line: the first one seals, all of them open
    profiles_file: Path | None = None  # YAML: profiles of your own, and which site and purpose gets which
    at_once: int = Field(2, ge=1)  # instances in memory at a time, and as many more for STAT
    handler_seconds: float = 1500  # a study of many cines takes its time; RabbitMQ takes a delivery back after 1800
