"""The generated S3 identities and the bucket script, against a real S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from radrelay_shared.adapters.s3 import S3Blobs
from radrelay_shared.errors import RadRelayError, Refused
from radrelay_shared.testing import PATIENCE_SECONDS
from servers.seaweedfs import SeaweedFS

pytestmark = pytest.mark.external

ROOT = Path(__file__).resolve().parents[2]
KEY_PARTS = ("access", "secret")
BUCKETS = {"blobs": "radrelay-deidentified", "originals": "radrelay-originals"}


def make_buckets(store: SeaweedFS, made: Path) -> str:
    env = {
        **os.environ,
        "RADRELAY_SECRETS_DIR": str(made / "services" / "buckets"),
        "RADRELAY_BLOBS_URL": store.url(BUCKETS["blobs"]),
        "RADRELAY_ORIGINALS_URL": store.url(BUCKETS["originals"]),
    }
    command = [sys.executable, str(ROOT / "scripts" / "make_buckets.py")]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=PATIENCE_SECONDS).stdout


def blobs(store: SeaweedFS, made: Path, service: str, keys_of: str, bucket: str) -> S3Blobs:
    access_key, secret_key = ((made / f"services/{service}/{keys_of}_{part}_key").read_text() for part in KEY_PARTS)
    return S3Blobs(store.url(bucket), access_key, secret_key)


async def test_a_fresh_installation_has_its_buckets_and_each_service_only_its_own(store: SeaweedFS, made: Path) -> None:
    for _ in ("first start", "every other start"):
        assert make_buckets(store, made).count("is there") == 2

    async with AsyncExitStack() as stack:
        opened = [
            blobs(store, made, *case)
            for case in (
                ("ingest", "originals", BUCKETS["originals"]),
                ("storage", "blobs", BUCKETS["blobs"]),
                ("storage", "blobs", BUCKETS["originals"]),
                ("ingest", "originals", BUCKETS["blobs"]),
            )
        ]
        for each in opened:
            stack.push_async_callback(each.close)
        ingest, storage, *strangers = opened
        for own in (ingest, storage):
            await own.healthy()
            await own.put("study/pack", b"pixels")
            await own.retain("study/pack", datetime.now(UTC) + timedelta(minutes=1))
            with pytest.raises(Refused):
                await own.delete("study/pack")
        for stranger in strangers:
            with pytest.raises(RadRelayError):
                await stranger.read("study/pack")
