"""Names, dates and UIDs that stand for others: keyed, stateless, the same on every worker and in every year."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from pydicom.uid import UID_dictionary

WEEK = 7
WEEKS_EACH_WAY = 156  # three years
REGISTERED = "1.2.840.10008."  # UIDs that DICOM itself gives out (PS3.6 Annex A)


def pseudonym(secret: bytes, site: str, issuer: str, patient_id: str) -> str:
    """`RR-` and ten base32 characters: the patient's name and ID outside the vault. 50 bits, not reversible."""
    digest = _keyed(secret, "pseudonym", site, issuer, patient_id)
    return "RR-" + base64.b32encode(digest).decode()[:10]


def date_shift(secret: bytes, site: str, issuer: str, patient_id: str) -> int:
    """The patient's offset in days: whole weeks (weekdays stay) within three years either way, never 0."""
    number = int.from_bytes(_keyed(secret, "dates", site, issuer, patient_id)[:8], "big")
    weeks = number % (2 * WEEKS_EACH_WAY) - WEEKS_EACH_WAY
    return WEEK * (weeks if weeks < 0 else weeks + 1)


def mapped_uid(secret: bytes, uid: str) -> str:
    """`2.25.` and a 128-bit number (PS3.5 §B.2); the same UID gives the same answer within a tenant."""
    return f"2.25.{int.from_bytes(_keyed(secret, 'uid', uid)[:16], 'big')}"


def is_well_known(uid: str, *, names_a_class: bool = False) -> bool:
    """Whether DICOM registered the UID, so that it says nothing about anybody.

    Where an attribute `names_a_class` (SOP class, transfer syntax, coding scheme), DICOM's own root is enough, for the
    standard grows faster than its dictionary here.
    """
    in_root = re.fullmatch(r"[0-9.]+", uid) is not None and uid.startswith(REGISTERED)
    return uid in UID_dictionary or (names_a_class and in_root)


def _keyed(secret: bytes, purpose: str, *parts: str) -> bytes:
    """HMAC-SHA256 over the purpose and the parts, each with its length, so that no two lists of parts collide."""
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in (purpose, *parts))
    return hmac.new(secret, message, hashlib.sha256).digest()
