"""`make bench-storage`: how fast viewers get a 300-slice CT and find studies, from RadRelay and from Orthanc.

Each system is one server process with a fresh folder on the local disk; the client keeps its connections, in threads
of this process. RadRelay's studies of the search cases are written through its own document store.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import platform
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from radrelay_shared.aggregate import Decision
from radrelay_shared.events import StudyAnonymized
from radrelay_shared.packs import (
    Manifest,
    PackedSeries,
    PackPart,
    manifest_key,
    metadata_key,
    pack_key,
    write_manifest,
    write_metadata,
    write_pack,
)
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import api_keys_file, deliver, embedded, running
from radrelay_storage.attributes import Level, element, kept, one_of, searchable, tag
from radrelay_storage.domain import Study, StudyBatch
from radrelay_storage.main import SERVICE

RESULTS = Path(__file__).parent / "results/storage.json"
SLICES, SIDE = 300, 512
STUDY, SERIES = "2.25.1", "2.25.1.1"
PATH = f"/studies/{STUDY}/series/{SERIES}"
SMALL, LARGE = 2_000, 20_000  # studies
FRAME_CLIENTS, FRAME_SECONDS = 4, 4.0
ORTHANC_ROOT = Path(__file__).parent.parent / ".radrelay/bench/orthanc-dicomweb"
ORTHANC, LOADER, LIBRARIES = "usr/sbin/Orthanc", "lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"
PLUGIN = "usr/share/orthanc/plugins/libOrthancDicomWeb.so"
GZIP = {"Accept-Encoding": "gzip"}
TODAY = datetime(2026, 1, 1, tzinfo=UTC)

# How many times as good as Orthanc RadRelay is to be.
GOALS = {
    ("whole-series", "seconds"): 1.2,
    ("metadata-first", "seconds"): 10.0,
    ("metadata-cached", "seconds"): 2.0,
    ("frames", "frames_per_s"): 1.5,
}
MORE_IS_BETTER = {"frames_per_s", "mb_per_s"}

SEARCHES = {
    "latest": "/studies?limit=101&offset=0&fuzzymatching=false&includefield=00081030,00080060",
    "patient": "/studies?PatientID=P-1234",
    "dates": "/studies?StudyDate=20251201-20251207&limit=25",
    "name-prefix": "/studies?PatientName=anon^123*",
    "name-anywhere": "/studies?PatientName=*n^1234*",
    "modality": "/studies?ModalitiesInStudy=MR&limit=25",
}


@dataclass
class Server:
    """A system under test: where it answers, how it is asked, and which process it is."""

    name: str
    port: int
    root: str
    headers: dict[str, str]
    pid: int

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def get(self, connection: http.client.HTTPConnection, path: str, **headers: str) -> int:
        """The answer's size in bytes; fails unless it is 200."""
        connection.request("GET", self.root + path, headers=self.headers | headers)
        answer = connection.getresponse()
        size = len(answer.read())
        assert answer.status == 200, (self.name, path, answer.status)
        return size

    def peak_mb(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


@dataclass
class Table:
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, case: str, system: str, metric: str, values: Sequence[float]) -> None:
        low, middle, high = (round(each, 5) for each in (min(values), statistics.median(values), max(values)))
        row = {"case": case, "system": system, "metric": metric, "median": middle, "min": low, "max": high}
        self.rows.append(row | {"runs": len(values)})
        print(f"{case:24} {system:16} {metric:14} {middle:12g}  ({low:g} … {high:g}, {len(values)})", flush=True)

    def ratios(self) -> list[dict[str, Any]]:
        """How many times as good RadRelay is, wherever a peer was measured, too."""
        values = {(row["case"], row["metric"], row["system"]): row["median"] for row in self.rows}
        found = []
        for (case, metric, system), peer in values.items():
            own = values.get((case, metric, "radrelay"))
            if system.startswith("orthanc") and own:
                value = own / peer if metric in MORE_IS_BETTER else peer / own
                ratio = {"case": case, "against": system, "metric": metric, "value": round(value, 2)}
                goal = GOALS.get((case, metric))
                found.append(ratio | ({"goal": goal} if goal else {}))
        return found

    def write(self) -> None:
        RESULTS.parent.mkdir(exist_ok=True)
        content = {
            "bench": "storage",
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
            "command": "make bench-storage",
            "figures": self.rows,
            "ratios": self.ratios(),
        }
        RESULTS.write_text(json.dumps(content, indent=1) + "\n")


# ── the input ────────────────────────────────────────────────────────────────────────────────────────


def slices() -> Iterator[Dataset]:
    """300 CT slices of 512 x 512 in explicit VR little endian, 157 MB as one series."""
    draw = random.Random(1)
    found = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    found.Rows = found.Columns = SIDE
    found.StudyInstanceUID, found.SeriesInstanceUID = STUDY, SERIES
    for number in range(1, SLICES + 1):
        found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = f"{SERIES}.{number}"
        found.InstanceNumber, found.PixelData = number, draw.randbytes(2 * SIDE * SIDE)
        yield found


def encoded(image: Dataset) -> bytes:
    out = BytesIO()
    image.save_as(out)
    return out.getvalue()


async def store_series(runtime: Runtime) -> None:
    """The series as anonymize leaves it, announced by its event."""
    blobs, metadata = runtime.context.blobs, []

    async def parts() -> AsyncIterator[PackPart]:
        for image in slices():
            kept_of = Dataset({each.tag: each for each in image if each.keyword != "PixelData"})
            metadata.append({key: e for key, e in kept_of.to_json_dict().items() if "InlineBinary" not in e})
            meta = image.file_meta
            yield PackPart(image.SOPInstanceUID, image.SOPClassUID, meta.TransferSyntaxUID, encoded(image))

    pack, described, key = pack_key("st-1", 1, 1), metadata_key("st-1", 1, 1), manifest_key("st-1", 1)
    instances = tuple(await write_pack(blobs, pack, parts()))
    await write_metadata(blobs, described, metadata)
    packed = PackedSeries(series_instance_uid=SERIES, modality="CT", pack=pack, metadata=described, instances=instances)
    await write_manifest(blobs, key, Manifest(study="st-1", batch=1, study_instance_uid=STUDY, series=(packed,)))
    facts = {"site": "clinic-a", "study": "st-1", "jurisdiction": "US-MT", "batch": 1, "manifest": key}
    when = {"received_at": TODAY, "completed_at": TODAY, "study_instance_uid": STUDY, "instances": SLICES}
    await deliver(runtime, StudyAnonymized(**facts, **when, modalities=("CT",)))


def one_study(number: int) -> Study:
    """A study as the domain would leave it: of one of four sites, a day of the last two years, one modality in five."""
    uid, modality = f"2.25.{10_000_000 + number}", ("CT", "MR", "DX", "US", "CR")[number % 5]
    day = TODAY - timedelta(minutes=number * 50)
    values = {
        "StudyDate": f"{day:%Y%m%d}",
        "StudyTime": f"{day:%H%M%S}",
        "AccessionNumber": f"A{number}",
        "PatientID": f"P-{number}",
        "PatientSex": "O",
        "StudyInstanceUID": uid,
        "StudyDescription": f"{modality} of something",
    }
    attributes = {tag(name): element(name, value) for name, value in values.items()}
    attributes[tag("PatientName")] = {"vr": "PN", "Value": [{"Alphabetic": f"ANON^{number}"}]}
    return Study(
        site=f"clinic-{'abcd'[number % 4]}",
        study=f"st-{number + 10}",
        study_instance_uid=uid,
        received_at=day,
        modalities=(modality,),
        body_parts=("HEAD",),
        attributes=kept(attributes, Level.STUDY),
        keys=searchable(attributes, Level.STUDY) | {"ModalitiesInStudy": one_of([modality])},
        batches=(StudyBatch(batch=1, manifest="none", series=(f"{uid}.1",), instances=100),),
        instances=100,
    )


async def store_studies(folder: Path, numbers: range) -> None:
    async with running(SERVICE, folder) as (runtime, _):
        for start in range(numbers.start, numbers.stop, 500):
            many = map(one_study, range(start, min(start + 500, numbers.stop)))
            await asyncio.gather(*(runtime.context.store.change(Study, each.study, put(each)) for each in many))


def put(study: Study) -> Callable[[Study | None], Decision[Study]]:
    return lambda _: Decision(study)


# ── the systems ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def process(command: Sequence[str], environment: dict[str, str], port: int) -> Iterator[int]:
    """The command's process, once something listens on the port."""
    with subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and child.poll() is None:
                try:
                    http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
                    break
                except OSError:
                    time.sleep(0.05)
            yield child.pid
        finally:
            child.terminate()


@contextmanager
def radrelay(folder: Path) -> Iterator[Server]:
    """Storage in a process of its own, on the folder's files; the caller has three of four sites."""
    port = free_port()
    settings = embedded(SERVICE, folder) | {"http_port": port}
    sites = {"clinic-a", "clinic-b", "clinic-c"}
    secret = api_keys_file(folder / "api-keys.yaml", viewer=({Role.RADIOLOGIST}, sites))["viewer"]
    environment = {f"RADRELAY_{name.upper()}": str(value) for name, value in settings.items()}
    with process([sys.executable, "-c", "from radrelay_storage.main import main; main()"], environment, port) as pid:
        yield Server("radrelay", port, "/dicom-web", {"Authorization": f"Bearer {secret}"}, pid)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def have_orthanc() -> bool:
    """Debian trixie's Orthanc and plug-in in a root file system under .radrelay, from the mirror that apt uses."""
    if (ORTHANC_ROOT / PLUGIN).exists():
        return True
    if shutil.which("mmdebstrap") is None:
        print("apt-get install mmdebstrap, as root, to have Orthanc compared")
        return False
    sites = subprocess.check_output(["apt-get", "indextargets", "--format", "$(SITE)"], text=True).split()
    mirror = next(site for site in sites if site.endswith("/debian"))
    ORTHANC_ROOT.parent.mkdir(parents=True, exist_ok=True)
    packages = "--include=orthanc,orthanc-dicomweb"
    command = ["mmdebstrap", "--quiet", "--variant=apt", packages, "trixie", str(ORTHANC_ROOT), mirror]
    return subprocess.run(command, check=False, timeout=600).returncode == 0


@contextmanager
def orthanc(folder: Path) -> Iterator[Server]:
    """Orthanc with its DICOMweb plug-in and its own defaults, on the local disk."""
    port, dicom = free_port(), free_port()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "HttpPort": port,
        "DicomPort": dicom,
        "AuthenticationEnabled": False,
        "Plugins": [str(ORTHANC_ROOT / PLUGIN)],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    command = [str(ORTHANC_ROOT / LOADER), "--library-path", str(ORTHANC_ROOT / LIBRARIES), str(ORTHANC_ROOT / ORTHANC)]
    environment = {"DCMDICTPATH": str(ORTHANC_ROOT / "usr/share/dcmtk/dicom.dic")}
    command.append(str(folder / "orthanc.json"))
    with process(command, environment, port) as pid:
        server = Server("orthanc", port, "/dicom-web", {}, pid)
        connection = server.connect()
        connection.request("GET", "/system")
        server.name = f"orthanc {json.loads(connection.getresponse().read())['Version']}"
        yield server


def fill_orthanc(server: Server) -> None:
    connection = server.connect()
    for image in slices():
        connection.request("POST", "/instances", encoded(image))
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200


# ── what is measured ─────────────────────────────────────────────────────────────────────────────────


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure_series(server: Server, table: Table, runs: int) -> None:
    connection = server.connect()
    server.get(connection, "/studies")  # what a process does once is not the series' time
    first = seconds(lambda: server.get(connection, f"{PATH}/metadata", **GZIP))
    table.add("metadata-first", server.name, "seconds", [first])
    again = [seconds(lambda: server.get(connection, f"{PATH}/metadata", **GZIP)) for _ in range(runs * 3)]
    table.add("metadata-cached", server.name, "seconds", again)
    table.add("qido-instances", server.name, "seconds", [
        seconds(lambda: server.get(connection, f"{PATH}/instances?limit=1000", **GZIP)) for _ in range(runs)
    ])  # fmt: skip
    accept = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    whole = [seconds(lambda: server.get(connection, PATH, **accept)) for _ in range(runs)]
    table.add("whole-series", server.name, "seconds", whole)
    rates = [frames_per_second(server) for _ in range(min(runs, 3))]
    table.add("frames", server.name, "frames_per_s", rates)
    table.add("frames", server.name, "mb_per_s", [rate * 2 * SIDE * SIDE / 1e6 for rate in rates])
    table.add("frames", server.name, "peak_rss_mb", [server.peak_mb()])


def frames_per_second(server: Server) -> float:
    """Clients side by side, each asking for one frame after the other, all over the series."""
    counts, until = [0] * FRAME_CLIENTS, time.perf_counter() + FRAME_SECONDS

    def ask(client: int) -> None:
        connection, draw = server.connect(), random.Random(client)
        accept = {"Accept": 'multipart/related; type="application/octet-stream"'}
        while time.perf_counter() < until:
            number = draw.randint(1, SLICES)
            server.get(connection, f"{PATH}/instances/{SERIES}.{number}/frames/1", **accept)
            counts[client] += 1

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(FRAME_CLIENTS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def measure_searches(server: Server, table: Table, studies: int, times: int) -> None:
    connection = server.connect()
    for name, path in SEARCHES.items():
        search = partial(server.get, connection, path)
        search()
        took = sorted(1000 * seconds(search) for _ in range(times))
        table.add(f"qido-{studies}-{name}", server.name, "p50_ms", [statistics.median(took)])
        table.add(f"qido-{studies}-{name}", server.name, "p99_ms", [took[int(0.99 * (len(took) - 1))]])
    table.add(f"qido-{studies}", server.name, "peak_rss_mb", [server.peak_mb()])


def measure_radrelay(folder: Path, table: Table, runs: int) -> None:
    async def fill() -> None:
        async with running(SERVICE, folder) as (runtime, _):
            await store_series(runtime)

    asyncio.run(fill())
    with radrelay(folder) as server:
        measure_series(server, table, runs)
    for start, stop in ((0, SMALL), (SMALL, LARGE)):
        asyncio.run(store_studies(folder, range(start, stop)))
        with radrelay(folder) as server:
            measure_searches(server, table, stop, 20 * runs)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    table = Table()
    with tempfile.TemporaryDirectory() as name:
        measure_radrelay(Path(name), table, runs)
    if have_orthanc():
        with tempfile.TemporaryDirectory() as name, orthanc(Path(name)) as server:
            fill_orthanc(server)
            measure_series(server, table, runs)
    else:
        print("Orthanc with its DICOMweb plug-in is not here; RadRelay's own figures stand alone, without ratios")
    table.write()
    for ratio in table.ratios():
        print(
            f"{ratio['case']:24} {ratio['value']:g} times {ratio['against']} ({ratio['metric']})", ratio.get("goal", "")
        )


if __name__ == "__main__":
    main()
