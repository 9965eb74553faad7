"""Profiles: which options change what, who gets which, and that a profile's promise stands in the copy."""

from __future__ import annotations

from pathlib import Path

import pydicom.data
import pytest
from pydicom.dataset import Dataset, FileDataset

from radrelay_anonymize.domain import Context, Released, release
from radrelay_anonymize.domain.deidentify import Deidentified, deidentify
from radrelay_anonymize.domain.profile import CODES, Option, Profile, packaged, packaged_names, profiles_in
from radrelay_anonymize.domain.rules import actions
from radrelay_anonymize.domain.table import Action
from radrelay_shared.dicom.reading import encode, read
from radrelay_shared.errors import Invalid

STUDY_DATE, DEVICE_SERIAL, INSTITUTION, AGE, SOP_UID = 0x00080020, 0x00181000, 0x00080080, 0x00101010, 0x00080018
CONTENT, GRAPHICS, DESCRIPTION, STATION_AE = 0x0040A730, 0x00700001, 0x00081030, 0x00080055


def profile(*options: str) -> Profile:
    return Profile.model_validate({"options": options})


@pytest.mark.parametrize(
    ("option", "tag", "without", "under_it"),
    [
        ("retain-full-dates", STUDY_DATE, Action.EMPTY, Action.KEEP),
        ("retain-modified-dates", STUDY_DATE, Action.EMPTY, Action.SHIFT),
        ("retain-patient-characteristics", AGE, Action.REMOVE, Action.AGE),
        ("retain-device-identity", DEVICE_SERIAL, Action.DUMMY, Action.CODE),
        ("retain-institution-identity", INSTITUTION, Action.DUMMY, Action.CODE),
        ("retain-uids", SOP_UID, Action.UID, Action.KEEP),
        ("clean-structured-content", CONTENT, Action.REMOVE, Action.RECURSE),
        ("clean-graphics", GRAPHICS, Action.REMOVE, Action.RECURSE),
        ("clean-descriptors", DESCRIPTION, Action.REMOVE, Action.CLEAN),
    ],
)
def test_an_option_changes_what_it_is_about(option: str, tag: int, without: Action, under_it: Action) -> None:
    assert (actions(profile())[tag], actions(profile(option))[tag]) == (without, under_it)


def test_every_option_has_the_code_that_the_standard_gives_it() -> None:
    assert sorted(code for code, _ in CODES.values()) == [str(number) for number in (113101, *range(113103, 113113))]


@pytest.mark.parametrize(
    ("name", "codes", "temporal"),
    [
        ("basic", ["113100"], "REMOVED"),
        ("teleradiology", ["113100", "113104", "113105", "113107", "113108"], "MODIFIED"),
        ("research", ["113100", "113104", "113105", "113107", "113108", "113111"], "MODIFIED"),
        (
            "quality",
            ["113100", *(f"1131{n:02}" for n in (3, 4, 5, 6, 8, 9, 10, 11, 12))],
            "UNMODIFIED",
        ),
    ],
)
def test_a_copy_names_the_options_of_its_profile(
    chest_ct: FileDataset, context: Context, name: str, codes: list[str], temporal: str
) -> None:
    outcome = deidentify(chest_ct, with_profile(context, packaged(name)))
    assert isinstance(outcome, Deidentified)
    assert [each.CodeValue for each in outcome.dataset.DeidentificationMethodCodeSequence] == codes
    assert outcome.dataset.LongitudinalTemporalInformationModified == temporal


def test_no_copy_claims_clean_pixels_by_its_profile_alone() -> None:
    """Whoever trusts 113101 shows the image to anybody."""
    assert [code for code, _ in profile("clean-pixel-data", "clean-graphics").codes] == ["113100", "113103"]


@pytest.mark.parametrize("name", sorted(packaged_names()))
@pytest.mark.parametrize("file", ["CT_small.dcm", "MR_small.dcm", "test-SR.dcm", "SC_rgb_rle.dcm", "rtdose_rle.dcm"])
def test_a_copy_under_any_packaged_profile_passes_the_verifier(context: Context, name: str, file: str) -> None:
    data = (Path(pydicom.data.__file__).parent / "test_files" / file).read_bytes()
    assert isinstance(release(data, with_profile(context, packaged(name))), Released)


def with_profile(context: Context, chosen: Profile) -> Context:
    return Context(context.secret, context.pseudonym, context.date_shift, context.words, chosen)


def test_safe_private_elements_stay_and_their_neighbours_go(chest_ct: FileDataset, context: Context) -> None:
    block = chest_ct.private_block(0x0019, "GEMS_ACQU_01", create=True)
    block.add_new(0x23, "DS", "11.25")  # table speed: in Table E.3.10-1
    block.add_new(0x25, "SS", 1)  # not in it
    copies = [copied(chest_ct, context, name) for name in ("teleradiology", "research")]
    assert [each.get((0x0019, 0x1023)) is not None for each in copies] == [False, True]
    assert [(0x0019, 0x1025) in each for each in copies] == [False, False]
    assert copies[1][0x0019, 0x1023].value == pytest.approx(11.25)


def copied(dataset: FileDataset, context: Context, name: str) -> Dataset:
    """The copy, as it is written and read again."""
    outcome = release(encode(dataset), with_profile(context, packaged(name)))
    assert isinstance(outcome, Released)
    return read(outcome.data)


def test_full_and_modified_dates_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="both full and modified"):
        profile(Option.RETAIN_FULL_DATES, Option.RETAIN_MODIFIED_DATES)


NETWORK = """
profiles:
  physics: {options: [retain-device-identity]}
choices:
  - {site: bozeman, profile: physics}
  - {profile: research}
  - {purpose: export, profile: basic}
"""


@pytest.mark.parametrize(
    ("site", "purpose", "options"),
    [
        ("bozeman", "reading", {Option.RETAIN_DEVICE_IDENTITY}),
        ("hamburg", "reading", packaged("research").options),
        ("hamburg", "export", frozenset()),
        ("hamburg", "teaching", packaged("teleradiology").options),
    ],
    ids=["the site's own", "any site's", "another purpose's", "the default"],
)
def test_site_and_purpose_choose_the_profile(site: str, purpose: str, options: frozenset[Option]) -> None:
    assert profiles_in(NETWORK).chosen(site, purpose).options == options


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("profiles: {x: {options: [keep-everything]}}", "profiles.x.options.0"),
        ("choices: [{profile: nowhere}]", "neither packaged nor defined"),
        ("choices: {", "is not YAML"),
        ("patient: DOE", "patient"),
    ],
)
def test_a_file_of_profiles_that_is_wrong_is_refused_with_the_place(text: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        profiles_in(text)
