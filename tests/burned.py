"""Images with text burned in, made here: where which line stands is known, and nobody's identity is in them."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

WHO = {
    "PatientName": "Quillfeather^Zenobia",
    "PatientID": "ZQ-778812",
    "PatientBirthDate": "19510704",
    "AccessionNumber": "ACC5551942",
    "ReferringPhysicianName": "Marlowe^Tess",
    "InstitutionName": "Bozeman General Hospital",
}
IDENTITY = (
    "QUILLFEATHER, ZENOBIA", "Quillfeather Zenobia", "ID: ZQ-778812", "DOB 04/07/1951", "2025-03-01 08:14:22",
    "Bozeman General Hospital", "Dr. Marlowe, T.", "ACC5551942", "MRN 00441239", "* 04.07.1951 F", "12:03:44 PM",
    "Tel 406-555-0142",
)  # fmt: skip
CLINICAL = (
    "MI 0.6  TIS 0.2", "4.0 MHz", "Depth 12 cm", "Dist 1.06 cm", "HR 72 bpm", "Sag Liver", "Right Kidney", "36 Hz",
    "PSV 59.3 cm/s", "Gain 60 %", "C5-1", "ERECT PA CHEST",
)  # fmt: skip

# Other people's, in other fonts, for the images on which nothing was tuned.
OTHERS_IDENTITY = (
    "SMITHSON AURELIA", "Smithson, Aurelia M", "Pat-Nr 55-21-908", "12-MAR-1948", "2024.11.09 17:52",
    "Klinikum Nordheide", "Op: J. Okonkwo", "0612345678", "SN 30117/24", "born 9.3.48", "5:52:08 pm",
    "aurelia@example.org",
)  # fmt: skip
OTHERS_CLINICAL = (
    "Left Ovary", "EF 61 %", "SUPINE AP", "Freq 3.5 MHz", "LVOT diam 2.1 cm", "MI 1.1", "Zoom 150 %", "Vmax 88 cm/s",
    "Trans Thyroid", "PRF 1.4 kHz", "L LATERAL", "120 kV",
)  # fmt: skip

Grey = Any  # an array of rows x columns
Rectangle = tuple[int, int, int, int]
HALF = 127
CINE_FRAMES = 20


@dataclass(frozen=True)
class Line:
    """Text and where it stands: top, left, bottom, right."""

    text: str
    box: Rectangle
    names_somebody: bool


@dataclass(frozen=True)
class Burned:
    """A file and what stands in its picture."""

    name: str
    data: bytes
    lines: tuple[Line, ...]
    glyphs: Grey  # whether a pixel is one by whose light text is read: its own, or what is around dark text


@dataclass(frozen=True)
class Hand:
    """What is written, in which font, how light or on how light a ground, and how far from the left at most."""

    identity: tuple[str, ...] = IDENTITY
    clinical: tuple[str, ...] = CLINICAL
    font: str = ""  # Pillow's own
    light: int = 245
    paper: int = 230
    dark: int = 10
    furthest: int = 60
    seed: int = 0

    def sized(self, size: int) -> Any:
        return ImageFont.truetype(self.font, size) if self.font else ImageFont.load_default(size)


def background(kind: str, rows: int, columns: int, seed: int) -> Grey:
    """Something like a sector of ultrasound, a radiograph or a slice, from 0 to 200."""
    noise = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    if kind == "fan":
        far = np.hypot(x - columns / 2, y - 40)
        inside = (far < 0.85 * rows) & (np.abs(x - columns / 2) < 0.7 * far)
        dark = noise.normal(4, 1.5, (rows, columns))  # so that it shows where it was made black
        return np.clip(np.where(inside, noise.gamma(2, 25, (rows, columns)), dark), 0, 200)
    if kind == "film":
        light = np.exp(-((x - columns / 2) ** 2 + (y - rows / 2) ** 2) / (2 * (rows / 3) ** 2))
        return np.clip(60 + 120 * light + noise.normal(0, 6, (rows, columns)), 0, 200)
    body = np.hypot(x - columns / 2, 1.2 * (y - rows / 2)) < 0.4 * rows
    tissue = 90 + 40 * np.sin(x / 17) * np.cos(y / 23) + noise.normal(0, 10, (rows, columns))
    return np.clip(np.where(body, tissue, noise.normal(4, 2, (rows, columns))), 0, 200)


def drawn(
    grey: Grey, size: int, draw: random.Random, hand: Hand, *, inverse: bool, turned: bool
) -> tuple[Grey, Grey, tuple[Line, ...]]:
    """Six lines on the picture, four that name somebody, two that a radiologist needs; glyphs as in `Burned`."""
    upright = np.rot90(grey, -1) if turned else grey
    image = Image.fromarray(np.ascontiguousarray(upright).astype(np.uint8))
    mask = Image.new("L", image.size)
    font = hand.sized(size)
    texts = draw.sample(hand.identity, 4) + draw.sample(hand.clinical, 2)
    draw.shuffle(texts)
    boxes = []
    for number, text in enumerate(texts):
        room = image.width - int(font.getlength(text)) - 8
        at = draw.randint(4, min(hand.furthest, room)), 8 + number * (image.height - 20) // len(texts)
        boxes.append(written(image, text, at, font, hand, inverse=inverse))
        ImageDraw.Draw(mask).text(at, text, font=font, fill=255)
    glyphs = np.asarray(mask) > HALF
    lines = tuple(Line(text, box, text in hand.identity) for text, box in zip(texts, boxes, strict=True))
    pixels, glyphs = np.asarray(image), around(glyphs) if inverse else glyphs
    return (
        (np.rot90(pixels), np.rot90(glyphs), lines_turned(lines, pixels.shape[1]))
        if turned
        else (pixels, glyphs, lines)
    )


def written(
    image: Image.Image, text: str, at: tuple[int, int], font: Any, hand: Hand = Hand(), *, inverse: bool
) -> Rectangle:
    """Write it, light on dark or dark on light; where it stands."""
    pen = ImageDraw.Draw(image)
    left, top, right, bottom = (round(each) for each in pen.textbbox(at, text, font=font))
    if inverse:
        pen.rectangle((left - 3, top - 3, right + 3, bottom + 3), fill=hand.paper)
    pen.text(at, text, font=font, fill=hand.dark if inverse else hand.light)
    return top, left, bottom, right


def around(glyphs: Grey) -> Grey:
    """The pixels that touch those of a glyph from without."""
    wide = np.pad(glyphs, 1)
    beside = wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
    return beside & ~glyphs


def lines_turned(lines: tuple[Line, ...], height: int) -> tuple[Line, ...]:
    """Where they stand once the picture is turned left by a quarter."""
    return tuple(
        replace(line, box=(height - right, top, height - left, bottom))
        for line in lines
        for top, left, bottom, right in [line.box]
    )


def instance(frames: Any, sop_class: str = SecondaryCaptureImageStorage, **tags: Any) -> FileDataset:
    """Native pixels, with the patient in the header. `frames` is frames x rows x columns (x 3)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(None, Dataset(), file_meta=meta, preamble=bytes(128))
    colour = frames.ndim > 3
    bits = 8 * frames.dtype.itemsize
    own: dict[str, Any] = {
        "SOPClassUID": sop_class, "SOPInstanceUID": "1.2.3.1.1.1", "StudyInstanceUID": "1.2.3.1",
        "SeriesInstanceUID": "1.2.3.1.1", "Modality": "US", "InstanceNumber": "1", "ImageType": ["ORIGINAL", "PRIMARY"],
        "Rows": frames.shape[1], "Columns": frames.shape[2], "SamplesPerPixel": 3 if colour else 1,
        "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": 0,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
    }  # fmt: skip
    if colour:
        own["PlanarConfiguration"] = 0
    if frames.shape[0] > 1:
        own["NumberOfFrames"] = frames.shape[0]
    for keyword, value in (WHO | own | tags).items():
        setattr(dataset, keyword, value)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    raw = frames.tobytes()
    dataset.PixelData = raw + bytes(len(raw) % 2)
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    return dataset


def grey8(grey: Grey) -> FileDataset:
    return instance(grey[None].astype(np.uint8))


def light_on_dark_as_monochrome1(grey: Grey) -> FileDataset:
    """Twelve bits, in which the largest value is black."""
    values: Any = (4095 - grey.astype(np.uint16) * 16)[None]
    return instance(values, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)


def colour(grey: Grey) -> Any:
    """Text as grey; a Doppler-like patch of red and blue, and a scale, in the corner below."""
    rgb = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    rows = grey.shape[0]
    rgb[rows - 40 : rows - 20, -60:-10] = (220, 30, 20)
    rgb[rows - 20 :, -60:-10] = (20, 40, 220)
    return rgb


def rgb(grey: Grey) -> FileDataset:
    return instance(colour(grey)[None], UltrasoundImageStorage)


def palette(grey: Grey) -> FileDataset:
    """Indices that say nothing by their order."""
    order = np.random.default_rng(3).permutation(256)
    dataset = instance(np.argsort(order)[grey][None].astype(np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for name in ("Red", "Green", "Blue"):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", (order * 257).astype("<u2").tobytes())
    return dataset


def cine(grey: Grey) -> FileDataset:
    """What stands in the upper half is shown by the first frames only, the lower half by the others only; speckled."""
    noise = np.random.default_rng(5)
    half, shown = grey.shape[0] // 2, grey.astype(np.int16)
    frames = np.stack([shown + noise.integers(-8, 9, grey.shape) for _ in range(CINE_FRAMES)])
    frames[CINE_FRAMES // 2 :, :half] = noise.integers(0, 9, (CINE_FRAMES - CINE_FRAMES // 2, half, grey.shape[1]))
    frames[: CINE_FRAMES // 2, half:] = noise.integers(0, 9, (CINE_FRAMES // 2, grey.shape[0] - half, grey.shape[1]))
    return instance(np.clip(frames, 0, 255).astype(np.uint8), UltrasoundMultiFrameImageStorage)


def jpeg(grey: Grey, comment: bytes = b"") -> FileDataset:
    """Baseline, 4:2:2, as ultrasound machines send it."""
    dataset = rgb(grey)
    buffer = io.BytesIO()
    Image.fromarray(colour(grey)).save(buffer, "JPEG", quality=92, subsampling=1, comment=comment)
    dataset.PixelData = encapsulate([buffer.getvalue()])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.LossyImageCompression = "01"
    return dataset


def jpeg_2000(grey: Grey, comment: bytes, *, boxed: bool, tail: bytes = b"") -> FileDataset:
    """Lossless; as a bare codestream, or in the boxes of a JP2 file, as some senders leave it."""
    dataset = grey8(grey)
    buffer = io.BytesIO()
    image = Image.fromarray(grey.astype(np.uint8))
    image.save(buffer, "JPEG2000", no_jp2=not boxed, irreversible=False, comment=comment)
    dataset.PixelData = encapsulate([buffer.getvalue() + tail])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    return dataset


FORMS: dict[str, Callable[[Grey], FileDataset]] = {
    form.__name__: form for form in (grey8, light_on_dark_as_monochrome1, rgb, palette, jpeg, cine)
}


def burned(
    form: str,
    kind: str,
    size: int,
    *,
    inverse: bool = False,
    turned: bool = False,
    shape: tuple[int, int] = (600, 800),
    hand: Hand = Hand(),
) -> Burned:
    """One file with text of this size, in pixels; `shape` is rows and columns."""
    draw = random.Random(f"{form} {kind} {size} {inverse} {turned}{hand.seed or ''}")
    grey = background(kind, *shape, hand.seed)
    pixels, glyphs, lines = drawn(grey, size, draw, hand, inverse=inverse, turned=turned)
    name = " ".join([form, kind, f"{size} px", *["inverse"] * inverse, *["turned"] * turned])
    return Burned(name, encoded(FORMS[form](np.ascontiguousarray(pixels))), lines, glyphs)


def encoded(dataset: FileDataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
