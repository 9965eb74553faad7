"""The second reader: it takes what the rewriter writes, sees in it what pydicom sees, and nothing hides from it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from radrelay_anonymize.domain import Context, Released, Words, encode, read, release, verify, words_of
from radrelay_anonymize.domain.pieces import Output
from radrelay_anonymize.domain.profile import Option, Profile, default
from radrelay_anonymize.domain.search import in_bytes
from radrelay_anonymize.domain.strict import Odd, seen
from radrelay_anonymize.domain.verify import by_pydicom, by_second_reader, inspected
from radrelay_shared.dicom.reading import elements, quietly
from radrelay_shared.errors import Invalid
from real_files import FILES, PYDICOM

CONTEXT = Context(secret=b"tenant secret of these tests", pseudonym="RR-ABCDEFGHIJ", date_shift=-70, words=Words())
SAFE_PRIVATE = Profile(options=default().options | {Option.RETAIN_SAFE_PRIVATE})
NAME = "Musterfrau"

# Copies that are big endian or deflated are read by pydicom alone.
FOR_PYDICOM = {
    "ExplVR_BigEnd.dcm", "MR_small_bigendian.dcm", "MR_small_expb.dcm", "SC_rgb_small_odd_big_endian.dcm",
    "image_dfl.dcm", "liver_expb_1frame.dcm", "rtdose_expb.dcm", "rtdose_expb_1frame.dcm",
}  # fmt: skip


@pytest.fixture
def copy() -> FileDataset:
    """A copy of a chest CT, as pydicom reads it."""
    released = release((PYDICOM / "test_files/CT_small.dcm").read_bytes(), CONTEXT)
    assert isinstance(released, Released)
    return read(released.data)


def in_utf8(path: Path) -> bytes | None:
    """The file with all its identity, as plainly written as a copy; None if it cannot be."""
    try:
        with quietly():
            dataset = read(path.read_bytes())
            dataset.decode()
            dataset.SpecificCharacterSet = "ISO_IR 192"
            for _ in elements(dataset):
                pass  # so that all of them are written anew
            data = encode(dataset)
            seen(Output(data))
    except (Invalid, Odd, AttributeError, ValueError, UnicodeError):
        return None
    return data


def test_both_readers_find_the_same_identity_in_files_that_are_full_of_it() -> None:
    compared, found = 0, 0
    for data in filter(None, (in_utf8(path) for path in FILES)):
        with quietly(), contextlib.suppress(Odd):  # an icon's pixels in a sequence
            words = words_of(read(data))
            ours = by_second_reader(words, seen(Output(data)), SAFE_PRIVATE).evidence
            assert ours == by_pydicom(words, data, SAFE_PRIVATE).evidence
            compared, found = compared + 1, found + len(ours)
    assert compared > 130
    assert found > 1000


def test_every_copy_in_little_endian_is_read_by_the_second_reader_up_to_its_last_byte() -> None:
    left_to_pydicom = set()
    for path in FILES:
        released = release(path.read_bytes(), CONTEXT)
        if isinstance(released, Released):
            try:
                assert seen(released.output).is_whole
            except Odd:
                left_to_pydicom.add(path.name)
    assert left_to_pydicom == FOR_PYDICOM


def item(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def hidden(change: Callable[[FileDataset], object]) -> Callable[[FileDataset], bytes]:
    def changed(dataset: FileDataset) -> bytes:
        change(dataset)
        return encode(dataset)

    return changed


def replaced(old: bytes, new: bytes) -> Callable[[FileDataset], bytes]:
    return lambda dataset: encode(dataset).replace(old, new, 1)


# How a name or a UID of the original might get into a copy, and what is said of it.
LEAKS: dict[str, tuple[Callable[[FileDataset], bytes], set[str]]] = {
    "in a description": (hidden(lambda copy: setattr(copy, "StudyDescription", f"CT of {NAME}")), {"name:00081030"}),
    "glued to a number, in an item": (
        hidden(lambda copy: setattr(copy, "ProcedureCodeSequence", Sequence([item(CodeMeaning="MRN 4711-0815")]))),
        {"identifier:00080104"},
    ),
    "in a reference two levels down": (
        hidden(
            lambda copy: setattr(
                copy,
                "ReferencedStudySequence",
                Sequence([item(ReferencedImageSequence=Sequence([item(ReferencedSOPInstanceUID="1.2.3.4.5.6")]))]),
            )
        ),
        {"uid:00081155"},
    ),
    "in a private element": (
        hidden(lambda copy: copy.private_block(0x0011, "SOMEBODY", create=True).add_new(1, "LO", "nothing")),
        {"private:00110010", "private:00111001"},
    ),
    "in the preamble": (lambda copy: NAME.encode().ljust(128, b"\0") + encode(copy)[128:], {"preamble", "raw:name"}),
    "in the file meta": (replaced(b"RADRELAY", b"Abcdefgh"), {"name:00020013", "raw:name"}),
    "behind the pixels": (lambda copy: encode(copy) + b"xyz ", {"trailer"}),
    "as another instance's file meta": (
        lambda copy: encode(copy).replace(copy.SOPInstanceUID.encode(), b"1" * len(copy.SOPInstanceUID), 1),
        {"meta-mismatch:00020003"},
    ),
    "without the mark": (replaced(b"YES ", b"NO  "), {"marker:PatientIdentityRemoved"}),
}  # fmt: skip


@pytest.mark.parametrize("where", LEAKS)
def test_what_got_into_a_copy_after_all_is_found(copy: FileDataset, where: str) -> None:
    change, expected = LEAKS[where]
    words = Words.of(names=[f"{NAME}^Erika", "Abcdefgh"], identifiers=["47110815"], uids=["1.2.3.4.5.6"])
    assert verify(words, encode(copy)) == []
    assert expected <= set(verify(words, change(copy)))


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"\0quillfeather\xff", True),
        (b"xquillfeather", False),
        (b"quillfeather2", False),
        (b"by o'shaughnessy.", True),
        (b"ao'shaughnessy", False),
        (b"ng", False),
    ],
)
def test_a_name_in_bytes_is_a_whole_word_that_chance_does_not_write(raw: bytes, *, found: bool) -> None:
    words = Words(names=frozenset({"quillfeather", "o'shaughnessy", "ng"}))
    assert list(in_bytes(words, raw)) == (["raw:name"] if found else [])


def test_copies_that_differ_in_one_byte_are_each_read_as_pydicom_reads_them() -> None:
    """Wherever it is: in a tag, a VR, a length, or a value; and although one was read that is as long."""
    released = release((PYDICOM / "test_files/CT_small.dcm").read_bytes(), CONTEXT)
    assert isinstance(released, Released)
    words = Words.of(names=[f"{NAME}^Erika"])
    head, pixels = released.output.head, released.output.pixels
    for at in range(132, len(head), 5):
        assert inspected(words, released.output, default()).evidence == []
        other = Output(head[:at] + bytes([head[at] ^ 1]) + head[at + 1 :], pixels)
        with quietly():
            assert inspected(words, other, default()).evidence == by_pydicom(words, other.data, default()).evidence, at


def test_a_uid_that_is_found_once_is_not_remembered_as_clean(copy: FileDataset) -> None:
    """UIDs are other words in each instance, although the bytes around them are the same."""
    copy.StudyDescription = "after 1.2.3.4.5.6"
    data = encode(copy)
    assert verify(Words(), data) == []
    assert "uid:00081030" in verify(Words.of(uids=["1.2.3.4.5.6"]), data)
    assert verify(Words(), data) == []
