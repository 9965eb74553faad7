"""A fleet to be broken, on servers of its own."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from fleet import Backbone, Fleet, backbone

SETTINGS = {
    "webhook_allow_networks": '["127.0.0.0/8"]',
    "sweep_seconds": "0.1",
    "retry_scale": "0.02",
    "vault_seconds": "3",
    "webhook_seconds": "3",
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backbone]:
    with backbone(tmp_path_factory.mktemp("chaos")) as running:
        yield running


@pytest.fixture(autouse=True)
def sockets_of_refused_connections() -> Iterator[None]:
    """What pynetdicom left open is collected here, where it may be, and not in another test."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def fleet(servers: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), servers.backends, SETTINGS)
    try:
        fleet.start()
        servers.rabbitmq.settle()
        yield fleet
        fleet.stop()
    finally:
        fleet.discard()
