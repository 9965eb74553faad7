"""Debian's Orthanc as somebody's archive: on loopback, with private data, and its DICOMweb plug-in where it is used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from servers import Missing, Server, accepts, free_ports

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


class Orthanc(Server):
    """An archive of this AE title, which knows RadRelay as a modality under `radrelay`, if it has a port for it.

    `dicomweb` are the servers that the plug-in asks: by name, the address, and the headers of every request.
    """

    def __init__(
        self,
        folder: Path,
        ae_title: str,
        radrelay_port: int | None = None,
        dicomweb: Mapping[str, tuple[str, Mapping[str, str]]] | None = None,
    ) -> None:
        self.program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin")
        if self.program is None:
            raise Missing("Orthanc is not installed: apt-get install orthanc")
        super().__init__("orthanc", folder)
        self.http_port, self.dicom_port = free_ports(2)
        if dicomweb and not PLUGIN.exists():
            raise Missing("Orthanc's DICOMweb plug-in is not installed: apt-get install orthanc-dicomweb")
        modalities = {"radrelay": {"AET": "RADRELAY", "Host": "127.0.0.1", "Port": radrelay_port}}
        servers = {
            name: {"Url": url, "HttpHeaders": dict(headers)} for name, (url, headers) in (dicomweb or {}).items()
        }
        settings = {
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": ae_title,
            "DicomModalities": modalities if radrelay_port else {},
            "Plugins": [str(PLUGIN)] if servers else [],
            "DicomWeb": {"Enable": bool(servers), "Servers": servers},
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
