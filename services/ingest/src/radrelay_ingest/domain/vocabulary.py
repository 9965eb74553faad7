"""Words that may leave the identified zone: defined by a standard, so that no clinic's free text is among them."""

from __future__ import annotations

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


def modality(said: str) -> str:
    """The modality if DICOM defines it, else `OT`."""
    return said if said in MODALITIES else OTHER
