"""What ingest can be told, beside what every service can (`RADRELAY_…`)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from radrelay_shared.settings import ServiceSettings


class IngestSettings(ServiceSettings):
    """Bounds are per process; quiet periods are the sites' own."""

    identity_key: SecretStr = Field(min_length=16)  # study and order keys are made with it; never change it
    spool: Path = Path(".radrelay/spool")
    spool_reserve_bytes: int = 1 << 30  # of the spool's disk stay free: below that, senders are told to come again
    spool_resume_bytes: int = 5 << 28  # free, until which they then are told so; never less than the reserve
    spool_segment_bytes: int = Field(64 << 20, ge=1 << 20)  # of each file of the spool; an instance may pass it
    spool_spare_segments: int = Field(4, ge=0)  # written through ahead, and kept for the next instances
    max_instance_bytes: int = 4 << 30

    dicom_host: str = "0.0.0.0"
    dicom_port: int = 11112  # 0: any free one
    dicom_ae_title: str = "RADRELAY"
    dicom_max_associations: int = Field(20, ge=1)  # each has a thread and 256 KiB of memory
    dicom_max_associations_per_peer: int = Field(10, ge=1)  # with one address
    dicom_max_pdu: int = Field(131_072, ge=4096, le=1 << 24)  # bytes; 131,072 is the most that dcmtk sends
    dicom_tls_port: int | None = None  # associations over TLS, beside those without; 0: any free port
    dicom_tls_certificate: Path | None = None  # PEM, with its chain
    dicom_tls_key: Path | None = None  # PEM
    dicom_tls_client_ca: Path | None = None  # PEM: only clients with a certificate of these are taken
    dicom_timeout: float = 60  # seconds without a byte on an association

    mllp_host: str = "0.0.0.0"
    mllp_port: int | None = None  # 2575 is usual; None: HL7 comes over HTTP only; 0: any free one
    mllp_tls_port: int | None = None  # the same over TLS, with the certificates of DICOM over TLS
    mllp_max_connections: int = Field(50, ge=1)
    mllp_max_bytes: int = Field(1 << 20, ge=4096)  # of one message
    mllp_timeout: float = 3600  # seconds without a whole message: interfaces keep their connections open
    webhook_secrets_file: Path | None = None  # YAML: each site's Standard Webhooks secrets and public keys

    stow_timeout: float = 60  # seconds without a byte of a request's body
    max_upload_bytes: int = 64 << 30  # of one resumable upload
    upload_hours: float = Field(168, gt=0)  # without a byte, after which an unfinished upload is forgotten
    upload_sweep_seconds: float = Field(10, gt=0)  # how often uploads that failed to unpack are tried again
    originals_lock_days: int = Field(0, ge=0, le=36_500)  # sealed originals cannot be deleted for so long; 0: no lock
    sweep_seconds: float = 0.5  # how often quiet studies are looked for
    seal_at_once: int = Field(4, ge=1)
