"""`make bench-pixels`: how much of burned-in text is hidden, what a second engine still reads, what is lost with it.

Images of known text are made (`burned`): every form, size, way round and direction, over three kinds of picture. Each
goes through the engine as in production. A line counts as hidden if at most 2 % of the pixels by which it is read are
left, in any frame; its box is the rectangle around its ink as Pillow measures it, without the ground on which inverse
text stands. Then tesseract, which knows nothing of ours, reads what went out. The hold-out has other words in other
fonts, tones and places: nothing was tuned on it. Beside them stand the two ultrasound pictures of `deid-data`, whose
text is somebody else's. `--every 4` takes each fourth image.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import cycle, pairwise, product
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pydicom
from PIL import Image

from benchmarks.figures import Figures
from burned import FORMS, OTHERS_CLINICAL, OTHERS_IDENTITY, Burned, Hand, burned
from radrelay_anonymize.domain import Context, Quarantined, Words, opened, release
from radrelay_anonymize.domain.profile import default
from radrelay_anonymize.domain.release import words_of_instance
from radrelay_anonymize.pixels import without_identity
from radrelay_anonymize.pixels.clean import washed
from radrelay_anonymize.pixels.eyes import Eyes
from radrelay_anonymize.pixels.frames import Film, Picture

ROOT = Path(__file__).parents[1]
PACKAGE, DEID_DATA = "deid-data==0.0.20", ROOT / ".radrelay/bench/deid-data"
SIZES = (9, 11, 14, 18, 22, 28)
KINDS = ("fan", "film", "slice")
FONTS = Path("/usr/share/fonts/truetype/dejavu")  # Debian's fonts-dejavu-core
HOLD_OUT = tuple(
    Hand(OTHERS_IDENTITY, OTHERS_CLINICAL, str(FONTS / f"{font}.ttf"), light, paper, dark, furthest=400, seed=77)
    for font, light, paper, dark in (
        ("DejaVuSansMono", 255, 200, 0), ("DejaVuSans-Bold", 225, 255, 30), ("DejaVuSerif", 235, 180, 5),
        ("DejaVuSans", 250, 240, 45), ("DejaVuSansMono-Bold", 240, 220, 20),
    )
)  # fmt: skip
LEFT = 0.02  # of a line's pixels
LIGHT = 60  # of 255: what is hidden is black
WORKERS = 2

TOKEN = re.compile(r"[A-Za-z]{4,}|\d{3,}")
LABELS = frozenset({"general", "hospital"})  # nobody's
# What stands in the pictures of `deid-data`, as read by eye.
FOREIGN = {
    "GREYSCALE_IMAGE": ("patientfi", "00079241539", "08/29/1951", "cleveland", "03/02/2017", "05:24:57"),
    "RGB_IMAGE": ("zzzdowntime", "mary", "00047431395", "4/14/2020", "8:48:26", "120907058", "cleveland", "cchs"),
}


@dataclass(frozen=True)
class Seen:
    """What became of one image; `held` if it waits for a person, then nothing else is known."""

    name: str
    held: tuple[str, ...] = ()
    seconds: float = 0.0
    left: dict[str, float] = field(default_factory=dict)  # identity: line → share of its pixels
    kept: dict[str, bool] = field(default_factory=dict)  # clinical lines
    outside: float = 0.0  # share of what is outside of lines that was hidden
    around: float = 0.0  # the same, but for half a line around them
    before: frozenset[str] = frozenset()  # tokens of identity that tesseract reads
    after: frozenset[str] = frozenset()


@cache
def eyes() -> Eyes:
    return Eyes()


def cleaned(data: bytes) -> tuple[bytes | Quarantined, float]:
    """What leaves, and the processor's seconds that the look took."""
    words = words_of_instance(opened(data), default())
    context = Context(b"tenant secret of this benchmark", "RR-ABCDEFGHIJ", -70, words or Words(), profile=default())
    found = release(data, context)
    if isinstance(found, Quarantined):
        return found, 0.0
    started = time.process_time()
    made = without_identity(found, context, partial(washed, eyes=eyes()))
    return made if isinstance(made, Quarantined) else made.data, time.process_time() - started


# ── generated images ─────────────────────────────────────────────────────────────────────────────────


def cases(*hands: Hand) -> Iterator[Callable[[], Burned]]:
    """Every form, size, way round and direction; the kinds of picture, and who writes, take turns."""
    kinds, writing = cycle(KINDS), cycle(hands)
    for form, size, inverse, turned in product(FORMS, SIZES, (False, True), (False, True)):
        yield partial(burned, form, next(kinds), size, inverse=inverse, turned=turned, hand=next(writing))


def seen(case: Callable[[], Burned]) -> Seen:
    drawn = case()
    made, seconds = cleaned(drawn.data)
    if isinstance(made, Quarantined):
        return Seen(drawn.name, made.reasons, seconds)
    before, after = pictures(drawn.data), pictures(made)
    hidden = np.logical_or.reduce([old != new for old, new in zip(values(drawn.data), values(made), strict=True)])
    light = [(new > LIGHT).any(axis=2) for new in after]
    boxes = {line.text: line.box for line in drawn.lines}
    left = {line.text: max(_share(each, drawn.glyphs, line.box) for each in light) for line in drawn.lines}
    named = {line.text for line in drawn.lines if line.names_somebody}
    turned = drawn.name.endswith("turned")
    tokens = frozenset(token for text in named for token in tokens_of(text))
    return Seen(
        drawn.name,
        seconds=seconds,
        left={text: left[text] for text in named},
        kept={text: not _any(hidden, box) for text, box in boxes.items() if text not in named},
        outside=_outside(hidden, boxes.values(), 0),
        around=_outside(hidden, boxes.values(), 0.5),
        before=tokens & read(before, tokens, turned=turned),
        after=tokens & read(after, tokens, turned=turned),
    )


def pictures(data: bytes) -> list[Picture]:
    """Each frame as it is shown, over all its values."""
    film = Film(pydicom.dcmread(io.BytesIO(data)))
    return [film.pictures(frame)[0] for frame in film.frames()]


def values(data: bytes) -> Iterator[Any]:
    """Each frame as it is stored, the samples of a pixel added."""
    for frame in Film(pydicom.dcmread(io.BytesIO(data))).frames():
        yield frame.astype(np.int64).sum(axis=2) if frame.ndim > 2 else frame


def _share(light: Any, glyphs: Any, box: tuple[int, int, int, int]) -> float:
    top, left, bottom, right = box
    part = glyphs[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1]
    return float(light[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1][part].mean()) if part.any() else 0.0


def _any(hidden: Any, box: tuple[int, int, int, int]) -> bool:
    top, left, bottom, right = box
    return bool(hidden[top:bottom, left:right].mean() > LEFT)


def _outside(hidden: Any, boxes: Any, heights: float) -> float:
    """Share of what is hidden outside of the lines, each of them widened by so many heights."""
    elsewhere = np.ones(hidden.shape, bool)
    for top, left, bottom, right in boxes:
        margin = round(heights * min(bottom - top, right - left))
        elsewhere[max(top - margin, 0) : bottom + margin, max(left - margin, 0) : right + margin] = False
    return float(hidden[elsewhere].mean())


# ── the second engine ────────────────────────────────────────────────────────────────────────────────


def tokens_of(text: str) -> Iterator[str]:
    return (token for token in TOKEN.findall(text.lower()) if token not in LABELS)


def read(shown: list[Picture], tokens: frozenset[str], *, turned: bool) -> frozenset[str]:
    """Those of the tokens that tesseract reads in the first frame or the last, upright and twice as large."""
    said = "".join(tesseract(np.rot90(each, -1) if turned else each) for each in (shown[0], shown[-1])[: len(shown)])
    return frozenset(token for token in tokens if token in said)


def tesseract(picture: Picture) -> str:
    """Lower case, without spaces."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    buffer = io.BytesIO()
    image.resize((2 * image.width, 2 * image.height), Image.Resampling.BICUBIC).save(buffer, "PNG")
    command = ["tesseract", "-", "-", "--psm", "11"]
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    found = subprocess.run(
        command, input=buffer.getvalue(), capture_output=True, check=True, timeout=120, env=environment
    )
    return re.sub(r"\s+", "", found.stdout.decode().lower())


# ── somebody else's images ───────────────────────────────────────────────────────────────────────────


def foreign() -> Iterator[Seen]:
    """The still pictures of `deid-data`: no word of theirs is in their headers."""
    if not DEID_DATA.exists():
        install = [str(ROOT / ".uv/bin/uv"), "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*install, "--target", str(DEID_DATA), PACKAGE], check=True, timeout=300)
    for name, tokens in FOREIGN.items():
        data = (DEID_DATA / "deid_data/data/ultrasounds" / f"{name}.dcm").read_bytes()
        made, seconds = cleaned(data)
        if isinstance(made, Quarantined):
            yield Seen(name, made.reasons, seconds)
        else:
            before, after = (read(pictures(each), frozenset(tokens), turned=False) for each in (data, made))
            yield Seen(name, seconds=seconds, before=before, after=after)


# ── results ──────────────────────────────────────────────────────────────────────────────────────────


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--every", type=int, default=1)
    every = options.parse_args().every
    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
        made, unseen = (looked_at(pool, list(cases(*hands))[::every]) for hands in ((Hand(),), HOLD_OUT))
    figures = Figures("pixels")
    results = {"all": made, **grouped(made), "hold-out": unseen, "deid-data": list(foreign())}
    for case, some in results.items():
        add(figures, case, some)
    print(json.dumps(figures.rows, indent=1))
    print(figures.write())


def looked_at(pool: ProcessPoolExecutor, wanted: list[Callable[[], Burned]]) -> list[Seen]:
    made = []
    for each in pool.map(seen, wanted):
        made.append(each)
        print(told(each), file=sys.stderr)
    return made


def grouped(made: list[Seen]) -> dict[str, list[Seen]]:
    """By form, by size, upright or turned, light or inverse."""
    found: dict[str, list[Seen]] = {}
    for each in made:
        words = each.name.split()
        size = next(f"{number} px" for number, px in pairwise(words) if px == "px")
        for group in (words[0], size, *({"inverse", "turned"} & set(words) or {"plain"})):
            found.setdefault(group, []).append(each)
    return found


def add(figures: Figures, case: str, made: list[Seen]) -> None:
    out = [each for each in made if not each.held]
    lines = [left for each in out for left in each.left.values()]
    kept = [kept for each in out for kept in each.kept.values()]
    figures.add(case, "radrelay", "images", [len(made)])
    figures.add(case, "radrelay", "held", [len(made) - len(out)])
    figures.add(case, "radrelay", "cpu_s_per_image", [each.seconds for each in made])
    figures.add(case, "tesseract", "tokens_before", [sum(len(each.before) for each in out)])
    figures.add(case, "tesseract", "tokens_after", [sum(len(each.after) for each in out)])
    if lines:
        figures.add(case, "radrelay", "lines", [len(lines)])
        figures.add(case, "radrelay", "hidden_lines_percent", [100 * mean(left <= LEFT for left in lines)])
        figures.add(case, "radrelay", "kept_clinical_lines_percent", [100 * mean(kept)])
        figures.add(case, "radrelay", "outside_percent", [100 * mean(each.outside for each in out)])
        figures.add(case, "radrelay", "outside_margin_percent", [100 * mean(each.around for each in out)])


def told(each: Seen) -> str:
    bad = {text: f"{left:.2f}" for text, left in each.left.items() if left > LEFT}
    lost = [text for text, kept in each.kept.items() if not kept]
    rest = f"out {100 * each.outside:.2f} %/{100 * each.around:.2f} % tokens {len(each.before)}->{sorted(each.after)}"
    return f"{each.name}: {each.seconds:.1f} s {each.held or ''} left {bad} lost {lost} {rest}"


if __name__ == "__main__":
    main()
