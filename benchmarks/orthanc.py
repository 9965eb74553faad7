"""Orthanc of Debian trixie with its DICOMweb plug-in, in a root file system of its own under .radrelay."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

BENCH = Path(__file__).parent.parent / ".radrelay/bench"
ROOT = BENCH / "orthanc-dicomweb"
LOADER, LIBRARIES = ROOT / "lib64/ld-linux-x86-64.so.2", ROOT / "usr/lib/x86_64-linux-gnu"
PLUGIN = ROOT / "usr/share/orthanc/plugins/libOrthancDicomWeb.so"
ENVIRONMENT = {"DCMDICTPATH": str(ROOT / "usr/share/dcmtk/dicom.dic")}
COMMAND = [str(LOADER), "--library-path", str(LIBRARIES), str(ROOT / "usr/sbin/Orthanc")]


def have_orthanc() -> bool:
    """Whether it is here; if mmdebstrap is, it is made once, from the mirror that apt is configured with."""
    if PLUGIN.exists():
        return True
    if shutil.which("mmdebstrap") is None:
        print("Orthanc is left out: apt-get install mmdebstrap, as root, to have it compared")
        return False
    sites = subprocess.check_output(["apt-get", "indextargets", "--format", "$(SITE)"], text=True).split()
    mirror = next(site for site in sites if site.endswith("/debian"))
    BENCH.mkdir(parents=True, exist_ok=True)
    packages = "--include=orthanc,orthanc-dicomweb"
    command = ["mmdebstrap", "--quiet", "--variant=apt", packages, "trixie", str(ROOT), mirror]
    return subprocess.run(command, check=False, timeout=600).returncode == 0
