"""What storage can be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from radrelay_shared.settings import ServiceSettings


class StorageSettings(ServiceSettings):
    decoders: int = Field(2, ge=1)  # instances indexed, transcoded or rendered at the same time, each in a thread
    manifests_kept: int = Field(20_000, ge=1)  # instances of parsed manifests in memory
    frame_tables_kept: int = Field(20_000, ge=1)  # frames whose place is known, in memory
    instances_listed: int = Field(20_000, ge=1)  # instances in memory as searches see them
    metadata_bytes: int = Field(32 << 20, ge=0)  # of metadata in memory, once as stored and once unpacked
    pack_cache: Path | None = None  # the folder of packs that were just read; None: a temporary one for each process
    pack_cache_bytes: int = Field(4 << 30, ge=0)  # of packs in it
    spool_bytes: int = Field(
        16 << 20, ge=1
    )  # a larger instance is read in its pack's copy, or waits on disk for its hash
    derived_bytes: int = Field(512 << 20, ge=1)  # of the derived objects of one request
    custody_key: SecretStr | None = None  # signs checkpoints over the ledger; without it there are none
    custody_checkpoint_seconds: float = Field(300, gt=0)  # between checkpoints, when there is something to sign
    scrub_bytes_per_second: int = Field(2 << 20, ge=0)  # read again in the background; 0: nothing
    scrub_rest_seconds: float = Field(60, ge=0)  # before each round
    retention_file: Path | None = None  # YAML rows of how long studies are kept, in the place of the built-in ones
    lifecycle_seconds: float = Field(60, gt=0)  # how often purges that were broken off are gone on with
    claim_seconds: float = Field(2, ge=0)  # that a radiologist's request waits for the news of their claim
    query_port: int | None = Field(None, ge=0)  # C-FIND, C-GET and C-MOVE of workstations; None: none; 0: any free one
    query_host: str = "0.0.0.0"
    query_ae_title: str = "RADRELAY"
    workstations_file: Path | None = None  # YAML: which AE titles may ask, from where and as whom
    viewer_key: SecretStr | None = Field(None, min_length=16)  # signs links to viewers; without it there are none
    public_url: str = ""  # the platform's address as browsers know it; "": the one they ask under
    viewer_origins: tuple[str, ...] = ()  # whose pages may read answers in a browser (CORS): https://viewer.example
