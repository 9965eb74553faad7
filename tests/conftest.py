"""Fixtures for real servers: one of each per session, started when the first test asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from servers import Missing, cannot
from servers.rabbitmq import RabbitMQ
from servers.seaweedfs import SeaweedFS
from servers.secantusdb import SecantusDB

Kind = TypeVar("Kind", RabbitMQ, SeaweedFS, SecantusDB)


def running(kind: type[Kind], folder: Path) -> Iterator[Kind]:
    try:
        server = kind(folder)
    except Missing as missing:
        raise cannot(missing) from missing
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def servers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def rabbitmq(servers_folder: Path) -> Iterator[RabbitMQ]:
    yield from running(RabbitMQ, servers_folder / "rabbitmq")


@pytest.fixture(scope="session")
def seaweedfs(servers_folder: Path) -> Iterator[SeaweedFS]:
    yield from running(SeaweedFS, servers_folder / "seaweedfs")


@pytest.fixture(scope="session")
def secantusdb(servers_folder: Path) -> Iterator[SecantusDB]:
    yield from running(SecantusDB, servers_folder / "secantusdb")
