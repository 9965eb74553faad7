"""Pictures of frames: modality LUT, window or VOI LUT, polarity, eight bits (PS3.3 §C.11.1, §C.11.2; PS3.18 §8.3.5)."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import get_nr_frames

from radrelay_shared.errors import NotFound
from radrelay_storage.pixels import Array, decode
from radrelay_storage.problems import BadQuery, NotAcceptable

MOST_PIXELS = 8192  # of a picture's side


@dataclass(frozen=True, slots=True)
class Window:
    """Centre and width in units of the modality LUT's output, and the VOI LUT function."""

    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True, slots=True)
class Viewport:
    """How large a picture may be, and which part of the image it shows: all of it without a `region`."""

    width: int
    height: int
    region: tuple[float, float, float, float] | None = None  # left, top, width, height in pixels of the image
    mirrored: bool = False
    upside_down: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """How a frame is shown."""

    media_type: str = "image/jpeg"
    window: Window | None = None
    viewport: Viewport | None = None
    quality: int = 90  # of a JPEG


# PS3.3 §C.11.2.1.2 and §C.11.2.1.3: to 0 … 1, before clipping.
FUNCTIONS: dict[str, Callable[[Array, Window], Array]] = {
    "LINEAR": lambda x, w: (x - (w.center - 0.5)) / max(w.width - 1, 1e-6) + 0.5,
    "LINEAR_EXACT": lambda x, w: (x - w.center) / w.width + 0.5,
    "SIGMOID": lambda x, w: 1 / (1 + np.exp(np.clip(-4 * (x - w.center) / w.width, -500, 500))),
}


def parse_window(value: str | None) -> Window | None:
    """`window=center,width[,function]` of a rendered resource (PS3.18 §8.3.5.1.4)."""
    if value is None:
        return None
    number = r"[-+]?\d{1,9}(?:\.\d{1,9})?"
    found = re.fullmatch(rf"({number}),({number})(?:,(linear|linear-exact|sigmoid))?", value)
    if not found or float(found[2]) <= 0:
        raise BadQuery(
            "window is center,width or center,width,function (linear, linear-exact or sigmoid); width above 0"
        )
    return Window(float(found[1]), float(found[2]), (found[3] or "linear").upper().replace("-", "_"))


def parse_viewport(value: str | None) -> Viewport | None:
    """`viewport=width,height[,left,top,width,height]`; a negative extent mirrors (PS3.18 §8.3.5.1.3)."""
    if value is None:
        return None
    texts = value.split(",")
    if len(texts) not in (2, 6) or not all(re.fullmatch(r"-?\d{1,5}(\.\d{1,3})?", each) for each in texts):
        raise BadQuery("viewport is width,height or width,height,left,top,width,height")
    wide, high, *part = map(float, texts)
    if not (1 <= wide <= MOST_PIXELS and 1 <= high <= MOST_PIXELS) or (part and 0 in part[2:]):
        raise BadQuery(f"a viewport is 1 to {MOST_PIXELS} pixels wide and high, and shows a part of the image")
    region = (part[0], part[1], abs(part[2]), abs(part[3])) if part else None
    return Viewport(int(wide), int(high), region, *((part[2] < 0, part[3] < 0) if part else ()))


def render(file: BinaryIO, number: int, look: Look) -> bytes:
    """Frame `number` (from 1) of a whole DICOM file as JPEG or PNG. Blocks: call it in a thread.

    Raises `NotFound` if there is no such frame, `NotAcceptable` if its pixels cannot be decoded here.
    """
    header = dcmread(file, stop_before_pixels=True)
    if "Rows" not in header or "SamplesPerPixel" not in header:
        raise NotAcceptable("this instance is no image; there is nothing to render")
    if number > get_nr_frames(header, warn=False):
        raise NotFound("this instance has no frame of that number")
    picture = Image.fromarray(eight_bits(decode(file, header, number - 1), header, look.window))
    if look.viewport:
        picture = fitted(picture, look.viewport)
    out = io.BytesIO()
    picture.save(out, "JPEG" if look.media_type == "image/jpeg" else "PNG", quality=look.quality)
    return out.getvalue()


def fitted(picture: Image.Image, viewport: Viewport) -> Image.Image:
    """The part that is shown, as large as the viewport allows with its proportions kept."""
    if viewport.region:
        left, top, wide, high = viewport.region
        right, bottom = min(left + wide, picture.width), min(top + high, picture.height)
        if not (0 <= left < right and 0 <= top < bottom):
            raise BadQuery("the viewport's region lies outside the image")
        picture = picture.crop((int(left), int(top), max(int(right), int(left) + 1), max(int(bottom), int(top) + 1)))
    flips = [
        (viewport.mirrored, Image.Transpose.FLIP_LEFT_RIGHT),
        (viewport.upside_down, Image.Transpose.FLIP_TOP_BOTTOM),
    ]
    for wanted, flip in flips:
        picture = picture.transpose(flip) if wanted else picture
    scale = min(viewport.width / picture.width, viewport.height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BILINEAR)


def eight_bits(values: Array, header: Dataset, window: Window | None) -> Array:
    photometric = header.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        colour = apply_color_lut(values, header)
        return to_bytes(colour / np.iinfo(colour.dtype).max)
    if header.SamplesPerPixel > 1:
        return to_bytes(values / (2**header.BitsStored - 1))
    grey = greyscale(values, header, window)
    return to_bytes(1 - grey if photometric == "MONOCHROME1" else grey)


def greyscale(values: Array, header: Dataset, window: Window | None) -> Array:
    """To 0 … 1 by the window asked for, the instance's VOI LUT or window, or else its own extremes."""
    output = apply_modality_lut(values, header).astype(np.float64)
    if window is None and "VOILUTSequence" in header:
        bits = header.VOILUTSequence[0].LUTDescriptor[2]
        return apply_voi(apply_modality_lut(values, header), header) / (2**bits - 1)
    window = window or own_window(header)
    if window:
        return FUNCTIONS[window.function](output, window)
    low, high = output.min(), output.max()
    return (output - low) / max(high - low, 1e-9)


def own_window(header: Dataset) -> Window | None:
    """The first window that the instance proposes."""
    centers, widths = (np.atleast_1d(header.get(name) or ()) for name in ("WindowCenter", "WindowWidth"))
    if not len(centers) or not len(widths) or widths[0] <= 0:
        return None
    function = header.get("VOILUTFunction") or "LINEAR"
    return Window(float(centers[0]), float(widths[0]), function if function in FUNCTIONS else "LINEAR")


def to_bytes(unit: Array) -> Array:
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
