"""What every service can be told: from `RADRELAY_…` variables, and secrets from files. Nothing is read at import."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from radrelay_shared.ports import RETRY_TIERS

SECRETS_DIR = Path("/run/secrets/radrelay")


class ServiceSettings(BaseSettings):
    """Embedded defaults need no server; a URL's scheme chooses the adapter (see `connect`)."""

    model_config = SettingsConfigDict(env_prefix="RADRELAY_", extra="ignore", env_ignore_empty=True)

    bus_url: str = "memory://"  # amqp://user:password@host/ in production
    documents_url: str = "sqlite:///.radrelay/documents.db"  # mongodb://host/database
    blobs_url: str | None = None  # de-identified bulk: file:///path or s3://host:port/bucket
    blobs_access_key: SecretStr = SecretStr("")
    blobs_secret_key: SecretStr = SecretStr("")
    originals_url: str | None = None  # identified bulk; ingest and anonymize only
    originals_access_key: SecretStr = SecretStr("")
    originals_secret_key: SecretStr = SecretStr("")

    http_host: str = "127.0.0.1"
    http_port: int = 8080
    auth_jwks: str | None = None  # URL or file with the issuer's public keys
    auth_issuer: str = ""
    auth_audience: str = "radrelay"
    api_keys_file: Path | None = None  # YAML list of {id, sha256, roles, sites}

    log_level: str = "INFO"
    otlp_endpoint: str | None = None  # OTLP over HTTP; None: no traces or metrics leave the process
    handler_seconds: float = 600  # a handler that takes longer is cancelled and retried
    drain_seconds: float = 25
    retry_scale: float = 1.0  # < 1 shortens the retry tiers, for tests

    @property
    def retry_tiers(self) -> tuple[timedelta, ...]:
        return tuple(tier * self.retry_scale for tier in RETRY_TIERS)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then one file per secret under `RADRELAY_SECRETS_DIR`."""
        folder = Path(os.environ.get("RADRELAY_SECRETS_DIR", SECRETS_DIR))
        files: tuple[Any, ...] = ()
        if folder.is_dir():
            files = (SecretsSettingsSource(settings_cls, secrets_dir=folder, env_prefix=""),)
        return (init_settings, env_settings, *files)
