"""Render the chart with its example values into plain manifests, one file per service (`make k8s`).

    python scripts/render_k8s.py [FOLDER]      (default: k8s)

The chart is the only source; a test fails when `k8s/` and the chart say different things.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy" / "helm" / "radrelay"
VALUES = CHART / "ci" / "example-values.yaml"
HEADER = "# Rendered from deploy/helm/radrelay by `make k8s`: change the chart, not this file.\n"
Manifest = dict[str, Any]


def output(*command: str | Path) -> str:
    """What the command prints; its errors go to the terminal and end the rendering."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def render() -> list[Manifest]:
    """Every object of the chart, for a release named radrelay."""
    helm = output(sys.executable, ROOT / "scripts" / "get_helm.py").strip()
    text = output(helm, "template", "radrelay", CHART, "--values", VALUES, "--kube-version", "1.32")
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def by_file(manifests: list[Manifest]) -> dict[str, list[Manifest]]:
    """What belongs to one service goes to its file; what belongs to all of them to platform.yaml."""
    files: dict[str, list[Manifest]] = defaultdict(list)
    for manifest in manifests:
        component = manifest["metadata"]["labels"].get("app.kubernetes.io/component", "platform")
        files[f"{component}.yaml"].append(manifest)
    return files


def write(folder: Path) -> None:
    """Replace the folder's manifests."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.yaml"):
        stale.unlink()
    for name, manifests in by_file(render()).items():
        (folder / name).write_text(HEADER + yaml.safe_dump_all(manifests, sort_keys=False, width=110))


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "k8s")
