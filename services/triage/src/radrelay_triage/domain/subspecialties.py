"""Which subspecialty reads a study, as a table of (modalities, body parts); the first row that fits decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

GENERAL = "general"

# Objects that come with a study but show no part of the body (PS3.3 §C.7.3.1.1.1).
WITHOUT_IMAGES = frozenset({"SR", "KO", "PR", "SEG", "REG", "DOC", "AU", "ECG", "FID", "RWV", "PLAN", "OT"})

PLAIN = ("CR", "DX", "RF", "XA")  # projection radiography
# Body parts are the defined terms of PS3.16 Annex L, without their spaces.
SPINE = ("SPINE", "CSPINE", "TSPINE", "LSPINE", "SSPINE", "CTSPINE", "TLSPINE", "LSSPINE", "COCCYX")


@dataclass(frozen=True, slots=True)
class Row:
    """Empty means any."""

    subspecialty: str
    modalities: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    def fits(self, modality: str, part: str) -> bool:
        return (not self.modalities or modality in self.modalities) and (not self.parts or part in self.parts)


TABLE = (
    Row("breast", modalities=("MG",)),
    Row("breast", parts=("BREAST",)),
    Row("cardiac", parts=("HEART", "CORONARYARTERY", "CARDIAC", "AORTICVALVE", "MYOCARDIUM")),
    Row("msk", modalities=PLAIN, parts=SPINE),
    Row("neuro", parts=("HEAD", "BRAIN", "SKULL", "HEADNECK", "NECK", "ORBIT", "SELLA", "IAC", "SINUS", "FACE")),
    Row("neuro", parts=SPINE),
    Row("neuro", parts=("CAROTID", "CIRCLEOFWILLIS", "CEREBRALARTERY")),
    Row("chest", parts=("CHEST", "LUNG", "THORAX", "RIB", "STERNUM", "MEDIASTINUM", "TRACHEA")),
    Row("body", parts=("CHESTABDOMEN", "CHESTABDPELVIS", "ABDOMEN", "ABDOMENPELVIS", "PELVIS", "LIVER", "PANCREAS")),
    Row("body", parts=("KIDNEY", "BLADDER", "PROSTATE", "UTERUS", "OVARY", "SPLEEN", "COLON", "GALLBLADDER")),
    Row("msk", parts=("EXTREMITY", "SHOULDER", "CLAVICLE", "HUMERUS", "ELBOW", "FOREARM", "WRIST", "HAND", "FINGER")),
    Row("msk", parts=("ARM", "LEG", "HIP", "FEMUR", "THIGH", "KNEE", "ANKLE", "CALF", "FOOT", "TOE", "CALCANEUS")),
    Row("nuclear", modalities=("NM", "PT")),
)


def subspecialty_of(modalities: Iterable[str], body_parts: Iterable[str]) -> tuple[str, str]:
    """(Subspecialty, the reason as a short sentence); "general" where the table knows no better."""
    shown = [modality for modality in modalities if modality not in WITHOUT_IMAGES]
    parts = [normal(part) for part in body_parts] or [""]
    for row in TABLE:
        for modality in shown:
            for part in parts:
                if row.fits(modality, part):
                    return row.subspecialty, f"{modality} {part}".rstrip() + f" → {row.subspecialty}"
    seen = " ".join([*shown, *filter(None, parts)]) or "no images"
    return GENERAL, f"{seen} → {GENERAL}: no row of the table names it"


def normal(part: str) -> str:
    """One spelling for "C-spine", "C SPINE" and "CSPINE"."""
    return "".join(character for character in part.upper() if character.isalnum())
