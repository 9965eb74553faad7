"""Which frames of a cine are looked at, and where: one of each stretch, and what shines up anywhere within it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from radrelay_anonymize.pixels.frames import Box, Film, Picture

FEW = 12  # frames that are all looked at
STRETCH = 12  # frames; with more than `MOST` stretches they grow longer
MOST = 12
CHANGED = 16  # of 255


class Glance(NamedTuple):
    """A picture, and the part of it that differs from what was seen before."""

    picture: Picture
    part: Box


def glances(film: Film) -> Iterator[Glance]:
    """Every frame of a short film; of a longer one each stretch's first, its brightest pixels, and the very last."""
    long = 1 if film.count <= FEW else max(STRETCH, -(-film.count // MOST))
    seen: list[Picture] = []
    bright: list[Picture] = []
    for number, frame in enumerate(film.frames()):
        shown = film.pictures(frame)
        bright = [np.maximum(*each) for each in zip(bright, shown, strict=True)] if bright else shown
        last = number == film.count - 1
        if number % long == 0 or last:
            yield from _news(seen, shown)
            seen = shown
        if long > 1 and (number % long == long - 1 or last):
            yield from _news(seen, bright)
            bright = []


def samples(film: Film, most: int = 2) -> Iterator[Glance]:
    """Evenly between the first frame and the last, other ones than `glances` begins with."""
    wanted = sorted({(2 * each + 1) * film.count // (2 * most) for each in range(most)})
    for frame in film.frames(wanted):
        yield from _news([], film.pictures(frame))


def _news(seen: list[Picture], shown: list[Picture]) -> Iterator[Glance]:
    for number, picture in enumerate(shown):
        rows, columns = picture.shape[:2]
        part = changed(seen[number], picture) if seen else Box(0, 0, rows, columns)
        if part.area:
            yield Glance(picture, part)


def changed(one: Picture, other: Picture) -> Box:
    """The rectangle around every pixel that differs clearly; an empty box if none does."""
    apart = (np.maximum(one, other) - np.minimum(one, other) > CHANGED).any(axis=2)
    rows, columns = np.flatnonzero(apart.any(axis=1)), np.flatnonzero(apart.any(axis=0))
    if not rows.size:
        return Box(0, 0, 0, 0)
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
