"""What the storage benchmark measures of a server that runs."""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial

from minio import Minio

from benchmarks.figures import Figures
from benchmarks.storage_input import CT_300, CT_1000, SIDE, Ct
from benchmarks.storage_systems import BUCKET, Server
from servers.seaweedfs import SeaweedFS

FRAME_CLIENTS, FRAME_SECONDS = 4, 2
WARM = 20  # searches that are not counted
GZIP = {"Accept-Encoding": "gzip"}
AS_STORED = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
OCTETS = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*'}
SEARCHES = {  # with as many answers among few studies as among many
    "latest": "/studies?limit=101&offset=0&fuzzymatching=false&includefield=00081030,00080060",
    "patient": "/studies?PatientID=P-1234",
    "dates": "/studies?StudyDate=20251201-20251207&limit=25",
    "name-prefix": "/studies?PatientName=anon^123*&limit=5",
    "name-anywhere": "/studies?PatientName=*n^1234*&limit=1",
    "modality": "/studies?ModalitiesInStudy=MR&limit=25",
}
# wrk asks for a slice at random, again and again, on each of its connections.
SCRIPT = """
math.randomseed(1)
local headers = {%s}
request = function()
  return wrk.format("GET", "/dicom-web%s/instances/%s." .. math.random(1, %d) .. "/frames/1", headers)
end
"""


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure_series(server: Server, figures: Figures, runs: int) -> None:
    """What a viewer asks of one series of 300 slices."""
    connection = server.connect()
    get = partial(server.get, connection)
    cached = [seconds(lambda: get(f"{CT_300.path}/metadata", **GZIP)) for _ in range(runs * 3)]
    figures.add("metadata-cached", server.name, "seconds", cached)
    listed = [seconds(lambda: get(f"{CT_300.path}/instances?limit=1000", **GZIP)) for _ in range(runs)]
    figures.add("qido-instances", server.name, "seconds", listed)
    get(CT_300.path, **AS_STORED)
    whole = [seconds(lambda: get(CT_300.path, **AS_STORED)) for _ in range(runs)]
    figures.add("whole-series", server.name, "seconds", whole)
    frames_per_second(server)  # what is known of a frame after its first time
    rates = [frames_per_second(server) for _ in range(runs)]
    figures.add("frames", server.name, "frames_per_s", rates)
    figures.add("frames", server.name, "mb_per_s", [rate * 2 * SIDE * SIDE / 1e6 for rate in rates])
    figures.add("frames", server.name, "peak_rss_mb", [server.peak_mb()])


def frames_per_second(server: Server) -> float:
    headers = ", ".join(f"[{name!r}] = {value!r}" for name, value in (server.headers | OCTETS).items())
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % (headers, CT_300.path, CT_300.series, CT_300.slices))
        script.flush()
        load = ["-t1", f"-c{FRAME_CLIENTS}", f"-d{FRAME_SECONDS}", "-s", script.name]
        told = subprocess.check_output(["wrk", *load, f"http://127.0.0.1:{server.port}"], text=True)
    assert not re.search("Non-2xx|Socket errors", told), told
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", told)[0])


def first_metadata(server: Server, ct: Ct) -> float:
    """The series' metadata, never asked for before by anyone."""
    server.forget(ct)
    connection = server.connect()
    server.get(connection, "/studies?limit=1")  # what a connection or process does once is not the series' time
    return seconds(lambda: server.get(connection, f"{ct.path}/metadata", **GZIP))


def first_frame(server: Server) -> float:
    """Until a viewer can show the first of 1,000 slices, in OHIF's order of calls."""
    server.forget(CT_1000)
    connection = server.connect()
    server.get(connection, "/studies?limit=1")

    def opened() -> None:
        server.get(connection, f"/studies?StudyInstanceUID={CT_1000.study}&includefield=00081030,00080060", **GZIP)
        server.get(connection, f"/studies/{CT_1000.study}/series?includefield=0008103E,00080021", **GZIP)
        server.get(connection, f"{CT_1000.path}/metadata", **GZIP)
        server.get(connection, CT_1000.frame(1), **OCTETS)

    return seconds(opened)


def whole_series(server: Server) -> float:
    connection = server.connect()
    server.get(connection, "/studies?limit=1")
    return seconds(lambda: server.get(connection, CT_300.path, **AS_STORED))


def bare_minio(store: SeaweedFS, take: Callable[[bytes], object]) -> float:
    """The pack of the same series by the `minio` client alone, to nowhere but `take`."""
    client = Minio(f"127.0.0.1:{store.port}", store.access_key, store.secret_key, secure=False, region="us-east-1")

    def read() -> None:
        answer = client.get_object(BUCKET, CT_300.pack)
        while piece := answer.read(1 << 20):
            take(piece)
        answer.close()

    client.stat_object(BUCKET, CT_300.pack)
    return seconds(read)


def measure_searches(servers: Mapping[int, Server], figures: Figures, times: int) -> None:
    """By their numbers of studies: each search in turn on all of them, once all are as warm."""
    connected = {studies: (server, server.connect()) for studies, server in servers.items()}
    for name, path in SEARCHES.items():
        took: dict[int, list[float]] = {studies: [] for studies in servers}
        for _ in range(WARM + times):
            for studies, (server, connection) in connected.items():
                took[studies].append(1000 * seconds(partial(server.get, connection, path)))
        for studies, server in servers.items():
            found = sorted(took[studies][WARM:])
            figures.add(f"qido-{studies}-{name}", server.name, "p50_ms", [statistics.median(found)])
            figures.add(f"qido-{studies}-{name}", server.name, "p99_ms", [found[int(0.99 * (len(found) - 1))]])
    for studies, server in servers.items():
        figures.add(f"qido-{studies}", server.name, "peak_rss_mb", [server.peak_mb()])
