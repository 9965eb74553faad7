"""What storage can be told."""

from __future__ import annotations

from pydantic import Field

from radrelay_shared.settings import ServiceSettings


class StorageSettings(ServiceSettings):
    decoders: int = Field(2, ge=1)  # instances indexed or rendered at the same time, each in a thread
    manifests_kept: int = Field(64, ge=1)  # parsed manifests in memory
    frame_tables_kept: int = Field(2048, ge=1)  # instances whose frames are known, in memory
    spool_bytes: int = Field(16 << 20, ge=1)  # a larger instance waits on disk, not in memory, for its hash
