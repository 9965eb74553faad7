"""Debian's Orthanc as a clinic's archive: on loopback, with private data and no plugins."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from servers import Missing, Server, accepts, free_ports


class Orthanc(Server):
    """An archive of this AE title, which knows RadRelay under `radrelay`."""

    def __init__(self, folder: Path, ae_title: str, radrelay_port: int) -> None:
        self.program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin")
        if self.program is None:
            raise Missing("Orthanc is not installed: apt-get install orthanc")
        super().__init__("orthanc", folder)
        self.http_port, self.dicom_port = free_ports(2)
        radrelay = {"AET": "RADRELAY", "Host": "127.0.0.1", "Port": radrelay_port}
        settings = {
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": ae_title,
            "DicomModalities": {"radrelay": radrelay},
            "DicomScuTimeout": 10,
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        """Return once it answers over HTTP and DICOM, about 1 s on a quiet machine."""
        self.spawn([str(self.program), "orthanc.json"], {"TCP_NODELAY": "1"})
        self.wait_until(lambda: accepts(self.http_port) and accepts(self.dicom_port))
