"""The rewriter and pydicom's engine say the same of every file, and what nobody can read ends in quarantine."""

from __future__ import annotations

import contextlib
import io
import resource
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pydicom
import pydicom.data
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from pydicom import config
from pydicom.datadict import DicomDictionary, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from radrelay_anonymize.domain import (
    Context,
    Quarantined,
    Released,
    Words,
    deidentify,
    encode,
    identity_in,
    opened,
    read,
    release,
    verify,
    words_of,
)
from radrelay_anonymize.domain.folding import fold
from radrelay_anonymize.domain.identity import identity_of
from radrelay_anonymize.domain.part10 import parsed
from radrelay_anonymize.domain.profile import Option, Profile, default
from radrelay_anonymize.domain.rawvalues import Unusual
from radrelay_anonymize.domain.rewriter import Rewritten, rewritten, words_in
from radrelay_anonymize.domain.rules import KEPT_BINARY, WRITTEN, is_enumerated
from radrelay_shared.dicom.reading import quietly
from radrelay_shared.errors import Invalid
from real_files import FILES, PYDICOM, is_part10

CT = PYDICOM / "test_files/CT_small.dcm"
CONTEXT = Context(secret=b"tenant secret of these tests", pseudonym="RR-ABCDEFGHIJ", date_shift=-70, words=Words())

CANARY, CANARY_UID, CANARY_DATE = "Qzxcanary", "1.2.826.0.1.3680043.8.498.777", "19690312"
PER_FRAME = "PerFrameFunctionalGroupsSequence"
IMAGE_GROUP = 0x0028  # rows, columns and frames have to fit the pixels

# Left to pydicom's engine: big endian, deflated, no true length of group 0002, implicit where it says explicit.
FOR_PYDICOM = {
    "ExplVR_BigEnd.dcm", "MR_small_bigendian.dcm", "MR_small_expb.dcm", "SC_rgb_jpeg.dcm",
    "SC_rgb_small_odd_big_endian.dcm", "DICOMDIR-bigEnd", "image_dfl.dcm", "liver_expb_1frame.dcm",
    "meta_missing_tsyntax.dcm", "no_meta_group_length.dcm", "rtdose_expb.dcm", "rtdose_expb_1frame.dcm",
}  # fmt: skip
FOR_NOBODY = {"MR_truncated.dcm", "rtplan_truncated.dcm", "DICOMDIR-nooffset"}


def by_rewriter(data: bytes, context: Context = CONTEXT) -> bytes | tuple[str, ...]:
    """The copy, or the reasons against it."""
    source = parsed(data)
    assert source is not None, "left to pydicom"
    outcome = rewritten(source, context)
    return outcome.output.data if isinstance(outcome, Rewritten) else outcome.reasons


def assert_engines_agree(data: bytes, context: Context = CONTEXT) -> bytes | None:
    """Compare both copies element by element as pydicom reads them, words and judgement of pixels, too."""
    source = parsed(data)
    assert source is not None
    ours, theirs = rewritten(source, context), deidentify(read(data), context)
    if isinstance(ours, Quarantined) or isinstance(theirs, Quarantined):
        assert ours == theirs
        return None
    assert (ours.words, ours.pixels) == (theirs.words, theirs.pixels)
    output = ours.output.data
    with quietly():
        here, there = (pydicom.dcmread(io.BytesIO(copy)) for copy in (output, encode(theirs.dataset)))
        assert here.file_meta == there.file_meta
        assert [here[tag] for tag in here.keys()] == [there[tag] for tag in there.keys()]  # noqa: SIM118  the order, too
    return output


# ── both engines agree ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in FILES if is_part10(path)])
def test_both_engines_make_the_same_copy(path: Path) -> None:
    if path.name in FOR_PYDICOM:
        assert parsed(path.read_bytes()) is None
    elif path.name in FOR_NOBODY:
        with pytest.raises(Invalid):
            parsed(path.read_bytes())
    else:
        assert_engines_agree(path.read_bytes())


def item(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def planted() -> Dataset:
    """Every public attribute of the dictionary with something in it, canaries where there is room for one."""
    values: dict[str, object] = dict.fromkeys(("LO", "SH", "LT", "ST", "UT", "UC", "PN"), CANARY)
    values |= {"AE": CANARY.upper(), "CS": CANARY.upper(), "UR": f"http://{CANARY}/", "UI": CANARY_UID}
    values |= {"DA": CANARY_DATE, "DT": CANARY_DATE + "0815", "TM": "081512.5", "AS": "094Y", "DS": "1.50", "IS": "7"}
    binary: dict[str, object] = {
        "FD": 1.5,
        "FL": 1.5,
        "SL": -3,
        "SS": -3,
        "UL": 3,
        "US": 3,
        "AT": 0x00100010,
        "SV": -3,
        "UV": 3,
    }
    binary |= dict.fromkeys(("OB", "OW"), CANARY.encode() + b" ") | dict.fromkeys(("OF", "OD", "OL", "OV"), bytes(16))
    made = Dataset()
    for tag, (vrs, *_, keyword) in DicomDictionary.items():
        vr = vrs.split(" ")[0]
        if tag < 0x00080000 or keyword in WRITTEN or keyword == "SOPClassUID" or (vr == "CS" and is_enumerated(tag)):
            continue
        if keyword not in KEPT_BINARY and (value := (values | binary).get(vr)) is not None:
            made[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)
    return made


@pytest.mark.parametrize(
    ("syntax", "undefined"),
    [(ImplicitVRLittleEndian, False), (ExplicitVRLittleEndian, True)],
    ids=["implicit, defined lengths", "explicit, undefined lengths"],
)
def test_no_attribute_at_any_depth_lets_a_canary_through(syntax: str, *, undefined: bool) -> None:
    with quietly():
        dataset = read(CT.read_bytes())
        nested = planted()
        dataset.update({element.tag: element for element in planted() if element.tag.group != IMAGE_GROUP})
        block = dataset.private_block(0x0011, CANARY, create=True)
        block.add_new(1, "SQ", [item(PatientName=CANARY)])
        block.add_new(2, "UN", CANARY.encode() + b" ")
        dataset.add_new(0x0010FFF1, "LO", CANARY)
        dataset.add_new(0xFFFCFFFC, "OB", CANARY.encode() + b" ")
        inner = Dataset()
        inner.AnatomicRegionSequence = Sequence([nested])
        dataset.ProcedureCodeSequence = Sequence([inner])
        for parent, keyword in ((dataset, "ProcedureCodeSequence"), (inner, "AnatomicRegionSequence")):
            parent[keyword].is_undefined_length = undefined
            parent[keyword].value[0].is_undefined_length_sequence_item = undefined
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.file_meta.PrivateInformation = CANARY.encode() + b" "
        dataset.file_meta.PrivateInformationCreatorUID = CANARY_UID
        dataset.preamble = CANARY.encode().ljust(128, b"\0")
        data = encoded_as(dataset, syntax)
    output = assert_engines_agree(data)
    assert output is not None
    assert len(nested) > 3000
    for canary in (CANARY, CANARY_UID, CANARY_DATE):
        assert canary.encode().lower() in data.lower()
        assert canary.encode().lower() not in output.lower()
    assert isinstance(release(data, CONTEXT), Released)


def encoded_as(dataset: FileDataset, syntax: str) -> bytes:
    buffer = io.BytesIO()
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(
        buffer, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True, enforce_file_format=False
    )
    return buffer.getvalue()


@pytest.fixture
def chest() -> FileDataset:
    return read(CT.read_bytes())


def test_names_in_japanese_items_are_found_and_taken_out_of_texts(chest: FileDataset) -> None:
    """An item may have a character set of its own, or its parent's."""
    with quietly():
        chest.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        chest.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
        chest.StudyDescription = "山田太郎 胸部CT"
        chest.ProcedureCodeSequence = Sequence([item(CodeMeaning="太郎の胸部", CodeValue="1")])
        utf8 = item(SpecificCharacterSet="ISO_IR 192", CodeMeaning="山田 MRT", CodeValue="2")
        chest.AnatomicRegionSequence = Sequence([utf8])
        output = assert_engines_agree(encode(chest))
        assert output is not None
        copy = pydicom.dcmread(io.BytesIO(output))
    assert copy.StudyDescription == "[removed] 胸部CT"
    assert copy.ProcedureCodeSequence[0].CodeMeaning == "[removed]の胸部"
    assert copy.AnatomicRegionSequence[0].CodeMeaning == "[removed] MRT"


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in FILES if is_part10(path)])
def test_identity_is_read_the_same_from_the_head_alone(path: Path) -> None:
    """The vault keeps what the pydicom engine would have told it, in every character set."""
    try:
        source = opened(path.read_bytes())
    except Invalid:
        return
    assert identity_in(source) == identity_of(read(path.read_bytes()))


def test_two_patients_in_turn_keep_their_own_pseudonyms_and_dates(chest: FileDataset) -> None:
    """What is remembered of one study is not used for another."""
    data = encode(chest)
    for pseudonym, shift in (("RR-AAAAAAAAAA", -70), ("RR-BBBBBBBBBB", 21), ("RR-AAAAAAAAAA", -70)):
        output = assert_engines_agree(data, replace(CONTEXT, pseudonym=pseudonym, date_shift=shift))
        assert output is not None
        assert pseudonym.encode() in output


def test_the_same_bytes_in_another_character_set_are_another_name(chest: FileDataset) -> None:
    """What was read before is recalled only where it would be read the same."""
    western = encode(with_name(chest, "ISO_IR 100", "M\u00fcller"))
    cyrillic = western.replace(b"ISO_IR 100", b"ISO_IR 144")
    for data, name in ((western, "m\u00fcller"), (cyrillic, "m\u045cller"), (western, "m\u00fcller")):
        source = parsed(data)
        assert source is not None
        assert words_in(source) == words_of(read(data))
        assert fold(name) in words_in(source).names
        assert_engines_agree(data)


def with_name(dataset: FileDataset, charset: str, name: str) -> FileDataset:
    dataset.SpecificCharacterSet, dataset.PatientName = charset, name
    return dataset


def test_the_same_private_bytes_of_another_vendor_are_not_kept(chest: FileDataset) -> None:
    """(01F1,xx07) is a table's velocity in Elscint's block; of nobody else is it known to be safe."""
    context = replace(CONTEXT, profile=Profile(options=default().options | {Option.RETAIN_SAFE_PRIVATE}))
    chest.private_block(0x01F1, "ELSCINT1", create=True).add_new(0x07, "DS", "47.11")
    elscint = encode(chest)
    for data, kept in ((elscint, True), (elscint.replace(b"ELSCINT1", b"SOMEBODY"), False), (elscint, True)):
        assert (b"47.11" in (assert_engines_agree(data, context) or b"")) is kept


def test_sequence_that_was_stored_as_unknown_bytes_is_walked(chest: FileDataset) -> None:
    """PS3.5 §6.2.2: UN of undefined length is an implicit sequence, however the rest is encoded."""
    name = struct.pack("<HHI", 0x0010, 0x0010, 10) + b"Nobody^Ann"
    code = struct.pack("<HHI", 0x0008, 0x0100, 4) + b"1234"
    items = struct.pack("<HHI", 0xFFFE, 0xE000, len(code + name)) + code + name
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1032, b"UN", 0, 0xFFFFFFFF) + items + SEQUENCE_END
    output = assert_engines_agree(spliced(encode(chest), 0x00081032, sequence))
    assert output is not None
    [procedure] = pydicom.dcmread(io.BytesIO(output)).ProcedureCodeSequence
    assert (procedure.CodeValue, procedure.PatientName) == ("1234", "RR-ABCDEFGHIJ")


def two_positions(odd: Dataset) -> None:
    odd.PlanePositionSequence.append(odd.PlanePositionSequence[0])


def no_position(odd: Dataset) -> None:
    odd.PlanePositionSequence = Sequence([Dataset()])


def of_undefined_length(odd: Dataset) -> None:
    odd.FrameContentSequence[0].is_undefined_length_sequence_item = True
    odd["PlanePositionSequence"].is_undefined_length = True


# What makes a frame another one than that before it.
ODD_FRAMES: dict[str, Callable[[Dataset], object]] = {
    "another position": lambda odd: setattr(odd.PlanePositionSequence[0], "ImagePositionPatient", ["1", "2", "30.25"]),
    "a comment that names the patient": lambda odd: setattr(odd.FrameContentSequence[0], "FrameComments", CANARY),
    "letters of its own": lambda odd: setattr(odd.FrameContentSequence[0], "SpecificCharacterSet", "ISO_IR 144"),
    "a private element": lambda odd: (
        odd.FrameContentSequence[0].private_block(0x0021, CANARY, create=True).add_new(1, "LO", CANARY)
    ),
    "somebody's name": lambda odd: setattr(odd.FrameContentSequence[0], "PatientName", "Doe^Jo"),
    "a sequence in the sequence": lambda odd: setattr(
        odd.FrameContentSequence[0], "AnatomicRegionSequence", Sequence([item(CodeMeaning=CANARY)])
    ),
    "two positions": two_positions,
    "no position": no_position,
    "undefined lengths": of_undefined_length,
}


@pytest.mark.parametrize("what", ODD_FRAMES)
def test_a_frame_that_is_not_like_the_one_before_is_read_for_itself(chest: FileDataset, what: str) -> None:
    """And so is the one after it; however often the image comes."""
    with quietly():
        frames = [frame(number) for number in range(1, 6)]
        ODD_FRAMES[what](frames[2])
        chest.PatientName, chest.PerFrameFunctionalGroupsSequence = f"{CANARY}^Ann", Sequence(frames)
        data = encode(chest)
        for _ in range(3):
            output = assert_engines_agree(data)
            assert output is not None
            assert CANARY.encode().lower() not in output.lower()
            copy = pydicom.dcmread(io.BytesIO(output))
            found = [each.FrameContentSequence[0].InStackPositionNumber for each in copy[PER_FRAME].value]
            assert found == [1, 2, 3, 4, 5]


def test_what_came_again_often_is_read_anew_where_it_changes(chest: FileDataset) -> None:
    """Whatever was recalled in one piece before."""
    with quietly():
        for thickness in ("5", "5", "5", "5", "2.5", "5", "2.5", "7.25", "7.25", "7.25", "7.25", "5"):
            chest.SliceThickness, chest.SeriesDescription = thickness, f"{thickness} mm"
            output = assert_engines_agree(encode(chest))
            assert output is not None
            copy = pydicom.dcmread(io.BytesIO(output))
            assert (str(copy.SliceThickness), copy.SeriesDescription) == (thickness, f"{thickness} mm")


@pytest.mark.parametrize("vr", ["AS", "LO", "DS"])
@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_no_copy_leaves_without_the_uids_that_name_it(chest: FileDataset, keyword: str, vr: str) -> None:
    """Under another VR than UI they are not passed on."""
    tag = struct.pack("<HH", *divmod(tag_for_keyword(keyword) or 0, 0x10000))
    data = encode(chest).replace(tag + b"UI", tag + vr.encode())
    assert release(data, CONTEXT) == Quarantined(("uid-missing",))
    assert deidentify(read(data), CONTEXT) == Quarantined(("uid-missing",))


def test_compressed_frames_are_passed_on_as_they_are(chest: FileDataset) -> None:
    fragments = encapsulate([b"\xff\xd8first\xff\xd9", b"\xff\xd8second\xff\xd9 "])
    chest.PixelData = fragments
    chest["PixelData"].is_undefined_length = True
    chest.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    output = assert_engines_agree(encode(chest))
    assert output is not None
    assert output.endswith(fragments + SEQUENCE_END)


def test_pixels_are_a_view_of_the_input_and_nothing_follows_them(chest: FileDataset) -> None:
    data = encode(chest)
    source = parsed(data)
    assert source is not None
    outcome = rewritten(source, CONTEXT)
    assert isinstance(outcome, Rewritten)
    assert isinstance(outcome.output.pixels, memoryview)
    assert outcome.output.pixels.obj is data
    assert bytes(outcome.output.pixels).endswith(chest.PixelData)


def test_verifier_sees_what_was_put_behind_the_pixels(chest: FileDataset) -> None:
    data = encode(chest)
    released = release(data, CONTEXT)
    assert isinstance(released, Released)
    assert verify(Words(), released.data) == []
    assert verify(Words(), released.data + CANARY.encode()) == ["trailer"]
    assert verify(Words(), released.data[:-2]) == ["trailer"]


def spliced(data: bytes, tag: int, element: bytes) -> bytes:
    """The file with these bytes in front of the first top-level element after `tag`, in place of what was there."""
    source = parsed(data)
    assert source is not None
    found = [(each, data.index(bytes(raw)), len(raw)) for each, _, raw, *_ in source.dataset.elements if raw]
    before = max(at + length for each, at, length in found if each < tag)
    after = min(at for each, at, _ in found if each > tag)
    return data[:before] + element + data[after:]


# ── what is malformed or hostile ─────────────────────────────────────────────────────────────────────

PROCEDURE = 0x00081032
SEQUENCE = struct.pack("<HH2sHI", 8, 0x1032, b"SQ", 0, 0xFFFFFFFF)
ITEM, ITEM_END, SEQUENCE_END = (
    bytes.fromhex(text) for text in ("feff00e0ffffffff", "feff0de000000000", "feffdde000000000")
)

# Tag and bytes of an element whose lengths or sizes are meant to hurt.
HOSTILE: dict[str, Callable[[], tuple[int, bytes]]] = {
    "value longer than the file": lambda: (
        PROCEDURE,
        struct.pack("<HH2sHI", 8, 0x1032, b"UT", 0, 0x7FFFFFFF) + b"short",
    ),
    "item longer than its sequence": lambda: (
        PROCEDURE,
        struct.pack("<HH2sHI", 8, 0x1032, b"SQ", 0, 8) + ITEM[:4] + b"\xff\0\0\0",
    ),
    "sequence without end": lambda: (PROCEDURE, SEQUENCE + ITEM),
    "ten thousand sequences, each in the one before": lambda: (PROCEDURE, (SEQUENCE + ITEM) * 10_000),
    "forty levels": lambda: (PROCEDURE, (SEQUENCE + ITEM) * 40 + (ITEM_END + SEQUENCE_END) * 40),
    "a million items": lambda: (PROCEDURE, SEQUENCE + (ITEM[:4] + bytes(4)) * 1_000_000),
    "eight million codes": lambda: (
        0x00080119,
        struct.pack("<HH2sHI", 8, 0x119, b"UC", 0, 16_000_000) + b"A\\" * 8_000_000,
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_lengths_end_in_quarantine_soon_and_in_little_memory(chest: FileDataset, what: str) -> None:
    data = spliced(encode(chest), *HOSTILE[what]())
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    assert release(data, CONTEXT) == Quarantined(("unreadable",))
    assert time.process_time() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10  # KiB


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "1.",
        "a.",
        "1 ",
        "+4 ",
        "Dr. ",
        "tel ",
        "jan ",
        "(0",
        "x-",
        "A^",
        "mrn ",
        "acc#",
        "may ",
        "1 may",
        "on 1.",
        "Erika ",
        "Rose",
        "e_",
        "\u4e00",
    ],
)
def test_no_long_text_makes_the_cleaner_slow(text: str) -> None:
    """Patterns that walk back would need hours for this."""
    started = time.process_time()
    words = Words.of(names=["Musterfrau^Erika", "May^Rose"], identifiers=["MRN-1", "a 1"], dates=["19690312"])
    words.clean(text * (200_000 // len(text)))
    assert time.process_time() - started < 10


def test_what_is_recalled_of_headers_does_not_grow_with_private_blocks_without_end(chest: FileDataset) -> None:
    """Of so many creators that to remember each with those before it would take gigabytes."""
    blocks = [
        struct.pack("<HH2sH", group, number, b"LO", 4) + b"%04d" % number
        for group in range(0x0009, 0x0109, 2)
        for number in range(0x10, 0x60)
    ]
    data = spliced(encode(chest), PROCEDURE, b"".join(blocks))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parsed(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


def test_deflated_bomb_ends_in_quarantine(chest: FileDataset) -> None:
    """320 MiB of zeros in 320 KiB."""
    chest.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data = encode(chest)
    end = 144 + int.from_bytes(data[140:144], "little")
    pack = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = bytes(16 << 20)
    bomb = b"".join([*(pack.compress(block) for _ in range(20)), pack.flush()])
    assert isinstance(release(data, CONTEXT), Released)
    assert release(data[:end] + bomb, CONTEXT) == Quarantined(("unreadable",))


COPIED = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "StudyDate", "PatientAge",
    "BitsAllocated", "SamplesPerPixel", "PhotometricInterpretation",
)  # fmt: skip


def frame(number: int, **others: object) -> Dataset:
    """What an enhanced image says of one of its frames."""
    content = item(FrameAcquisitionDateTime=f"20240304{number:06}", StackID="1", InStackPositionNumber=number, **others)
    position = item(ImagePositionPatient=["-180", "-180", f"{number}.5"])
    return item(FrameContentSequence=Sequence([content]), PlanePositionSequence=Sequence([position]))


def tiny() -> bytes:
    """A whole image in less than a kilobyte of everything: text, numbers, UIDs, sequences, private elements, frames."""
    with quietly():
        source = read(CT.read_bytes())
        made = FileDataset(None, {}, file_meta=source.file_meta, preamble=bytes(128))
        for keyword in COPIED:
            made[keyword] = source[keyword]
        made.PatientName, made.PatientID, made.StudyDescription = f"{CANARY}^Ann", "4711-0815", f"CT of {CANARY}"
        made.SpecificCharacterSet, made.SliceThickness, made.Rows, made.Columns = "ISO_IR 100", "1.25", 2, 2
        made.ProcedureCodeSequence = Sequence([item(CodeValue="1", CodeMeaning="chest", PatientName="Doe^Jo")])
        made.private_block(0x0011, "SOMEBODY", create=True).add_new(1, "LO", CANARY)
        made.PerFrameFunctionalGroupsSequence = Sequence([frame(number) for number in (1, 2)])
        made.PixelData = bytes(8)
        return encode(made)


TINY = tiny()
MUTATIONS = st.lists(
    st.tuples(
        st.integers(132, len(TINY) - 1),
        st.one_of(
            st.binary(min_size=1, max_size=4),
            st.sampled_from(
                [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xfe\xff\0\xe0", b"\xfe\xff\xdd\xe0", b"SQ", b"UN", b"\\"]
            ),
        ),
        st.sampled_from(["write", "insert", "delete", "cut"]),
    ),
    min_size=1,
    max_size=4,
)


def mutated(data: bytes, mutations: list[tuple[int, bytes, str]]) -> bytes:
    for at, what, how in mutations:
        tail = {"write": at + len(what), "insert": at, "delete": at + len(what), "cut": len(data)}[how]
        data = data[:at] + (what if how in {"write", "insert"} else b"") + data[tail:]
    return data


@seed(20260412)
@settings(max_examples=1000, suppress_health_check=list(HealthCheck))
@given(MUTATIONS)
def test_a_damaged_file_leaves_clean_or_not_at_all(mutations: list[tuple[int, bytes, str]]) -> None:
    """Never an exception; and what leaves is what pydicom's engine would have let out, or less."""
    outcome = release(mutated(TINY, mutations), CONTEXT)
    assert isinstance(outcome, (Released, Quarantined))
    if isinstance(outcome, Released):
        assert outcome.data[:128] == bytes(128)
        assert outcome.dataset.PatientIdentityRemoved == "YES"


@seed(20260413)
@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            st.integers(TINY.index(b"ISO_IR"), len(TINY) - 1),
            st.one_of(
                st.binary(min_size=1, max_size=2), st.sampled_from([b"\\", b"=", b"UN", b"DS", b"\x1b$B", b" \0"])
            ),
            st.just("write"),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_both_engines_make_the_same_of_a_damaged_file(mutations: list[tuple[int, bytes, str]]) -> None:
    """As far as both take it; what pydicom's engine trips over is quarantined by both."""
    data = mutated(TINY, mutations)
    with contextlib.suppress(Invalid, Unusual):
        if parsed(data) is None:
            return
        try:
            assert_engines_agree(data)
        except (TypeError, AttributeError):
            assert isinstance(release(data, CONTEXT), Quarantined)
