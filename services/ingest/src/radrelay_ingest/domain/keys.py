"""Opaque names for what identifies a patient: the same input always gives the same key, no key can be turned back."""

from __future__ import annotations

import base64
import hmac

from radrelay_shared.events import Key

KEY_BYTES = 20  # 160 bits, 32 characters of base 32


def study_key(secret: bytes, site: str, study_instance_uid: str) -> Key:
    """The study's key at this site; another site that sends the same study gets another key."""
    return f"st-{_digest(secret, 'study', site, study_instance_uid)}"


def order_key(secret: bytes, site: str, kind: str, number: str, *issuer: str) -> Key:
    """The order's key at this site, from its first number; numbers are only unique within a site and an issuer."""
    return f"or-{_digest(secret, 'order', site, kind, number, *issuer)}"


def person_key(secret: bytes, site: str, patient_id: str) -> Key:
    """The key of what one site knows under a patient ID."""
    return f"pe-{_digest(secret, 'person', site, patient_id)}"


def receipt_key(secret: bytes, site: str, *name: str) -> Key:
    """The key of a message under the name that its sender gave it."""
    return f"re-{_digest(secret, 'receipt', site, *name)}"


def step_key(secret: bytes, site: str, sop_instance_uid: str) -> Key:
    """A performed procedure step's key at this site."""
    return f"ps-{_digest(secret, 'step', site, sop_instance_uid)}"


def commitment_key(secret: bytes, site: str, transaction_uid: str) -> Key:
    """A storage commitment transaction's key at this site."""
    return f"sc-{_digest(secret, 'commitment', site, transaction_uid)}"


def _digest(secret: bytes, *parts: str) -> str:
    code = hmac.digest(secret, "\0".join(parts).encode(), "sha256")
    return base64.b32encode(code[:KEY_BYTES]).decode().lower()
