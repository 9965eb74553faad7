"""Make the buckets that RADRELAY_BLOBS_URL and RADRELAY_ORIGINALS_URL name, with object lock; wait for their servers.

It is told addresses and keys exactly as a service is, and deploy/compose.yaml runs it in one of RadRelay's own
images. It may run any number of times.
"""

from __future__ import annotations

import asyncio
import sys
import time

from radrelay_shared.adapters.s3 import S3Blobs
from radrelay_shared.errors import RadRelayError, Retryable
from radrelay_shared.settings import ServiceSettings

SECONDS = 60  # for a server that is still starting


async def ensure(url: str, access_key: str, secret_key: str) -> None:
    """Object lock can only be chosen when a bucket is made; retention is set per object, by site policy."""
    blobs = S3Blobs(url, access_key, secret_key)
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            await blobs.ensure_bucket(lock=True)
            break
        except Retryable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(1)
    await blobs.close()


async def main() -> None:
    settings = ServiceSettings()
    stores = {
        settings.blobs_url: (settings.blobs_access_key, settings.blobs_secret_key),
        settings.originals_url: (settings.originals_access_key, settings.originals_secret_key),
    }
    for url, keys in stores.items():
        if url:
            await ensure(url, *(key.get_secret_value() for key in keys))
            print(f"{url} is there")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except RadRelayError as error:
        sys.exit(f"a bucket cannot be made: {error}")
