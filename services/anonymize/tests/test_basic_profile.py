"""The packaged Table E.1-1 says what the standard prints, and the rules compiled from it say what RadRelay does."""

from __future__ import annotations

import pytest
from pydicom.datadict import tag_for_keyword

from radrelay_anonymize.domain.profile import default
from radrelay_anonymize.domain.rules import KEPT_BINARY, KEPT_CODES, KEPT_TEXT, actions
from radrelay_anonymize.domain.table import CLEANED_DESCRIPTORS, RESOLVED, SPECIAL, UNLESS, Action, rows


def test_table_has_every_row_of_edition_2026c_and_the_private_one() -> None:
    assert len(rows()) == 656


def test_every_code_in_the_table_is_one_that_the_standard_defines() -> None:
    assert {row.basic for row in rows().values()} == set(RESOLVED)
    assert {code for row in rows().values() for code in row.options.values()} == {"K", "C"}
    assert {option for row in rows().values() for option in row.options} == {str(n) for n in range(113103, 113113)}


@pytest.mark.parametrize(
    ("tag", "name", "vr", "basic", "options"),
    [
        ("00100010", "Patient's Name", "PN", "Z", {}),
        ("00100020", "Patient ID", "LO", "Z/D", {}),
        ("0020000d", "Study Instance UID", "UI", "U", {"113110": "K"}),
        ("00080050", "Accession Number", "SH", "Z", {}),
        ("00100030", "Patient's Birth Date", "DA", "Z", {}),
        ("00081070", "Operators' Name", "PN", "X/Z/D", {}),
        ("00080020", "Study Date", "DA", "Z", {"113106": "K", "113107": "C"}),
        ("00081030", "Study Description", "LO", "X", {"113105": "C"}),
        ("00080080", "Institution Name", "LO", "X/Z/D", {"113112": "K"}),
        ("00101010", "Patient's Age", "AS", "X", {"113108": "K"}),
        ("0040a730", "Content Sequence", "SQ", "D", {"113104": "C"}),
        ("00082112", "Source Image Sequence", "SQ", "X/Z/U*", {"113110": "K"}),
        ("0040e012", "Retrieve Location URL", "UR", "X", {}),
        ("60xx3000", "Overlay Data", "", "X", {"113103": "C"}),
        ("50xxxxxx", "Curve Data", "", "X", {"113103": "C"}),
        ("private", "Private Attributes", "", "X", {"113111": "C"}),
    ],
)
def test_row_as_printed_in_ps3_15(tag: str, name: str, vr: str, basic: str, options: dict[str, str]) -> None:
    row = rows()[tag]
    assert (row.name, row.vr, row.basic, row.options) == (name, vr, basic, options)


@pytest.mark.parametrize(
    ("tag", "action"),
    [
        (0x00100010, Action.PSEUDONYM),
        (0x00080050, Action.EMPTY),  # accession number
        (0x00100030, Action.EMPTY),  # birth date: no option keeps it
        (0x00080020, Action.SHIFT),  # study date
        (0x00080030, Action.KEEP),  # study time
        (0x00080018, Action.UID),
        (0x00080080, Action.DUMMY),  # institution name
        (0x00081030, Action.CLEAN),  # study description
        (0x00104000, Action.REMOVE),  # patient comments: a descriptor that nobody cleans by rule
        (0x00081140, Action.RECURSE),  # referenced images stay linked
        (0x00400275, Action.REMOVE),  # request attributes
        (0x00180050, Action.KEEP),  # slice thickness, by VR
        (0x00180015, Action.KEEP),  # body part examined, by VR
        (0x00081190, Action.REMOVE),  # retrieve URL, by VR
        (0x00080070, Action.CLEAN),  # manufacturer, by the keep list
        (0x00080104, Action.CODE),  # code meaning
        (0x0010FFF1, Action.REMOVE),  # unknown public element
        (0x00091001, Action.REMOVE),  # private
        (0x60003000, Action.REMOVE),  # overlay data
        (0x50003000, Action.REMOVE),  # curve data
        (0xFFFCFFFC, Action.REMOVE),  # padding
    ],
)
def test_decision_for(tag: int, action: Action) -> None:
    assert actions(default())[tag] is action


def test_every_keyword_in_the_policy_tables_is_an_attribute() -> None:
    """A misspelt keyword would silently remove what the table promises to keep."""
    kept = {keyword for keywords in KEPT_TEXT.values() for keyword in keywords}
    for keyword in kept | KEPT_CODES | KEPT_BINARY | CLEANED_DESCRIPTORS | set(SPECIAL) | set(UNLESS):
        assert tag_for_keyword(keyword) is not None, keyword
