"""Identity in pixel data: burned-in text, unused bits, comments in streams. Entered by `without_identity`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from radrelay_anonymize.domain import Context, Quarantined, Released
from radrelay_anonymize.domain.gate import NATIVE, end_of_frames
from radrelay_anonymize.domain.pieces import LARGE, MOST_BY_PYDICOM, PIECE, Buffer, Output, Patch, let_go
from radrelay_anonymize.domain.profile import Option
from radrelay_anonymize.domain.release import Copied, verified
from radrelay_anonymize.files import patched
from radrelay_anonymize.pixels.bits import cleared, has_spare
from radrelay_anonymize.pixels.streams import blanks, precision
from radrelay_anonymize.pixels.task import Task, Washed
from radrelay_shared.errors import Invalid

Wash = Callable[[Task], Washed]
SUPPORTED_BITS = (8, 16, 32)
LAYOUT = tuple(
    map(
        Tag,
        (
            "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated",
            "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
        ),
    )
)  # fmt: skip


def without_identity(found: Released, context: Context, wash: Wash) -> Released | Quarantined:
    """The instance with pixels that show nobody, its very bytes where nothing was found; or why a person has to look.

    `wash` is only called for what has to be decoded: images that `gate.LOOKED_AT` names, under the profile's option
    to clean pixel data, and compressed samples with room for hidden bits.
    """
    if found.pixels == "none" or not (len(found.output.pixels) or _is_deflated(found)):
        return found
    try:
        output, decode = _without_carriers(found)
    except Invalid:
        return Quarantined(("pixels-unreadable",))
    look = found.pixels != "plain" and Option.CLEAN_PIXEL_DATA in context.profile.options
    declared = found.pixels == "burned-in" and not context.vouched
    if declared and not look:
        return Quarantined(("burned-in-annotation",))
    if look or decode:
        washed = _washed(output, wash, partial(Task, words=found.words, look=look, declared=declared))
        if washed.reasons and not context.vouched:
            return Quarantined(washed.reasons)
        output = Output(washed.data) if washed.data else output
    return found if output is found.output else verified(Copied(output, found.words, found.pixels), context)


def _washed(output: Output, wash: Wash, task: Callable[[bytes], Task]) -> Washed:
    if len(output) > MOST_BY_PYDICOM:  # whole in two processes, decoded in one of them
        return Washed(reasons=("pixels-too-large",))
    return wash(task(output.data))


def _without_carriers(found: Released) -> tuple[Output, bool]:
    """The output without what hides outside of shown values, and whether samples have to be decoded to be sure."""
    dataset, syntax, pixels = _layout(found.dataset), found.dataset.file_meta.TransferSyntaxUID, found.output.pixels
    spare = "BitsStored" in dataset and dataset.get("BitsAllocated") in SUPPORTED_BITS and has_spare(dataset)
    if _is_deflated(found):
        return found.output, spare
    if syntax not in NATIVE:
        return patched(found.output, blanks(pixels)), spare and precision(pixels) > dataset.BitsStored
    bits = _spare_bits(found.output, dataset, str(syntax)) if spare else iter(())
    return patched(found.output, chain(bits, _behind_frames(pixels, dataset, str(syntax)))), False


def _layout(dataset: Dataset) -> Dataset:
    """What tells how samples lie in the pixels; read once for images that are alike in it."""
    raws = [raw for tag in LAYOUT if (raw := dataset.get_item(tag)) is not None]
    return _read(tuple(raws)) if all(isinstance(each, RawDataElement) for each in raws) else dataset


@functools.lru_cache(maxsize=64)
def _read(raws: tuple[RawDataElement, ...]) -> Dataset:
    return Dataset({raw.tag: raw for raw in raws})


def _spare_bits(output: Output, dataset: Dataset, syntax: str) -> Iterator[Patch]:
    """Samples that hold more than they show; of a large instance some at a time."""
    pixels = output.pixels
    start = 8 if syntax == ImplicitVRLittleEndian else 12
    size = dataset.BitsAllocated // 8
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    step = len(pixels) if len(output) <= LARGE else PIECE
    for at in range(start, len(pixels), step):
        count = (min(at + step, len(pixels)) - at) // size
        clean = cleared(np.frombuffer(pixels, f"{order}u{size}", count, at), dataset)
        if clean is not None:
            yield at, clean.tobytes()
        let_go(pixels)


def _behind_frames(whole: Buffer, dataset: Dataset, syntax: str) -> Iterator[Patch]:
    """Zeros for what follows the last sample, if it is anything else; raises `Invalid` if that place is not told."""
    pixels = memoryview(whole)
    try:
        frames = end_of_frames(dataset)
    except (AttributeError, TypeError, ValueError, KeyError):
        raise Invalid("the header does not say how many pixels there are") from None
    end = (8 if syntax == ImplicitVRLittleEndian else 12) + frames  # big endian words swap the last byte
    for at in range(end, len(pixels), PIECE):
        behind = pixels[at : at + PIECE]
        if np.frombuffer(behind, np.uint8).any():
            yield at, bytes(len(behind))


def _is_deflated(found: Released) -> bool:
    return bool(found.dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian)
