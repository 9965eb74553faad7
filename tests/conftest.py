"""Fixtures for real servers: one of each per session, started when the first test asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import Missing
from servers.rabbitmq import RabbitMQ
from servers.seaweedfs import SeaweedFS
from servers.secantusdb import SecantusDB


def cannot(reason: object) -> BaseException:
    """A missing server skips on a developer's machine and fails under CI, where nothing may be skipped."""
    ask = f"{reason} (`make test` as root installs it)"
    return pytest.fail.Exception(ask) if os.environ.get("CI") else pytest.skip.Exception(ask)


@pytest.fixture(scope="session")
def servers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def rabbitmq(servers_folder: Path) -> Iterator[RabbitMQ]:
    try:
        server = RabbitMQ(servers_folder / "rabbitmq")
    except Missing as missing:
        raise cannot(missing) from missing
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def seaweedfs(servers_folder: Path) -> Iterator[SeaweedFS]:
    try:
        server = SeaweedFS(servers_folder / "seaweedfs")
    except Missing as missing:
        raise cannot(missing) from missing
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def secantusdb(servers_folder: Path) -> Iterator[SecantusDB]:
    try:
        server = SecantusDB(servers_folder / "secantusdb")
    except Missing as missing:
        raise cannot(missing) from missing
    server.start()
    yield server
    server.stop()
