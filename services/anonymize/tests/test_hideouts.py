"""No identity leaves in any VR, wherever it hides in a file; each case is generated, and was there before.

Searched are the raw bytes of what goes out, in every spelling (`hideouts.values`), under every packaged profile.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from pydicom.charset import python_encoding
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from hideouts.places import HOLDERS, NESTS, everywhere, listed
from hideouts.values import BOTH, KNOWN, NAME, STRANGER, VALUES, found, hidden
from hideouts.writing import ENCODINGS, ROOT, Build, Elements, Encoding, file, image, joined, plain
from radrelay_anonymize.domain import Context, Quarantined, Released, Words, encode, read, release
from radrelay_anonymize.domain.profile import Option, packaged, packaged_names
from radrelay_shared.dicom.reading import quietly

PROFILES = {name: packaged(name) for name in sorted(packaged_names())}
CONTEXT = Context(secret=b"tenant secret of these tests", pseudonym="RR-ABCDEFGHIJ", date_shift=-70, words=Words())
EXPLICIT = ENCODINGS["explicit"]


def outcomes(data: bytes) -> Iterator[Released | Quarantined]:
    """What becomes of a file under each profile."""
    return (release(data, replace(CONTEXT, profile=profile)) for profile in PROFILES.values())


def leaks(data: bytes, encoding: Encoding) -> set[str]:
    """What is found in any copy; the original has something, and no copy is held."""
    assert found(plain(data), encoding.order)
    leaked: set[str] = set()
    for outcome in outcomes(data):
        assert isinstance(outcome, Released)
        leaked |= found(plain(outcome.data), encoding.order)
    return leaked


def test_every_vr_of_the_standard_hides_something() -> None:
    """PS3.5 §6.2."""
    assert sorted(VALUES) == [
        "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OD", "OF", "OL", "OV", "OW",
        "PN", "SH", "SL", "SQ", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN", "UR", "US", "UT", "UV",
    ]  # fmt: skip
    everything = b"".join(hidden(EXPLICIT, 0x00110010, vr) for vr in VALUES)
    assert found(everything, "<") == {KNOWN, STRANGER} | {
        "AS", "AT", "DA", "DS", "DT", "FD", "FL", "IS", "OD", "OF", "OL", "OV", "SL", "SS", "SV", "TM", "UI", "UL",
        "US", "UV",
    }  # fmt: skip


@pytest.mark.parametrize("spelling", ["utf-16-le", "utf-16-be", "utf-8"])
def test_the_search_finds_other_spellings(spelling: str) -> None:
    assert KNOWN in found(BOTH.upper().encode(spelling), "<")


@pytest.mark.parametrize("holder", HOLDERS)
def test_each_place_hides_something(holder: str) -> None:
    assert {KNOWN, STRANGER} <= found(joined(HOLDERS[holder](EXPLICIT)), "<")


@pytest.mark.parametrize("build", [everywhere, listed], ids=["what no profile keeps", "what no option retains"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("nest", NESTS)
def test_nothing_stays_of(build: Build, encoding: str, nest: str) -> None:
    how = ENCODINGS[encoding]
    assert leaks(file(how, image(how, NAME) | NESTS[nest](how, build)), how) == set()


# ── around the data set ──────────────────────────────────────────────────────────────────────────────

SOURCE, SENDING, RECEIVING, ADDRESSES = 0x00020016, 0x00020017, 0x00020018, (0x00020026, 0x00020027, 0x00020028)
META = {
    **dict.fromkeys((SOURCE, SENDING, RECEIVING), "AE"), **dict.fromkeys(ADDRESSES, "UR"), 0x00020013: "SH",
    0x00020012: "UI", 0x00020100: "UI", 0x00020102: "OB",
    **{0x00020200 + place: vr for place, vr in enumerate(VALUES)},
}  # fmt: skip


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_stays_of_file_meta_and_preamble(encoding: str) -> None:
    how = ENCODINGS[encoding]
    meta = {tag: hidden(EXPLICIT, tag, vr) for tag, vr in META.items()}
    assert leaks(file(how, image(how, NAME), meta, preamble=BOTH.encode()), how) == set()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("group", [0x0000, 0x0002, 0x0004, 0x0006], ids=["commands", "meta", "file-sets", "nobody's"])
def test_groups_that_are_no_data_sets_go_or_are_held(group: int, encoding: str) -> None:
    how = ENCODINGS[encoding]
    first = group << 16 | 0x1130
    elements = {first + place: hidden(how, first + place, vr) for place, vr in enumerate(VALUES) if vr != "SQ"}
    for outcome in outcomes(file(how, image(how, NAME) | elements)):
        if isinstance(outcome, Quarantined):
            assert (group, encoding, outcome.reasons) == (0, "big endian", ("unreadable",))
        else:
            assert found(plain(outcome.data), how.order) == set()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("after", [BOTH.encode(), bytes(16) + BOTH.encode()], ids=["at once", "after zeros"])
def test_what_follows_the_data_set_goes_or_holds_it(after: bytes, encoding: str) -> None:
    how = ENCODINGS[encoding]
    for outcome in outcomes(file(how, image(how, NAME)) + after):
        if encoding == "deflated":
            assert isinstance(outcome, Released)
            assert BOTH.encode() not in outcome.data
            assert found(plain(outcome.data), how.order) == set()
        else:
            assert outcome == Quarantined(("unreadable",))


# ── what says it is something else ───────────────────────────────────────────────────────────────────

# An attribute of each VR that stays in some profile, and a value of its form.
FORMED = {
    "AS": (0x00101010, "054Y"), "CS": (0x00185101, "AP"), "DA": (0x00080020, "20240304"), "DS": (0x00180050, "1.25"),
    "DT": (0x0008002A, "20240304"), "IS": (0x00200013, "7"), "TM": (0x00080030, "081544"),
    "UI": (0x00081195, f"{ROOT}.7"),
}  # fmt: skip
DISGUISES: tuple[Callable[[str], str], ...] = (
    lambda _good: f"{STRANGER}, Jo",
    lambda good: f"{good}\\{STRANGER}, Jo",
    lambda good: f"{STRANGER}, Jo\\{good}",
    lambda good: f" {good}\\\\{STRANGER}!",
    lambda good: f"{good}\0{STRANGER}",
    lambda good: f"{good}^{STRANGER}",
    lambda good: f"{good}\n{STRANGER}",
    lambda good: f"{good} \\{good}={STRANGER}\\{good}",
)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("vr", FORMED)
def test_text_that_has_not_the_form_of_its_vr_goes(vr: str, encoding: str) -> None:
    how, (tag, good) = ENCODINGS[encoding], FORMED[vr]
    for disguise in DISGUISES:
        disguised = how.element(tag, vr, disguise(good).encode())
        assert leaks(file(how, image(how, "Other^Ann") | {tag: disguised}), how) == set()


NUMBERS = {
    "US": 0x00286010, "SS": 0x00189219, "SL": 0x00186020, "UL": 0x00186016, "FD": 0x00189305, "FL": 0x00189461,
    "AT": 0x00280009, "SV": 0x00720082, "OF": 0x00720067, "OD": 0x00720073, "OL": 0x00720075, "OV": 0x00720081,
}  # fmt: skip
NO_NUMBERS = frozenset(VALUES) - NUMBERS.keys() - {"UV", "UN"}  # UN takes its attribute's VR


@pytest.mark.parametrize("vr", [*FORMED, *NUMBERS])
def test_what_claims_another_vr_than_its_attribute_goes(vr: str) -> None:
    tag = {**NUMBERS, **{each: tag for each, (tag, _) in FORMED.items()}}[vr]
    for claimed in sorted(NO_NUMBERS - {vr}):
        value = f"{STRANGER}, Jo".encode().ljust(24)
        element = EXPLICIT.element(tag, claimed, value) if claimed != "SQ" else hidden(EXPLICIT, tag, "SQ")
        name = "Other^Ann" if claimed != "SQ" else NAME
        assert leaks(file(EXPLICIT, image(EXPLICIT, name) | {tag: element}), EXPLICIT) == set(), claimed


# ── bytes that stay ──────────────────────────────────────────────────────────────────────────────────

OPAQUE = {
    "colour profile": (0x00282000, "OB"), "lookup table": (0x00283006, "OW"), "palette": (0x00281201, "OW"),
    "waveform": (0x54001010, "OW"), "numbers": (0x00720073, "OD"), "more numbers": (0x00720067, "OF"),
}  # fmt: skip


@pytest.mark.parametrize("spelling", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("what", OPAQUE)
@pytest.mark.parametrize("word", [KNOWN, KNOWN.upper()])
def test_a_name_in_bytes_that_cannot_be_cleaned_holds_the_instance(what: str, spelling: str, word: str) -> None:
    tag, vr = OPAQUE[what]
    value = b"\0\1\2 " + word.encode(spelling) + b"\0\0\3\0"
    hiding = EXPLICIT.element(tag, vr, value.ljust(-(-len(value) // 8) * 8, b"\0"))
    for outcome in outcomes(file(EXPLICIT, image(EXPLICIT, NAME) | {tag: hiding})):
        assert outcome == Quarantined(("raw:name",))


# ── documents ────────────────────────────────────────────────────────────────────────────────────────

XMP = f'<?xpacket begin=""?><x:xmpmeta><dc:creator>{BOTH}</dc:creator></x:xmpmeta><?xpacket end="w"?>'.encode()
SHOWN = f"BT /F1 12 Tf ({BOTH}) Tj ET".encode()


def pdf() -> bytes:
    """Text shown and compressed, metadata in two forms, a title in UTF-16, an attachment."""
    streams = (SHOWN, XMP, f"BEGIN:VCARD\nFN:{BOTH}\nEND:VCARD".encode())
    objects = [b"<< /Length %d >>\nstream\n%b\nendstream" % (len(each), each) for each in streams]
    packed = zlib.compress(SHOWN)
    objects += [b"<< /Filter /FlateDecode /Length %d >>\nstream\n%b\nendstream" % (len(packed), packed)]
    objects += [b"<< /Author (%b) /Title <%b> >>" % (BOTH.encode(), BOTH.encode("utf-16").hex().encode())]
    body = b"".join(b"%d 0 obj\n%b\nendobj\n" % (number, each) for number, each in enumerate(objects, 1))
    return b"%PDF-1.7\n" + body + b"trailer << /Info 5 0 R >>\n%%EOF\n"


DOCUMENTS = {
    "1.2.840.10008.5.1.4.1.1.104.1": pdf(),
    "1.2.840.10008.5.1.4.1.1.104.2": f"<ClinicalDocument><patient>{BOTH}</patient></ClinicalDocument>".encode(),
    "1.2.840.10008.5.1.4.1.1.104.3": f"solid {BOTH}\nendsolid".encode(),
    "1.2.840.10008.5.1.4.1.1.104.4": f"o {BOTH}\n".encode(),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("sop_class", DOCUMENTS, ids=["PDF", "CDA", "STL", "OBJ"])
def test_a_document_is_held_and_one_inside_an_image_goes(sop_class: str, encoding: str) -> None:
    """Nobody cleans it, so none leaves: (0042,0011) goes from whatever has it."""
    how = ENCODINGS[encoding]
    holding = {0x00420010: how.element(0x00420010, "ST", BOTH.encode()),
               0x00420011: how.element(0x00420011, "OB", DOCUMENTS[sop_class])}  # fmt: skip
    assert leaks(file(how, image(how, NAME) | holding), how) == set()
    document = image(how, NAME) | holding | {0x00080016: how.element(0x00080016, "UI", sop_class.encode())}
    assert set(outcomes(file(how, document))) == {Quarantined(("encapsulated-document",))}


# ── letters of all scripts ───────────────────────────────────────────────────────────────────────────

# Specific character set → a patient's name in it, and the codec of its letters.
SCRIPTS: dict[str, tuple[str, str]] = {
    "ISO_IR 13": ("ﾔﾏﾀﾞ^ﾀﾛｳ", "shift_jis"),
    "ISO_IR 100": ("Lefèvre-Duchâtel^Anaïs", "latin-1"),
    "ISO_IR 101": ("Łukasiewicz^Żaneta", "iso8859-2"),
    "ISO_IR 109": ("Ħamiltonġ^Ġorġa", "iso8859-3"),
    "ISO_IR 110": ("Ķēniņšova^Jūlija", "iso8859-4"),
    "ISO_IR 126": ("Παπαδόπουλος^Νίκος", "iso8859-7"),
    "ISO_IR 127": ("المنصوري^ليلى", "iso8859-6"),
    "ISO_IR 138": ("אלטרמןסון^שרהלה", "iso8859-8"),
    "ISO_IR 144": ("Ивановский^Пётрка", "iso8859-5"),
    "ISO_IR 148": ("Öztürkoğlu^Güneş", "iso8859-9"),
    "ISO_IR 166": ("ใจดีมาก^สมชาย", "iso8859-11"),
    "ISO_IR 192": ("Ивановский^Пётрка", "utf-8"),
    "GB18030": ("欧阳^晓茗", "gb18030"),
    "GBK": ("歐陽^曉茗", "gbk"),
    "\\ISO 2022 IR 13": ("ﾔﾏﾀﾞ^ﾀﾛｳ", "shift_jis"),
    "\\ISO 2022 IR 58": ("欧阳^晓茗", "gb2312"),
    "\\ISO 2022 IR 87": ("佐々木^花子", "iso2022_jp_2"),
    "\\ISO 2022 IR 100": ("Lefèvre-Duchâtel^Anaïs", "latin-1"),
    "\\ISO 2022 IR 101": ("Łukasiewicz^Żaneta", "iso8859-2"),
    "\\ISO 2022 IR 109": ("Ħamiltonġ^Ġorġa", "iso8859-3"),
    "\\ISO 2022 IR 110": ("Ķēniņšova^Jūlija", "iso8859-4"),
    "\\ISO 2022 IR 126": ("Παπαδόπουλος^Νίκος", "iso8859-7"),
    "\\ISO 2022 IR 127": ("المنصوري^ليلى", "iso8859-6"),
    "\\ISO 2022 IR 138": ("אלטרמןסון^שרהלה", "iso8859-8"),
    "\\ISO 2022 IR 144": ("Ивановский^Пётрка", "iso8859-5"),
    "\\ISO 2022 IR 148": ("Öztürkoğlu^Güneş", "iso8859-9"),
    "\\ISO 2022 IR 149": ("남궁^민재", "euc_kr"),
    "\\ISO 2022 IR 159": ("鷗丂^丂鷗", "iso2022_jp_2"),
    "\\ISO 2022 IR 166": ("ใจดีมาก^สมชาย", "iso8859-11"),
    "ISO 2022 IR 13\\ISO 2022 IR 87": ("佐々木^花子", "iso2022_jp_2"),
}


ESCAPE = re.compile(rb"\x1b\$?\(?[A-Z]")  # ISO 2022: into other letters and back


def in_script(charset: str, name: str) -> bytes:
    """An image whose texts say the patient's name, at the top and in an item."""
    family, given = name.split("^")
    with quietly():
        dataset = read(file(EXPLICIT, image(EXPLICIT, "")))
        code = Dataset()
        dataset.SpecificCharacterSet = charset.split("\\")
        dataset.PatientName = name
        dataset.StudyDescription, dataset.ContentDescription = f"CT 12 {family} {given} mm", f"{given} {family}, CT"
        code.CodeValue, code.CodeMeaning, code.TextValue = "1", f"CT {family}", f"{family}{given} CT"
        code.PersonName, code.OperatorsName = f"{given}^{family}", name
        dataset.ProcedureCodeSequence = Sequence([code])
        dataset.private_block(0x0011, "SOMEBODY", create=True).add_new(1, "LO", name)
        return encode(dataset)


@pytest.mark.parametrize("charset", SCRIPTS)
def test_a_name_in_any_script_goes_from_all_texts(charset: str) -> None:
    name, codec = SCRIPTS[charset]
    data = in_script(charset, name)
    spelled = [part.encode(each) for part in name.split("^") for each in (codec, "utf-8", "utf-16-le", "utf-16-be")]
    needles = [ESCAPE.sub(b"", each) for each in spelled]
    assert any(needle in data for needle in needles)
    for outcome in outcomes(data):
        assert isinstance(outcome, Released)
        assert [needle for needle in needles if needle in outcome.data] == []
        assert b"CT" in outcome.data


def test_every_character_set_that_pydicom_knows_is_tried() -> None:
    """But for its names of ASCII, and names that no standard has."""
    known = {each.removeprefix("ISO 2022 ").removeprefix("ISO_") for each in python_encoding}
    tried = {part.removeprefix("ISO 2022 ").removeprefix("ISO_") for each in SCRIPTS for part in each.split("\\")}
    assert known - tried == {"IR 6", "58"}


# ── UIDs ─────────────────────────────────────────────────────────────────────────────────────────────

CLASS = {0x00080016, 0x0002000A}


def with_uids(encoding: Encoding) -> Elements:
    """Every attribute of VR UI with one and two UIDs of things, and texts, codes and addresses that say them."""
    tags = [tag for tag, (vr, *_) in DicomDictionary.items() if vr == "UI" and tag > 0x00080000 and tag not in CLASS]
    found = {
        tag: encoding.element(tag, "UI", f"{ROOT}.{place}\\{ROOT}.9.{place}".encode()) for place, tag in enumerate(tags)
    }
    said = f"as {ROOT}.5, {ROOT}.99.1.2.3 or 9{ROOT}.9".encode()
    texts = ((0x00080104, "LO"), (0x0008103E, "LO"), (0x00081190, "UR"), (0x0040A160, "UT"), (0x00091001, "UI"))
    return found | {tag: encoding.element(tag, vr, said) for tag, vr in texts}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("nest", NESTS)
def test_no_uid_of_a_thing_leaves_but_where_the_profile_retains_them(nest: str, encoding: str) -> None:
    how = ENCODINGS[encoding]
    own = image(how, NAME)
    data = file(
        how, own | NESTS[nest](how, with_uids) | {tag: own[tag] for tag in (0x00080018, 0x0020000D, 0x0020000E)}
    )
    assert ROOT.encode() in plain(data)
    for name, outcome in zip(PROFILES, outcomes(data), strict=True):
        assert isinstance(outcome, Released)
        retained = Option.RETAIN_UIDS in PROFILES[name].options
        assert (ROOT.encode() in plain(outcome.data)) is retained
