"""`make bench-storage`: how fast viewers get a CT and find studies, from RadRelay and from Orthanc.

RadRelay keeps its packs in object storage (SeaweedFS) behind a bounded cache on the local disk, Orthanc has all on its
local disk. "First" and "cold" are for a process that has not seen the series; a cold cache is an empty one.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.figures import Figures
from benchmarks.orthanc import have_orthanc
from benchmarks.storage_cases import (
    bare_minio,
    first_frame,
    first_metadata,
    measure_searches,
    measure_series,
    whole_series,
)
from benchmarks.storage_input import CT_300
from benchmarks.storage_systems import STUDIES, RadRelay, orthanc, slices, small_studies
from servers.seaweedfs import SeaweedFS

FEW_STUDIES = 2_000
MINIO, HASHING = "minio client", "minio client that hashes"

# How many times as good as that RadRelay is to be.
GOALS = {
    ("metadata-first", "seconds"): 10.0,
    ("metadata-cached", "seconds"): 2.0,
    ("whole-series", "seconds"): 1.2,
    ("whole-series-cold", "seconds"): 0.8,
    ("frames", "frames_per_s"): 1.5,
    ("first-frame-of-1000", "seconds"): 1.5,
}
MORE_IS_BETTER = {"frames_per_s", "mb_per_s"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    if shutil.which("wrk") is None:
        parser.error("the load comes from wrk: apt-get install wrk")
    figures = Figures("storage")
    with tempfile.TemporaryDirectory(dir=".radrelay") as name:
        measure_radrelay(Path(name).absolute(), figures, runs)
    if have_orthanc():
        measure_orthanc(figures, runs)
    else:
        print("Orthanc with its DICOMweb plug-in is not here; RadRelay's own figures stand alone, without ratios")
    figures.ratios = ratios(figures)
    figures.write()
    for row in figures.rows:
        print("{case:24} {system:16} {metric:14} {median:10g}  ({min:g} to {max:g}, {runs})".format(**row))
    for ratio in figures.ratios:
        print("{case:24} {value:g} times {against} ({metric})".format(**ratio), ratio.get("goal", ""))


def measure_radrelay(folder: Path, figures: Figures, runs: int) -> None:
    store = SeaweedFS(folder / "seaweedfs")
    store.start()
    try:
        system = RadRelay(folder / "series", store)
        system.fill()
        cold(system, figures, runs)
        with system.serving() as server:
            measure_series(server, figures, runs)
        few, many = RadRelay(folder / "few", store), RadRelay(folder / "many", store)
        few.add_studies(range(FEW_STUDIES))
        many.add_studies(range(STUDIES))
        with few.serving() as small, many.serving() as large:
            measure_searches({FEW_STUDIES: small, STUDIES: large}, figures, 20 * runs)
    finally:
        store.stop()


def cold(system: RadRelay, figures: Figures, runs: int) -> None:
    """What is asked of a process that has seen nothing, and of the object store without one."""
    metadata, frame, whole, bare, hashed = (list[float]() for _ in range(5))
    for _ in range(runs):
        with system.serving() as server:
            metadata.append(first_metadata(server, CT_300))
            frame.append(first_frame(server))
        with system.serving() as server:
            whole.append(whole_series(server))
        bare.append(bare_minio(system.store, len))
        hashed.append(bare_minio(system.store, sha256().update))
    figures.add("metadata-first", "radrelay", "seconds", metadata)
    figures.add("first-frame-of-1000", "radrelay", "seconds", frame)
    figures.add("whole-series-cold", "radrelay", "seconds", whole)
    figures.add("whole-series-cold", MINIO, "seconds", bare)
    figures.add("whole-series-cold", HASHING, "seconds", hashed)


def measure_orthanc(figures: Figures, runs: int) -> None:
    with orthanc("slices", slices) as server:
        figures.add("metadata-first", server.name, "seconds", [first_metadata(server, CT_300) for _ in range(runs)])
        figures.add("first-frame-of-1000", server.name, "seconds", [first_frame(server) for _ in range(runs)])
        measure_series(server, figures, runs)
    with orthanc("studies", small_studies) as server:
        measure_searches({STUDIES: server}, figures, 20 * runs)


def ratios(figures: Figures) -> list[dict[str, Any]]:
    """How many times as good RadRelay is, wherever something else was measured, too; searches are to be no worse."""
    values = {(row["case"], row["metric"], row["system"]): row["median"] for row in figures.rows}
    found = []
    for (case, metric, system), peer in values.items():
        own = values.get((case, metric, "radrelay"))
        if system != "radrelay" and own:
            value = own / peer if metric in MORE_IS_BETTER else peer / own
            goal = GOALS.get((case, metric), 1.0 if case.startswith(f"qido-{STUDIES}-") else None)
            goal = None if system == HASHING else goal
            ratio = {"case": case, "against": system, "metric": metric, "value": round(value, 2)}
            found.append(ratio | ({"goal": goal} if goal else {}))
    return found


if __name__ == "__main__":
    main()
