"""Opaque names for what identifies a patient: the same input always gives the same key, no key can be turned back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from radrelay_shared.events import Key

UID = re.compile(r"[0-9.]{1,64}")
KEY_BYTES = 20  # 160 bits, 32 characters of base 32


def study_key(secret: bytes, site: str, study_instance_uid: str) -> Key:
    """The study's key at this site; another site that sends the same study gets another key."""
    return f"st-{_digest(secret, 'study', site, study_instance_uid)}"


def order_key(secret: bytes, site: str, accession_number: str) -> Key:
    """The order's key at this site; accession numbers are only unique within one."""
    return f"or-{_digest(secret, 'order', site, accession_number)}"


def step_key(secret: bytes, site: str, sop_instance_uid: str) -> Key:
    """A performed procedure step's key at this site."""
    return f"ps-{_digest(secret, 'step', site, sop_instance_uid)}"


def commitment_key(secret: bytes, site: str, transaction_uid: str) -> Key:
    """A storage commitment transaction's key at this site."""
    return f"sc-{_digest(secret, 'commitment', site, transaction_uid)}"


def is_uid(text: str) -> bool:
    """Whether it has the form of a UID (PS3.5 §9.1), leading zeros forgiven."""
    return UID.fullmatch(text) is not None


def _digest(secret: bytes, *parts: str) -> str:
    code = hmac.new(secret, "\0".join(parts).encode(), hashlib.sha256).digest()
    return base64.b32encode(code[:KEY_BYTES]).decode().lower()
