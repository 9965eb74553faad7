"""Where a line's ink ends: a detector's box is generous at the sides, and at the ends sometimes short."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from radrelay_anonymize.pixels.frames import Box, Picture

Mask = Any  # an array of booleans, rows x columns
Tone = Any  # an array of numbers, rows x columns
Grey = Any  # an array of whole numbers, rows x columns

MARGIN = 1  # pixels around the ink that are hidden with it: its blurred edge
UNSURE = 1, 4  # pixels on the sides and at the ends of a box in which no line of ink was made out
WIDEST = 64  # pixels to each side, of which a line's paper is the median
REACH = 2.0  # heights beyond a box's ends in which its line may go on
SPACE = 0.5  # heights without ink, after which a line is over
STEM, BARE = 0.15, 0.35  # so many heights beside a glyph there is paper, in such a share of all pixels
LEAST = 0.3  # of the box's height; what is thinner is not the line that the detector saw
FEW = 0.2  # of the ink in a line's fullest row: where there is less a line's body is over
HALF, INKED, STRONG = 0.5, 0.6, 0.8  # of the way from paper to ink
DARKEST, FAINT = 75, 16  # percentile of a line's pixels that is taken for its ink; the least contrast, of 255
SPECK = 0.07  # of a line's height; less ink than that in a column is none


def fitted(picture: Picture, box: Box) -> Box:
    """The rectangle around all ink of the line in a detected box, wherever it ends; the box where that is not clear."""
    if box.height > box.width:
        return _mirrored(fitted(picture.swapaxes(0, 1), _mirrored(box)))
    whole = Box(0, 0, *picture.shape[:2])
    around = box.wider(2, round(REACH * box.height)).common(whole)
    part = picture[around.top : around.bottom, around.left : around.right]
    inner = _moved(box, -around.top, -around.left)
    found = _line(part, inner)
    if found is None:
        return box.wider(*UNSURE).common(whole)
    return _moved(found, around.top, around.left).wider(MARGIN, MARGIN).common(whole)


def _line(part: Picture, box: Box) -> Box | None:
    inset = min(box.height // 2, box.width // 4)
    core = slice(box.left + inset, box.right - inset)
    tone, top, bottom = _toned(part, box, core)
    if top < box.top - 1 or bottom > box.bottom + 1:
        return None
    top, bottom = _grown(tone[:, core] > HALF, max(top, 0), min(bottom, len(part)), box)
    if bottom - top < LEAST * box.height:
        return None
    left, right = _ends(tone[top:bottom], core)
    if left < box.left - inset or right > box.right + inset:
        top, bottom = _grown(tone[:, left:right] > HALF, top, bottom, box)
    return Box(top, left, bottom, right)


def _toned(part: Picture, box: Box, core: slice) -> tuple[Tone, int, int]:
    """The picture from 0 for paper to 1 for ink, and the rows that the line's body takes, outside of it if endless.

    Light or dark, ink is what ends above and below.
    """
    inside = part[box.top : box.bottom, core].reshape(-1, part.shape[2])
    grey = part[..., int(inside.std(axis=0).argmax())].astype(np.int16)  # the colour with most contrast
    paper = _paper(grey, box, core)
    apart = grey - paper
    light = apart[:, core] > _otsu(apart[box.top : box.bottom, core])
    bodies = [(_body(mask, box), mask, sign) for mask, sign in ((light, 1), (~light, -1))]
    (top, bottom), mask, sign = min(bodies, key=lambda each: each[0][1] - each[0][0])
    body = slice(max(top, 0), bottom)
    inked = grey[body, core][mask[body]]
    ink = sign * np.percentile(sign * inked, DARKEST) if inked.size else 0
    return apart / np.where(np.abs(ink - paper) < FAINT, sign * FAINT, ink - paper), top, bottom


def _paper(grey: Grey, box: Box, core: slice) -> Grey:
    """The ground of each column, which may be tissue of any shade: the median around it, for ink covers less than half.

    Beyond the core it is taken to go on as it ends there.
    """
    columns = np.median(grey[box.top : box.bottom, core], axis=0)
    reach = min(box.height // 2, WIDEST, (len(columns) - 1) // 2)
    found = np.median(np.lib.stride_tricks.sliding_window_view(columns, 2 * reach + 1), axis=1).astype(np.int16)
    before = core.start + reach
    return np.pad(found, (before, grey.shape[1] - before - len(found)), mode="edge")


def _otsu(grey: Grey) -> int:
    """The level that parts the values best in two."""
    least = int(grey.min())
    counts = np.bincount(grey.ravel() - least).astype(float)
    below = counts.cumsum()
    above = below[-1] - below
    sums = (counts * np.arange(len(counts))).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return least + int(np.nan_to_num(apart).argmax())


def _body(mask: Mask, box: Box) -> tuple[int, int]:
    """The rows around the box's middle one in which there is not little of it."""
    middle, quarter = (box.top + box.bottom) // 2, max(1, box.height // 4)
    share = mask.mean(axis=1)
    few = share < FEW * share[middle - quarter : middle + quarter].max()
    above, below = np.flatnonzero(few[:middle]), np.flatnonzero(few[middle:])
    return (int(above[-1]) + 1 if above.size else -1), (middle + int(below[0]) if below.size else len(mask) + 1)


def _grown(ink: Mask, top: int, bottom: int, box: Box) -> tuple[int, int]:
    """With what hangs from the body or stands on it, within the box."""
    while top > max(box.top - 1, 0) and _touches(ink[top], ink[top - 1]):
        top -= 1
    while bottom < min(box.bottom + 1, len(ink)) and _touches(ink[bottom - 1], ink[bottom]):
        bottom += 1
    return top, bottom


def _touches(row: Mask, beyond: Mask) -> bool:
    wide = np.pad(row, 1)
    return bool((beyond & (wide[:-2] | wide[1:-1] | wide[2:])).any())


def _ends(tone: Tone, core: slice) -> tuple[int, int]:
    """The columns up to which a line goes on: from glyph to glyph, until there is none after a space."""
    left, right, space = core.start, core.stop, round(SPACE * len(tone))
    runs = list(_runs((tone > INKED).sum(axis=0) >= max(1, round(SPECK * len(tone)))))
    for start, stop in runs:
        if stop > right and start <= right + space and (start < right or _is_glyph(tone, start, stop)):
            right = stop
    for start, stop in reversed(runs):
        if start < left and stop >= left - space and (stop > left or _is_glyph(tone, start, stop)):
            left = start
    return left, right


def _runs(mask: Mask) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.pad(mask.astype(np.int8), 1)))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _is_glyph(tone: Tone, start: int, stop: int) -> bool:
    """Whether it is as dark as ink somewhere, and there is paper in and beside it."""
    beside = max(1, round(STEM * len(tone)))
    around = tone[:, max(start - beside, 0) : stop + beside]
    return bool((tone[:, start:stop] > STRONG).any() and (around < HALF).mean() >= BARE)


def _mirrored(box: Box) -> Box:
    return Box(box.left, box.top, box.right, box.bottom)


def _moved(box: Box, rows: int, columns: int) -> Box:
    return Box(box.top + rows, box.left + columns, box.bottom + rows, box.right + columns)
