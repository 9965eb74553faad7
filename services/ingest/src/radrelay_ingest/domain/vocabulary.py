"""Words that may leave the identified zone: defined by a standard, so that no clinic's free text is among them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

OTHER = "OT"

# Defined terms of Modality (0008,0060), PS3.3 §C.7.3.1.1.1, without the retired ones.
MODALITIES = frozenset({
    "ANN", "AR", "ASMT", "AU", "BDUS", "BI", "BMD", "CFM", "CR", "CT", "CTPROTOCOL", "DG", "DMS", "DOC", "DX",
    "ECG", "EEG", "EMG", "EOG", "EPS", "ES", "FID", "GM", "HC", "HD", "IO", "IOL", "IVOCT", "IVUS", "KER", "KO",
    "LEN", "LS", "M3D", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT", "OPTBSV", "OPTENF", "OPV", "OSS",
    "OT", "PA", "PLAN", "POS", "PR", "PT", "PX", "REG", "RESP", "RF", "RG", "RTDOSE", "RTIMAGE", "RTINTENT",
    "RTPLAN", "RTRAD", "RTRECORD", "RTSEGANN", "RTSTRUCT", "SEG", "SM", "SMR", "SR", "SRF", "STAIN",
    "TEXTUREMAP", "TG", "US", "VA", "XA", "XAPROTOCOL", "XC",
})  # fmt: skip

# Code systems whose codes name procedures, never patients; a clinic's own system may hold anything.
CODE_SYSTEMS = frozenset(
    {
        "http://loinc.org",
        "http://snomed.info/sct",
        "http://radlex.org",
        "http://dicom.nema.org/resources/ontology/DCM",
        "http://www.ama-assn.org/go/cpt",
    }
)

# How HL7 v2 names some of them (table 0396).
HL7_CODE_SYSTEMS = {
    "LN": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    "RADLEX": "http://radlex.org",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "C4": "http://www.ama-assn.org/go/cpt",
    "CPT": "http://www.ama-assn.org/go/cpt",
    "CPT4": "http://www.ama-assn.org/go/cpt",
}

CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # what is not shaped like a code may be free text


def public_code(codes: Iterable[tuple[Any, Any]]) -> str | None:
    """The first of these (system, code) that is of a public system and shaped like a code."""
    public = (code for system, code in codes if system in CODE_SYSTEMS)
    return next((code for code in public if isinstance(code, str) and CODE.fullmatch(code)), None)


# Which side a procedure concerns: SNOMED CT qualifiers, and the modifiers that HL7 v2 and CPT know.
SIDES = {
    "7771000": "L", "24028007": "R", "51440002": "B",
    "L": "L", "LT": "L", "LEFT": "L", "R": "R", "RT": "R", "RIGHT": "R",
    "B": "B", "BIL": "B", "BILATERAL": "B", "50": "B",
}  # fmt: skip


def modality(said: str) -> str:
    """The modality if DICOM defines it, else `OT`."""
    return said if said in MODALITIES else OTHER
