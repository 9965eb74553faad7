"""What pydicom's package carries of real devices, and of other makers of test files."""

from __future__ import annotations

from pathlib import Path

import pydicom.data

PYDICOM = Path(pydicom.data.__file__).parent
TEST_FILES = PYDICOM / "test_files"
FILES = [
    path
    for folder in ("test_files", "charset_files")
    for path in sorted((PYDICOM / folder).rglob("*"))
    if path.is_file()
]


def is_part10(path: Path) -> bool:
    return path.read_bytes()[128:132] == b"DICM"
