"""Results of a benchmark, as architecture §8 wants them: one JSON file per benchmark, and a table to look at."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass
class Figures:
    bench: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    ratios: list[dict[str, Any]] = field(default_factory=list)  # how many times as good as a peer

    def add(self, case: str, system: str, metric: str, values: Sequence[float]) -> None:
        """One figure with the values of all its runs."""
        low, middle, high = (float(f"{each:.4g}") for each in (min(values), median(values), max(values)))
        row = {"case": case, "system": system, "metric": metric, "median": middle, "min": low, "max": high}
        self.rows.append(row | {"runs": len(values)})

    def median(self, case: str, metric: str) -> float:
        found = (row["median"] for row in self.rows if (row["case"], row["metric"]) == (case, metric))
        return float(next(found))

    def write(self) -> Path:
        """Replace the results of the last time."""
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"{self.bench}.json"
        content = {
            "bench": self.bench,
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "command": f"make bench-{self.bench}",
            "figures": self.rows,
            "ratios": self.ratios,
        }
        file.write_text(json.dumps(content, indent=1) + "\n")
        return file

    def show(self, console: Console) -> None:
        """Every figure, case by case."""
        for case in dict.fromkeys(row["case"] for row in self.rows):
            table = Table(title=case, title_justify="left")
            for name in ("metric", "median", "min", "max", "runs"):
                table.add_column(name, justify="left" if name == "metric" else "right")
            for row in self.rows:
                if row["case"] == case:
                    table.add_row(row["metric"], *(f"{row[name]:g}" for name in ("median", "min", "max", "runs")))
            console.print(table)


def machine() -> str:
    names = (
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    )
    return f"{os.cpu_count()} x {next(names, 'unknown processor')}"
