"""An empty store of each kind for the promises of the `Documents` port."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from contract.documents.desk import Open
from radrelay_shared.connect import connect_documents
from radrelay_shared.ports import Documents

GIVEN_URL = os.environ.get("RADRELAY_TEST_MONGODB_URL", "")
ADAPTERS = [
    "sqlite",
    pytest.param("secantusdb", marks=pytest.mark.external),
    *([pytest.param("mongodb", marks=pytest.mark.external)] if GIVEN_URL else []),
]


@pytest.fixture(params=ADAPTERS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of the test's own."""
    database = f"radrelay_test_{uuid4().hex}"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/documents.db"
    if request.param == "secantusdb":
        return f"{request.getfixturevalue('secantusdb').url}/{database}"
    server, _, options = GIVEN_URL.partition("?")
    host = "/".join(server.split("/")[:3])
    return f"{host}/{database}?{options}"


@pytest.fixture
async def opened(url: str) -> AsyncIterator[Open]:
    """Open one more instance on the same store, as another process would."""
    async with AsyncExitStack() as stack:

        async def one_more() -> Documents:
            documents = await connect_documents(url)
            stack.push_async_callback(documents.close)
            return documents

        yield one_more
        if url.startswith("mongodb"):
            await cast("Any", await one_more())._database().command("dropDatabase")


@pytest.fixture
async def documents(opened: Open) -> Documents:
    return await opened()
