"""Identity in pixel data: burned-in text, unused bits, comments in streams. Entered by `without_identity`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from radrelay_anonymize.domain import Context, Quarantined, Released
from radrelay_anonymize.domain.gate import NATIVE
from radrelay_anonymize.domain.profile import Option
from radrelay_anonymize.domain.release import Copied, verified
from radrelay_anonymize.pixels.bits import cleared, has_spare
from radrelay_anonymize.pixels.streams import blanked, precision
from radrelay_anonymize.pixels.task import Task, Washed
from radrelay_shared.errors import Invalid

Wash = Callable[[Task], Washed]
SUPPORTED_BITS = (8, 16, 32)


def without_identity(found: Released, context: Context, wash: Wash) -> Released | Quarantined:
    """The instance with pixels that show nobody, its very bytes where nothing was found; or why a person has to look.

    `wash` is only called for what has to be decoded: images that `gate.LOOKED_AT` names, under the profile's option
    to clean pixel data, and compressed samples with room for hidden bits.
    """
    if found.pixels == "none" or (found.pixels_at == len(found.data) and not _is_deflated(found)):
        return found
    try:
        data, decode = _without_carriers(found)
    except Invalid:
        return Quarantined(("pixels-unreadable",))
    look = found.pixels != "plain" and Option.CLEAN_PIXEL_DATA in context.profile.options
    if found.pixels == "burned-in" and not look and not context.vouched:
        return Quarantined(("burned-in-annotation",))
    if look or decode:
        task = Task(data, found.words, look=look, declared=found.pixels == "burned-in" and not context.vouched)
        washed = wash(task)
        if washed.reasons and not context.vouched:
            return Quarantined(washed.reasons)
        data = washed.data or data
    if data is found.data:
        return found
    return verified(Copied(data, found.words, found.pixels), context)


def _without_carriers(found: Released) -> tuple[bytes, bool]:
    """The bytes without what hides outside of shown values, and whether samples have to be decoded to be sure."""
    dataset, syntax = found.dataset, found.dataset.file_meta.TransferSyntaxUID
    spare = "BitsStored" in dataset and dataset.BitsAllocated in SUPPORTED_BITS and has_spare(dataset)
    if _is_deflated(found):
        return found.data, spare
    if syntax not in NATIVE:
        return blanked(found.data, found.pixels_at), spare and precision(
            found.data, found.pixels_at
        ) > dataset.BitsStored
    return (_bits_cleared(found, str(syntax)) if spare else found.data), False


def _bits_cleared(found: Released, syntax: str) -> bytes:
    data, dataset = found.data, found.dataset
    start = found.pixels_at + (8 if syntax == ImplicitVRLittleEndian else 12)
    size = dataset.BitsAllocated // 8
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    samples = np.frombuffer(data, f"{order}u{size}", (len(data) - start) // size, start)
    clean = cleared(samples, dataset)
    if clean is None:
        return data
    end = start + clean.nbytes
    return data[:start] + bytes(clean.data) + data[end:]


def _is_deflated(found: Released) -> bool:
    return bool(found.dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian)
