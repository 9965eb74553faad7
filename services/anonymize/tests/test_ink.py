"""What of a box is hidden: all of a line's ink, and hardly more."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from burned import HALF, background
from radrelay_anonymize.pixels.frames import Box, Picture
from radrelay_anonymize.pixels.ink import fitted

SIZE = 22
FONT = ImageFont.load_default(SIZE)
AT = (60, 40)


def written(text: str, kind: str, *, inverse: bool = False) -> tuple[Picture, Box]:
    """A picture with this line, and the rectangle around its ink."""
    image = Image.fromarray(background(kind, 120, 400, 1).astype(np.uint8))
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).text(AT, text, font=FONT, fill=255)
    left, top, right, bottom = mask.point(lambda value: 255 * (value > HALF)).getbbox() or (0, 0, 0, 0)
    pen = ImageDraw.Draw(image)
    if inverse:
        pen.rectangle((left - 3, top - 3, right + 2, bottom + 2), fill=230)
    pen.text(AT, text, font=FONT, fill=10 if inverse else 245)
    return np.repeat(np.asarray(image)[..., None], 3, axis=2), Box(top, left, bottom, right)


def mirrored(box: Box) -> Box:
    return Box(box.left, box.top, box.right, box.bottom)


@pytest.mark.parametrize("kind", ["fan", "film", "slice"])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("text", ["QUILLFEATHER, ZENOBIA", "Dr. Marlowe, T.", "ID: ZQ-778812", "12:03:44 PM"])
def test_a_generous_box_shrinks_to_the_ink_of_its_line(kind: str, text: str, *, inverse: bool, turned: bool) -> None:
    picture, ink = written(text, kind, inverse=inverse)
    generous = ink.wider(6, 8)
    if turned:
        picture, ink, generous = picture.swapaxes(0, 1), mirrored(ink), mirrored(generous)
    made = fitted(picture, generous)
    assert made.covers(ink, 0.97)
    assert ink.wider(2, 3).covers(made, 1)


@pytest.mark.parametrize("inverse", [False, True])
def test_a_box_that_ends_too_early_grows_up_to_the_end_of_its_line(*, inverse: bool) -> None:
    picture, ink = written("Dr. Marlowe, T.", "fan", inverse=inverse)
    short = ink.wider(5, 0)._replace(left=ink.left + 15, right=ink.right - 25)
    assert fitted(picture, short).covers(ink, 0.97)


def test_it_does_not_grow_into_another_word_of_the_same_height_far_off() -> None:
    picture, near = written("Zenobia", "film")
    other, _ = written("Zenobia           Liver", "film")
    made = fitted(np.maximum(picture, other), near.wider(5, 6))
    assert near.wider(2, 3).covers(made, 1)


@pytest.mark.parametrize("box", [Box(30, 60, 60, 160), Box(0, 0, 24, 40), Box(90, 390, 120, 400), Box(10, 10, 14, 12)])
def test_a_box_without_a_line_in_it_is_hidden_as_it_is(box: Box) -> None:
    flat: Picture = np.full((120, 400, 3), 80, np.uint8)
    assert fitted(flat, box).covers(box, 1)


def test_a_box_around_two_lines_loses_neither() -> None:
    picture, ink = written("Quillfeather\nZenobia", "film")
    assert fitted(picture, ink.wider(5, 8)).covers(ink, 0.97)
