"""Which decoder reads which compressed transfer syntax: one that is kept up, under a permissive licence."""

from __future__ import annotations

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

DECODERS: dict[str, str] = {  # by pydicom's names for its plug-ins
    RLELossless: "pydicom",
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",  # of eight bits; twelve have no decoder under such a licence
    JPEGLossless: "gdcm",
    JPEGLosslessSV1: "gdcm",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",  # OpenJPEG
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
}


def decoder(transfer_syntax: str) -> str:
    """Pydicom's name of the plug-in; nothing for pixels that are not compressed."""
    return DECODERS.get(transfer_syntax, "")


def decodable(transfer_syntax: str) -> bool:
    """Whether pixels of this transfer syntax can be decoded here."""
    syntax = UID(transfer_syntax)
    return transfer_syntax in DECODERS or (syntax.is_transfer_syntax and not syntax.is_encapsulated)
