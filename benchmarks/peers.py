"""The storage SCPs that the ingest benchmark compares, each a process of its own that keeps what it is sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynetdicom
import yaml
from pynetdicom import AE, evt

from benchmarks.ingest_input import KINDS
from benchmarks.orthanc import COMMAND, ENVIRONMENT, have_orthanc
from radrelay_ingest.segments import instances_in
from radrelay_shared.security import Role, new_api_key

HERE = Path(__file__).parent
MAX_PDU = 131_072  # what every acceptor offers; the most that dcmtk sends
CALLER = "BENCH"
HTTP_PORT_OFFSET = 1
SPARE_BYTES = 4 * (64 << 20)  # the default


def sizes_of_files(folder: Path) -> Iterable[int]:
    return (path.stat().st_size for path in folder.rglob("*"))


@dataclass(frozen=True)
class System:
    """`command` gives what to run for a folder and a port; `ready` is called once the port is open.

    `sizes` tells how long each instance is that the folder holds, maybe beside other numbers.
    """

    name: str
    command: Callable[[Path, int], list[str]]
    environment: Callable[[Path, int], Mapping[str, str]] = lambda _folder, _port: {}
    ready: Callable[[Path, int], None] = lambda _folder, _port: None
    sizes: Callable[[Path], Iterable[int]] = sizes_of_files


# ── RadRelay: every instance on stable storage before it is acknowledged ─────────────────────────────


def radrelay_environment(folder: Path, port: int) -> dict[str, str]:
    secret, key = new_api_key("operator", {Role.OPERATOR}, {"*"})
    (folder / "secret").write_text(secret)
    (folder / "keys.yaml").write_text(yaml.safe_dump([json.loads(key.model_dump_json())]))
    return {
        "RADRELAY_DOCUMENTS_URL": f"sqlite:///{folder / 'documents.db'}",
        "RADRELAY_ORIGINALS_URL": f"file:///{folder / 'originals'}",
        "RADRELAY_SPOOL": str(folder / "spool"),
        "RADRELAY_IDENTITY_KEY": "0123456789abcdef",
        "RADRELAY_API_KEYS_FILE": str(folder / "keys.yaml"),
        "RADRELAY_DICOM_HOST": "127.0.0.1",
        "RADRELAY_DICOM_PORT": str(port),
        "RADRELAY_DICOM_MAX_PDU": str(MAX_PDU),
        "RADRELAY_HTTP_PORT": str(port + HTTP_PORT_OFFSET),
    }


def register_sender(folder: Path, port: int) -> None:
    """The sender is a site; its quiet period lasts longer than a run, so that nothing is sealed meanwhile."""
    site = {"name": "Bench", "jurisdiction": "US-MT", "ae_titles": [CALLER], "quiet_seconds": 600}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port + HTTP_PORT_OFFSET}/ingest/sites/bench",
        json.dumps(site).encode(),
        {"Authorization": f"Bearer {(folder / 'secret').read_text()}", "Content-Type": "application/json"},
        method="PUT",
    )
    for _ in range(100):
        try:
            with urllib.request.urlopen(request, timeout=5):  # noqa: S310  see above
                return wait_for_spares(folder / "spool/spare")
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the sender cannot be registered")


def wait_for_spares(folder: Path) -> None:
    """A service that has just started still writes its spare segments through."""
    for _ in range(300):
        if sum(path.stat().st_size for path in folder.iterdir()) >= SPARE_BYTES:
            return
        time.sleep(0.1)
    raise TimeoutError("the spool's spare segments are not ready")


def sizes_in_segments(folder: Path) -> Iterable[int]:
    return (instance.size for path in (folder / "spool/segments").iterdir() for instance in instances_in(path))


def radrelay(_folder: Path, _port: int) -> list[str]:
    return [sys.executable, "-c", "from radrelay_ingest.main import main; main()"]


# ── the peers ────────────────────────────────────────────────────────────────────────────────────────


def dcmtk(folder: Path, port: int) -> list[str]:
    """dcmtk's storescp: writes what it reads, without fsync."""
    return ["storescp", "--fork", "+B", "-pdu", str(MAX_PDU), "-od", str(folder), str(port)]


def pynetdicom_storescp(folder: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.peers", str(folder), str(port)]


def serve_pynetdicom(folder: Path, port: int) -> None:
    """pynetdicom's storage SCP as its documentation writes it, with an fsync before success."""

    def store(event: Any) -> int:
        with (folder / f"{event.request.AffectedSOPInstanceUID}.dcm").open("wb") as file:
            file.write(event.encoded_dataset())
            file.flush()
            os.fsync(file.fileno())
        return 0x0000

    listener = AE("PYNETDICOM")
    listener.maximum_pdu_size = MAX_PDU
    for kind in KINDS:
        listener.add_supported_context(kind.sop_class)
    listener.start_server(("127.0.0.1", port), block=True, evt_handlers=[(evt.EVT_C_STORE, store)])


def orthanc(folder: Path, port: int) -> list[str]:
    """Orthanc with its own defaults (it fsyncs what it stores), on SQLite, DICOM only."""
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "DicomPort": port,
        "HttpServerEnabled": False,
        "MaximumPduLength": MAX_PDU,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    return [*COMMAND, str(folder / "orthanc.json")]


def first_line(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[0]


def systems() -> list[System]:
    """RadRelay first, then the peers that this machine has."""
    found = [System("radrelay", radrelay, radrelay_environment, register_sender, sizes_in_segments)]
    if have_orthanc():
        version = first_line(*COMMAND, "--version").split()[-1]
        found.append(System(f"orthanc {version}", orthanc, lambda _folder, _port: ENVIRONMENT))
    version = first_line("storescp", "--version").split()[2].removeprefix("v")
    found.append(System(f"dcmtk storescp {version}, no fsync", dcmtk))
    found.append(
        System(
            f"pynetdicom {pynetdicom.__version__}, fsync",
            pynetdicom_storescp,
            lambda _folder, _port: {"PYTHONPATH": str(HERE.parent)},
        )
    )
    return found


if __name__ == "__main__":
    serve_pynetdicom(Path(sys.argv[1]), int(sys.argv[2]))
