"""The frames of an instance: as pictures to look at, with boxes made black, and as pixel data again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from radrelay_anonymize.domain.gate import NATIVE
from radrelay_anonymize.pixels.bits import Samples, cleared, has_spare
from radrelay_shared.errors import Invalid

# Arrays of numpy.
Picture = Any  # rows x columns x 3, unsigned bytes
Frame = Any  # as decoded: rows x columns, and x 3 in colour

MOST_BYTES = 1 << 30  # of decoded pixels
NARROW = 0.6  # a window that shows less than this of all values is looked at, too
MIDDLE = 128  # of the chroma of what is black
# Native YBR_FULL_422: two pixels lie together, with one chroma (PS3.3 §C.7.6.3.1.2).
HALVED = 2, [0, 0, MIDDLE, MIDDLE]


class Box(NamedTuple):
    """Rows and columns, the ends not included."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def area(self) -> int:
        return max(self.height, 0) * max(self.width, 0)

    def wider(self, across: int, along: int) -> Box:
        """With so much more on the sides of a line, and at its ends."""
        rows, columns = (along, across) if self.height > self.width else (across, along)
        return Box(self.top - rows, self.left - columns, self.bottom + rows, self.right + columns)

    def common(self, other: Box) -> Box:
        return Box(
            max(self.top, other.top), max(self.left, other.left),
            min(self.bottom, other.bottom), min(self.right, other.right),
        )  # fmt: skip

    def covers(self, other: Box, share: float) -> bool:
        """Whether so much of the other one lies in this one."""
        common = self.common(other)
        return common.height > 0 and common.width > 0 and common.area >= share * other.area


class Film:
    """An instance's frames. Raises `Invalid` for what cannot be decoded, or not within bounds."""

    def __init__(self, dataset: FileDataset) -> None:
        self.dataset = dataset
        self.native = dataset.file_meta.TransferSyntaxUID in NATIVE
        self.count = int(dataset.get("NumberOfFrames") or 1)
        self.rows, self.columns = int(dataset.Rows), int(dataset.Columns)
        self.hidden: list[Box] = []
        self.windowed: bool | None = None  # the first frame tells
        samples = self.count * self.rows * self.columns * int(dataset.get("SamplesPerPixel", 1))
        size = samples * dataset.BitsAllocated // 8
        if not 0 < size <= MOST_BYTES:
            raise Invalid("pixels without a size, or more of them than can be looked at")

    def frames(self, indices: Iterable[int] | None = None) -> Iterator[Frame]:
        """Decoded, colours as RGB, without hidden boxes."""
        try:
            wanted = None if indices is None else list(indices)
            for frame in iter_pixels(self.dataset, indices=wanted):
                yield self._blackened(frame)
        except Exception as error:  # noqa: BLE001  decoders raise many kinds, whose texts may quote values
            raise Invalid(f"the pixels cannot be decoded ({type(error).__name__})") from None

    def pictures(self, frame: Frame) -> list[Picture]:
        """As people see it, light on dark: over all its values; and through the window, if that shows clearly fewer."""
        dataset, kind = self.dataset, self.dataset.PhotometricInterpretation
        if kind == "PALETTE COLOR":
            frame = apply_color_lut(frame, dataset)
            return [_bytes(frame, 8 * frame.dtype.itemsize)]
        if frame.ndim > 2:  # noqa: PLR2004  colour
            return [_bytes(frame, int(dataset.BitsStored))]
        whole = float(frame.min()), float(frame.max())
        ranges = [whole, _window(frame, dataset)] if dataset.BitsStored > 8 else [whole]  # noqa: PLR2004  a screen's
        if self.windowed is None:
            self.windowed = len(ranges) > 1 and _extent(ranges[1]) < NARROW * _extent(whole)
        greys = (_scaled(frame, *each) for each in (ranges if self.windowed else ranges[:1]))
        return [np.repeat((255 - each if kind == "MONOCHROME1" else each)[..., None], 3, axis=2) for each in greys]

    def _blackened(self, frame: Frame) -> Frame:
        if not self.hidden:
            return frame
        frame = frame.copy()
        black = self.black(frame)
        for box in self.hidden:
            frame[box.top : box.bottom, box.left : box.right] = black
        return frame

    def black(self, frame: Frame) -> int:
        """The stored value of the frame's darkest light."""
        kind = self.dataset.PhotometricInterpretation
        if kind == "PALETTE COLOR":
            return _darkest_index(self.dataset)
        if frame.ndim > 2:  # noqa: PLR2004  colour
            return 0
        return int(frame.max() if kind == "MONOCHROME1" else frame.min())

    def hide(self, boxes: Iterable[Box]) -> None:
        """Make these boxes black in every frame."""
        self.hidden += boxes

    def clear_bits(self) -> bool:
        """Take what hides in unused bits out of the samples; whether there was any."""
        if not has_spare(self.dataset):
            return False
        parts = [cleared(each, self.dataset) for each in self._stored()]
        if all(each is None for each in parts):
            return False
        samples = [old if new is None else new for old, new in zip(self._stored(), parts, strict=True)]
        if self.native:
            self.dataset.PixelData = b"".join(each.tobytes() for each in samples)
        else:
            self._compress(np.stack(samples))
        return True

    def _stored(self) -> Iterator[Samples]:
        """The samples as they are in the file, unshaped where they are native."""
        if self.native:
            order = "<" if self.dataset.original_encoding[1] else ">"
            yield np.frombuffer(self.dataset.PixelData, f"{order}u{self.dataset.BitsAllocated // 8}")
        else:
            yield from iter_pixels(self.dataset, raw=True)

    def write(self) -> None:
        """Put the frames without the hidden boxes into the data set: native ones in place, others losslessly anew."""
        if self.native:
            self._patch()
        else:
            frames = np.stack(list(self.frames()))
            if frames.ndim > 3:  # noqa: PLR2004  colour
                self.dataset.PhotometricInterpretation = "RGB"
            self._compress(frames)
        self.hidden = []

    def _patch(self) -> None:
        samples = self._planes()
        step, fill = HALVED if self.dataset.PhotometricInterpretation == "YBR_FULL_422" else (1, None)
        if self.dataset.PhotometricInterpretation == "YBR_FULL":
            fill = [0, MIDDLE, MIDDLE]
        for frame in samples:
            black = self.black(frame[..., 0] if frame.shape[-1] == 1 else frame) if fill is None else fill
            for top, left, bottom, right in self.hidden:
                frame[top:bottom, left // step : -(-right // step)] = black
        self.dataset.PixelData = samples.base.tobytes()

    def _planes(self) -> Samples:
        """Native samples, writable, as frames x rows x columns x samples; the base holds them as they lie."""
        dataset = self.dataset
        order = "<" if dataset.original_encoding[1] else ">"
        sign = "i" if dataset.get("PixelRepresentation") == 1 else "u"
        flat = np.frombuffer(bytearray(dataset.PixelData), f"{order}{sign}{dataset.BitsAllocated // 8}")
        each = int(dataset.get("SamplesPerPixel", 1))
        shape, axes = (self.count, self.rows, self.columns, each), (0, 1, 2, 3)
        if dataset.PhotometricInterpretation == "YBR_FULL_422":
            shape = (self.count, self.rows, self.columns // 2, 4)
        elif dataset.get("PlanarConfiguration", 0) == 1 and each > 1:
            shape, axes = (self.count, each, self.rows, self.columns), (0, 2, 3, 1)
        return flat[: np.prod(shape)].reshape(shape).transpose(axes)

    def _compress(self, frames: Samples) -> None:
        """JPEG-LS, lossless; native where that has no form for such samples."""
        dataset = self.dataset
        for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            dataset.pop(keyword, None)
        if frames.ndim > 3:  # noqa: PLR2004  colour
            dataset.PlanarConfiguration = 0
        frames = frames if self.count > 1 else frames[0]
        if dataset.BitsAllocated in {8, 16}:
            dataset.compress(JPEGLSLossless, frames, encoding_plugin="pyjpegls", generate_instance_uid=False)
            return
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.PixelData = frames.tobytes()
        dataset["PixelData"].is_undefined_length = False


def _bytes(frame: Frame, bits: int) -> Picture:
    return np.ascontiguousarray(frame if bits <= 8 else frame >> (bits - 8)).astype(np.uint8)  # noqa: PLR2004  a byte's


def _scaled(frame: Frame, low: float, high: float) -> Samples:
    return (np.clip((frame - low) / max(high - low, 1.0), 0, 1) * 255).astype(np.uint8)


def _extent(values: tuple[float, float]) -> float:
    return values[1] - values[0]


def _window(frame: Frame, dataset: FileDataset) -> tuple[float, float]:
    """The first window in stored values (PS3.3 §C.11.2); without one, nearly all values."""
    center, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    slope, intercept = _first(dataset.get("RescaleSlope")) or 1.0, _first(dataset.get("RescaleIntercept")) or 0.0
    if center is None or not width or width < 0:
        low, high = np.percentile(frame[::4, ::4], (0.5, 99.5))
        return float(low), float(high)
    ends = sorted((center + sign * width / 2 - intercept) / slope for sign in (-1, 1))
    return ends[0], ends[1]


def _first(value: object) -> float | None:
    several = value if isinstance(value, (list, tuple)) or hasattr(value, "__getitem__") else [value]
    try:
        return float(several[0])
    except (TypeError, ValueError, IndexError):
        return None


def _darkest_index(dataset: FileDataset) -> int:
    colours = apply_color_lut(np.arange(1 << min(int(dataset.BitsStored), 16)).astype(np.uint16), dataset)
    return int(colours.astype(np.int64).sum(axis=-1).argmin())
