"""A URL's scheme chooses the adapter, which is imported only then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from radrelay_shared.errors import Invalid
from radrelay_shared.ports import RETRY_TIERS, Blobs, Bus, Documents


async def connect_bus(url: str, retry_tiers: Sequence[timedelta] = RETRY_TIERS) -> Bus:
    """`memory://`, `memory:///folder` (dead letters survive) or `amqp://`, `amqps://`."""
    match scheme(url):
        case "memory":
            from radrelay_shared.adapters.memory import MemoryBus  # noqa: PLC0415  lazily, by scheme

            return MemoryBus(path(url), retry_tiers=retry_tiers)
        case "amqp" | "amqps":
            from radrelay_shared.adapters.amqp import AmqpBus  # noqa: PLC0415  lazily, by scheme

            return await AmqpBus.connect(url, retry_tiers=retry_tiers)
        case other:
            raise Invalid(f"no bus speaks {other}://; use memory:// or amqp://")


async def connect_documents(url: str) -> Documents:
    """`sqlite:///path` or `mongodb://host/database`."""
    match scheme(url):
        case "sqlite":
            from radrelay_shared.adapters.sqlite import SqliteDocuments  # noqa: PLC0415  lazily, by scheme

            return SqliteDocuments(path(url) or Path("documents.db"))
        case "mongodb" | "mongodb+srv":
            from radrelay_shared.adapters.mongo import MongoDocuments  # noqa: PLC0415  lazily, by scheme

            return MongoDocuments(url)
        case other:
            raise Invalid(f"no document store speaks {other}://; use sqlite:/// or mongodb://")


async def connect_blobs(url: str, access_key: SecretStr, secret_key: SecretStr) -> Blobs:
    """`file:///folder` or `s3://host:port/bucket?secure=false`."""
    match scheme(url):
        case "file":
            from radrelay_shared.adapters.files import FileBlobs  # noqa: PLC0415  lazily, by scheme

            return FileBlobs(path(url) or Path("blobs"))
        case "s3":
            from radrelay_shared.adapters.s3 import S3Blobs  # noqa: PLC0415  lazily, by scheme

            return S3Blobs(url, access_key.get_secret_value(), secret_key.get_secret_value())
        case other:
            raise Invalid(f"no blob store speaks {other}://; use file:/// or s3://")


def scheme(url: str) -> str:
    return urlsplit(url).scheme


def path(url: str) -> Path | None:
    """`sqlite:///a/b` is relative, `sqlite:////a/b` absolute, as SQLAlchemy and others read it."""
    found = urlsplit(url).path.removeprefix("/")
    return Path(found) if found else None
