from __future__ import annotations

from datetime import timedelta

from pydantic import IPvAnyNetwork, SecretStr

from radrelay_shared.settings import ServiceSettings


class NotificationSettings(ServiceSettings):
    """Where identity comes from at delivery, and where deliveries may go."""

    vault_url: str = "http://127.0.0.1:8080"
    vault_api_key: SecretStr = SecretStr("")
    vault_seconds: float = 10
    webhook_allow_networks: tuple[
        IPvAnyNetwork, ...
    ] = ()  # private networks that hospitals are in; plain HTTP only there
    webhook_seconds: float = 20
    webhooks_at_once: int = 16

    @property
    def attempt_lasts(self) -> timedelta:
        """How long an attempt owns its delivery: after that its process is thought dead, and another one tries."""
        return 2 * timedelta(seconds=self.vault_seconds + self.webhook_seconds)
