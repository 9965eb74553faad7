"""Contextual cleaning: what is known of the patient goes from every text, and medicine stays."""

from __future__ import annotations

import pytest

from radrelay_anonymize.domain import Words

MUELLER = Words.of(
    names=["Müller-O'Neil^Anna Maria^^Dr.", "Ng^Bo", "山田^太郎", "Иванов^Пётр", "כהן^שרה"],
    identifiers=["MRN-00123/45", "4711"],
    places=["St. Elsewhere General Hospital", "Clinic for Cardiology, 59715 Bozeman"],
    dates=["19690312"],
    uids=["1.2.840.113619.2.30.1.1762295590"],
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("CT chest of Anna, contrast 80 ml", "CT chest of [removed], contrast 80 ml"),
        ("MUELLER / Mueller / müller", "[removed] / [removed] / [removed]"),
        ("ONEIL, O'Neil and O\u2019NEIL", "[removed], [removed] and [removed]"),
        ("ANNA_MARIA-axial", "[removed]_[removed]-axial"),
        ("NgBo, Bo NG", "[removed], [removed] [removed]"),
        ("5 ng/ml", "5 ng/ml"),
        ("mrn 00123 45 and MRN0012345", "[removed] and [removed]"),
        ("bed 4711, not 14711", "bed [removed], not 14711"),
        ("from St. Elsewhere  General hospital", "from [removed]"),
        ("ELSEWHERE's protocol of cardiology, general view", "[removed] protocol of cardiology, general view"),
        ("sent to bozeman 59715", "sent to [removed] [removed]"),
        ("MuellerAnna_T1, ANNA01", "[removed]_T1, [removed]"),
        ("AMueller's, Marias Befund", "[removed], [removed] Befund"),
        ("born 12.03.1969", "born [removed]"),
        ("born 120369 or 690312", "born [removed] or [removed]"),
        ("山田太郎の胸部", "[removed]の胸部"),
        ("снимок Иванову", "снимок [removed]"),
        ("לכהן", "[removed]"),
        ("see 1.2.840.113619.2.30.1.1762295590", "see [removed]"),
    ],
)
def test_words_of_this_study_go(before: str, after: str) -> None:
    assert MUELLER.clean(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Referred by Dr. Jane Smith for cough", "Referred by [removed] for cough"),
        ("call +49 30 1234-5678", "call [removed]"),
        ("Tel.: 555 12 34", "[removed]"),
        ("write to jane.doe@example.org", "write to [removed]"),
        ("compared with 2023-11-05", "compared with [removed]"),
        ("compared with 5/11/23 and 5. November 2023", "compared with [removed] and [removed]"),
        ("5 November 2023, 5.11.2023, 5. 11. 2023, NOV 5 2023", "[removed], [removed], [removed], [removed]"),
        ("05NOV2023; November 2023; 11/2023; May 3", "[removed]; [removed]; [removed]; [removed]"),
        ("3 de mayo de 2023, le 3 août 2023, 3. März", "[removed], le [removed], [removed]"),
        ("2023年11月5日", "[removed]"),
        ("pager 4711; SSN 078-05-1120", "[removed]; SSN [removed]"),
        ("accession 20231105001", "[removed]"),
        ("prior CT, accession A-4711, unchanged", "prior CT, [removed], unchanged"),
        ("MRN: 8812 and Acc# 77", "[removed] and [removed]"),
        ("Patient ID QX91; Fall-Nr. 12/3", "[removed]; [removed]"),
        ("see accession no. 31.", "see [removed]."),
    ],
)
def test_identity_that_nobody_announced_goes_by_its_form(before: str, after: str) -> None:
    assert Words().clean(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "Nodule 12 x 9 mm in segment 6, SUVmax 4.5, previously 3.1",
        "T2 FLAIR axial 3mm, TE 120.5 TR 9000",
        "DR CHEST PA and lateral",
        "MR brain w/o contrast, b=1000",
        "L4/5 disc, grade 2/4",
        "BI-RADS 4A; 2-3 o'clock, 3 cm from nipple",
        "ACC of 12 mm; in this case no 3 mm nodule; image #12 of study 2; accession pending",
        "120 kVp, 0.5 s, pitch 0.984:1",
        "b 100 500 1000; segment 4 marginal 12 mm, 9 septal 14 mm, 3 weeks ago 12 mm",
        "may 3 mm be normal? seen May 2 mm lower; since 2019",
    ],
)
def test_clinical_text_stays_as_it_is(text: str) -> None:
    assert MUELLER.clean(text) == text


def test_code_keeps_its_long_number_because_it_is_snomeds() -> None:
    assert MUELLER.redact("399173006") == "399173006"
    assert MUELLER.redact("Anna's protocol") == "[removed] protocol"


def test_words_of_order_and_study_add_up() -> None:
    both = Words.of(names=["Doe^Jane"]) | Words.of(names=["Roe^Richard"])
    assert both.clean("Jane and Richard") == "[removed] and [removed]"


# ── names that are words of prose, too ───────────────────────────────────────────────────────────────

HAND = Words.of(names=["Hand^May", "Long^Rose", "Baker^Frank"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("seen with Hand today", "seen with [removed] today"),
        ("May Hand, hand, long axis", "[removed] [removed], hand, long axis"),
        ("Fracture of hand of may_hand", "Fracture of hand of [removed]_[removed]"),
        ("X-ray for Mrs long", "X-ray for Mrs [removed]"),
        ("HAND PA", "[removed] PA"),
        ("hand pa", "[removed] pa"),
        ("Dr. Baker, FBaker, BakerFrank", "Dr. [removed], [removed], [removed]"),
    ],
    ids=["a capital", "beside another name", "an underscore", "a title", "no small letters", "no capitals", "glued"],
)
def test_a_common_word_goes_where_it_stands_as_a_name(before: str, after: str) -> None:
    assert HAND.clean(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "Fracture of the left hand which may be old; long segment, signal rose, frank blood",
        "Baker cyst, Baker's cyst and kyste de Baker",
    ],
)
def test_a_common_word_stays_where_everybody_writes_it(text: str) -> None:
    assert HAND.clean(text) == text


def test_the_meaning_of_a_code_keeps_its_common_words_and_loses_names() -> None:
    assert HAND.redact("Hand") == "Hand"
    assert HAND.redact("Long axis of Hand, May") == "Long axis of [removed], [removed]"


def test_a_short_russian_name_does_not_go_from_within_other_words() -> None:
    assert Words.of(names=["Rak=Рак^Иван"]).clean("характер опухоли, у Рака") == "характер опухоли, у [removed]"  # noqa: RUF001  Cyrillic


@pytest.mark.parametrize(
    ("place", "before", "after"),
    [
        ("Fracture Clinic", "acute fracture, seen in fracture clinic", "acute fracture, seen in fracture clinic"),
        ("Acute Care Hospital", "acute on chronic; acute care hospital", "acute on chronic; [removed]"),
        ("Prairie Critical Access Hospital", "critical stenosis; Prairie", "critical stenosis; [removed]"),
        ("Sagebrush Family Clinic", "family history; SAGEBRUSH protocol", "family history; [removed] protocol"),
        ("Open MRI of Bozeman", "MRI: open physes. Bozeman", "MRI: open physes. [removed]"),
        ("St. Agnes Emergency Department", "emergency department, Agnes", "emergency department, [removed]"),
        ("Primary Care Associates", "primary tumour", "primary tumour"),
        ("Emergency Department", "Brought to the emergency department", "Brought to the emergency department"),
        ("Cardiology", "Cardiology was informed", "Cardiology was informed"),
        ("Cancer Treatment Centers", "Centers of necrosis", "Centers of necrosis"),
        ("12 Main Street", "main bronchus; 12 MAIN STREET", "main bronchus; [removed]"),
        ("Rawlins, WY 82301", "from Rawlins 82301", "from [removed] [removed]"),
        ("Valley View Medical Center", "a lateral view, Valley protocol", "a lateral view, [removed] protocol"),
        ("Gemeinschaftspraxis Vogelsang", "Vogelsang, gute Praxis", "[removed], gute Praxis"),
    ],
)
def test_of_a_clinic_the_telling_words_go_and_the_others_stay(place: str, before: str, after: str) -> None:
    assert Words.of(places=[place]).clean(before) == after


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MARLOWE^TESS^^^PA-C", "Chest PA and lateral"),
        ("COOK^RAE^^^NP", "NP tube in place"),
        ("GRAY^ART^^^III", "Grade III, after IV contrast"),
        ("DOCTOR^ER", "ER positive"),
        ("Attending^ICU", "From the ICU; attending informed"),
    ],
)
def test_degrees_and_duties_in_a_physician_s_name_take_nothing_from_prose(name: str, text: str) -> None:
    assert Words.of(names=[name]).clean(text) == text
