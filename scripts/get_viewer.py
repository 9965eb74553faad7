"""Print the folder of the OHIF viewer, fetched once with npm and made ready for the path `/viewer`.

    python scripts/get_viewer.py [FOLDER]      (default: .radrelay/viewer)

`@ohif/app` (MIT) carries the built viewer for the path `/`; what it says of that path is put right here.
The digest pins the very bytes.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "@ohif/app@3.12.10"
SHA512 = "0kuF66Mq9c9dMD++bUsTjMrJpXJwaZhz9B4uS244DawAjSkTwIYFU93pxPuRUQixaRi7QAHlF3Fe1qudBlZrmA=="
OURS = ROOT / "deploy" / "local" / "viewer"  # files that replace those of the package, or join them
INSIDE = "package/dist/"
LEFT_OUT = ("ort/", "google.js", "sw.js", "app-config.js", "silent-refresh.html", "oidc-client.min.js")

# Where a text of the package says that it lies at "/", and what it says then.
MOVES: tuple[tuple[str, bytes, bytes], ...] = (
    ("index.html", rb'\b(src|href|content)="/(?!/)', rb'\1="/viewer/'),
    ("index.html", rb"window\.PUBLIC_URL = '/'", rb"window.PUBLIC_URL = '/viewer/'"),
    ("index.html", rb'<script[^>]*src="/viewer/init-service-worker\.js"[^>]*></script>', rb""),
    (r".*\.js", rb'__webpack_require__\.p = "/"', rb'__webpack_require__.p = "/viewer/"'),
    (r".*\.css", rb"url\(/(?!/)", rb"url(/viewer/"),
)


def packed(folder: str) -> Path:
    """The package as it was published, if it is the one that this script was written for."""
    npm = shutil.which("npm") or sys.exit("the viewer is fetched with npm, which is not here (Debian: nodejs npm)")
    subprocess.run([npm, "pack", "--silent", "--pack-destination", folder, PACKAGE], check=True, capture_output=True)
    (archive,) = Path(folder).glob("*.tgz")
    if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != SHA512:
        sys.exit(f"{PACKAGE} is not the package that this script was written for")
    return archive


def files(archive: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            name = member.name.removeprefix(INSIDE)
            content = tar.extractfile(member)
            if content and name != member.name and not name.startswith(LEFT_OUT):
                yield name, moved(name, content.read())


def moved(name: str, content: bytes) -> bytes:
    for where, old, new in MOVES:
        if re.fullmatch(where, name):
            content = re.sub(old, new, content)
    return content


def fetch(target: Path) -> None:
    """Unpack into a folder beside the target, then rename it: two callers at once both end well."""
    half = target.with_name(f"{target.name}.{os.getpid()}")
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files(packed(folder)):
            file = half / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    try:
        half.rename(target)
    except OSError:  # another caller was first
        shutil.rmtree(half)


def viewer(folder: Path) -> Path:
    """The folder, fetched if it is not there yet, with our own files as they are now."""
    if not folder.exists():
        fetch(folder)
    for file in OURS.iterdir():
        shutil.copy(file, folder)
    return folder


if __name__ == "__main__":
    print(viewer(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".radrelay" / "viewer"))
