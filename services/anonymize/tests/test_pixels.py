"""Identity in pixel data: what hides in streams and bits, and burned-in text that is found and hidden."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset

from burned import WHO, Hand, background, burned, encoded, grey8, instance, jpeg, jpeg_2000, written
from radrelay_anonymize.domain import Context, Quarantined, Released, Words, release
from radrelay_anonymize.domain.overlay import stays
from radrelay_anonymize.domain.profile import packaged
from radrelay_anonymize.pixels import Wash, without_identity
from radrelay_anonymize.pixels.eyes import Eyes
from radrelay_anonymize.pixels.frames import Box, Film
from radrelay_anonymize.pixels.task import Task, Washed
from radrelay_anonymize.pixels.worker import Washer
from radrelay_shared.errors import Retryable

SECRET = b"MRN 00441239 Quillfeather"
ZENOBIA = Words.of(names=(WHO["PatientName"],), identifiers=(WHO["PatientID"],), dates=(WHO["PatientBirthDate"],))


@pytest.fixture(scope="module")
def washer() -> Iterator[Washer]:
    washer = Washer()
    yield washer
    washer.close()


@pytest.fixture
def basic(context: Context) -> Context:
    """A profile that does not look at pictures; the default one does."""
    return replace(context, profile=packaged("basic"))


def unasked(_: Task) -> Washed:
    raise AssertionError("this needs no look at the decoded pixels")


def outcome(data: bytes, context: Context, wash: Wash = unasked) -> Released | Quarantined:
    found = release(data, context)
    assert isinstance(found, Released), found
    return without_identity(found, context, wash)


def shown(data: bytes) -> FileDataset:
    return pydicom.dcmread(io.BytesIO(data))


def test_a_comment_inside_a_jpeg_frame_is_blanked_and_the_picture_is_the_same(basic: Context) -> None:
    source = jpeg(background("fan", 64, 64, 1).astype(np.uint8), comment=SECRET)
    data = encoded(source)
    assert SECRET in data
    made = outcome(data, basic)
    assert isinstance(made, Released)
    assert SECRET not in made.data
    assert len(shown(made.data).PixelData) == len(shown(data).PixelData)
    assert np.array_equal(shown(made.data).pixel_array, shown(data).pixel_array)


@pytest.mark.parametrize(("boxed", "tail"), [
    (False, b""), (True, b""), (True, (8 + len(SECRET)).to_bytes(4, "big") + b"xml " + SECRET), (True, SECRET),
])  # fmt: skip
def test_comments_boxes_and_a_tail_of_a_jpeg_2000_frame_are_blanked_and_the_picture_is_the_same(
    basic: Context, tail: bytes, *, boxed: bool
) -> None:
    source = jpeg_2000(background("fan", 64, 64, 1), comment=SECRET, boxed=boxed, tail=tail)
    data = encoded(source)
    made = outcome(data, basic)
    assert isinstance(made, Released)
    assert SECRET in data
    assert SECRET not in made.data
    assert len(shown(made.data).PixelData) == len(shown(data).PixelData)
    assert np.array_equal(shown(made.data).pixel_array, shown(data).pixel_array)


def test_text_in_bits_that_no_viewer_shows_is_cleared(basic: Context) -> None:
    grey = background("slice", 64, 64, 1).astype(np.uint16)
    hidden = np.resize(np.frombuffer(SECRET, np.uint8) >> 4, grey.shape).astype(np.uint16) << 12
    data = encoded(instance((grey | hidden)[None], "1.2.840.10008.5.1.4.1.1.2", BitsStored=12, HighBit=11))
    made = outcome(data, basic)
    assert isinstance(made, Released)
    assert np.array_equal(shown(made.data).pixel_array, grey)


def test_an_image_without_anything_hidden_keeps_its_very_bytes(basic: Context, chest_ct: FileDataset) -> None:
    found = release(encoded(chest_ct), basic)
    assert isinstance(found, Released)
    assert without_identity(found, basic, unasked) is found


@pytest.mark.parametrize(("text", "may_stay"), [
    ("MI 0.6  TIS 0.2", True), ("PSV 59.3 cm/s", True), ("Right Kidney", True), ("L12-5", True), ("75 bpm", True),
    ("c5-1", True), ("MIO.6 TISO.2", True), ("MARCO.5", False), ("5-1", False),
    ("QUILLFEATHER", False), ("ZQ-7788l2", False), ("04/07/1951", False), ("12:03:44 PM", False), ("00441239", False),
    ("Dr. Marlowe", False), ("Bozeman General", False), ("Li Wu", False), ("0l.O3.2025", False),
])  # fmt: skip
def test_measures_and_clinical_words_stay_and_what_may_name_somebody_goes(text: str, *, may_stay: bool) -> None:
    assert stays(text, 0.95, ZENOBIA) is may_stay


def test_what_cannot_be_read_with_confidence_does_not_stay() -> None:
    assert not stays("Kidney", 0.4, ZENOBIA)


def test_a_patient_who_is_called_like_a_clinical_word_is_hidden() -> None:
    assert not stays("Long axis", 0.95, Words.of(names=("Long^Anna",)))


@pytest.mark.parametrize(("form", "kind", "size", "inverse", "turned"), [
    ("rgb", "fan", 14, False, False),
    ("light_on_dark_as_monochrome1", "film", 11, True, False),
    ("jpeg", "fan", 14, False, True),
    ("palette", "slice", 18, True, True),
    ("cine", "fan", 22, False, False),
])  # fmt: skip
def test_lines_that_name_somebody_are_hidden_in_every_frame_that_leaves(
    form: str,
    kind: str,
    size: int,
    *,
    inverse: bool,
    turned: bool,
    context: Context,
    washer: Washer,
) -> None:
    drawn = burned(form, kind, size, inverse=inverse, turned=turned, shape=(400, 560))
    made = outcome(drawn.data, context, washer)
    assert isinstance(made, Released)
    copy = shown(made.data)
    assert copy.BurnedInAnnotation == "NO"
    assert "113101" in {each.CodeValue for each in copy.DeidentificationMethodCodeSequence}
    film = Film(copy)
    pictures = [film.pictures(frame)[0] for frame in film.frames()]
    for top, left, bottom, right in (line.box for line in drawn.lines if line.names_somebody):
        glyphs = drawn.glyphs[top:bottom, left:right]
        assert all((each[top:bottom, left:right][glyphs] > 60).mean() < 0.02 for each in pictures)


def test_hardly_anything_but_the_lines_is_hidden(context: Context, washer: Washer) -> None:
    drawn = burned("grey8", "fan", 14, turned=True)
    made = outcome(drawn.data, context, washer)
    assert isinstance(made, Released)
    changed = shown(made.data).pixel_array != shown(drawn.data).pixel_array
    for top, left, bottom, right in (line.box for line in drawn.lines):
        changed[top:bottom, left:right] = False
    assert 0 < changed.mean() < 0.005


@pytest.mark.parametrize(("size", "inverse"), [(9, False), (14, False), (22, True)])
def test_words_are_read_apart_though_the_reader_learned_a_script_without_spaces(size: int, *, inverse: bool) -> None:
    image = Image.fromarray(background("film", 60, 400, 1).astype(np.uint8))
    top, left, bottom, right = written(image, "ERECT PA CHEST", (30, 20), Hand().sized(size), inverse=inverse)
    picture = np.repeat(np.asarray(image)[..., None], 3, axis=2)
    text, _ = Eyes().read(picture, Box(top - 4, left - 4, bottom + 4, right + 4))
    assert text.split() == ["ERECT", "PA", "CHEST"]


def test_an_image_without_text_keeps_its_very_bytes_and_says_nothing_of_cleaning(
    context: Context, washer: Washer
) -> None:
    found = release(encoded(grey8(background("film", 400, 400, 1))), context)
    assert isinstance(found, Released)
    assert without_identity(found, context, washer) is found
    assert "113101" not in {each.CodeValue for each in found.dataset.DeidentificationMethodCodeSequence}


def test_declared_text_that_is_not_found_waits_for_a_person(context: Context, washer: Washer) -> None:
    blank = grey8(background("fan", 200, 200, 1))
    blank.BurnedInAnnotation = "YES"
    assert outcome(encoded(blank), context, washer) == Quarantined(("burned-in-annotation",))


def test_a_process_that_takes_too_long_is_ended_and_the_image_waits(context: Context) -> None:
    washer = Washer(seconds=0.001)
    held = outcome(burned("grey8", "fan", 14, shape=(400, 560)).data, context, washer)
    washer.close()
    assert held == Quarantined(("pixels-timeout",))


def test_a_process_that_takes_no_task_any_more_is_ended_and_the_image_waits(context: Context) -> None:
    washer = Washer()
    outcome(encoded(grey8(background("film", 64, 64, 1))), context, washer)
    assert washer.process is not None
    assert washer.process.pid is not None
    os.kill(washer.process.pid, signal.SIGSTOP)
    washer.seconds = 0.2
    larger_than_a_pipe = encoded(grey8(background("film", 1200, 1200, 1)))
    assert outcome(larger_than_a_pipe, context, washer) == Quarantined(("pixels-timeout",))
    washer.close()


def test_a_process_that_was_killed_is_replaced_and_the_image_is_cleaned_all_the_same(
    context: Context, washer: Washer
) -> None:
    blank = encoded(grey8(background("film", 64, 64, 1)))
    outcome(blank, context, washer)
    assert washer.process is not None
    washer.process.kill()
    washer.process.wait()
    assert isinstance(outcome(blank, context, washer), Released)


def test_a_service_on_its_way_down_judges_no_image(context: Context) -> None:
    washer = Washer()
    washer.close()
    with pytest.raises(Retryable):
        outcome(encoded(grey8(background("film", 64, 64, 1))), context, washer)
    assert washer.process is None
