"""Taking signed manifests: kept as they came, and remembered as evidence of what their study consists of."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

from jwt.api_jwk import PyJWK
from jwt.api_jws import PyJWS
from jwt.exceptions import InvalidTokenError

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.evidence import Evidence, ManifestGiven, with_manifest
from radrelay_ingest.domain.manifests import SignedManifest, read_manifest
from radrelay_ingest.domain.sites import PublicKey
from radrelay_shared.bodies import collected, patiently
from radrelay_shared.errors import Forbidden
from radrelay_shared.events import Key
from radrelay_shared.ports import put_once

ALGORITHM = "EdDSA"
MAX_BYTES = 24 << 20  # of a signed manifest of the most instances


async def take_manifest(context: IngestContext, site: str, body: AsyncIterator[bytes]) -> tuple[Key, SignedManifest]:
    """Verify the manifest, keep it and remember it for its study, durable on return.

    Raises `TooLarge`, `Forbidden` if no key of the site's signed it, and `Invalid` with what is wrong in it.
    """
    token = await collected(patiently(body, context.settings.stow_timeout), MAX_BYTES)
    payload = await asyncio.to_thread(verified, token, context.site(site).manifest_keys)
    manifest = await asyncio.to_thread(read_manifest, payload)
    study = context.study_key(site, manifest.study_instance_uid)
    key = f"manifests/{study}/{hashlib.sha256(token).hexdigest()}.jws"
    await put_once(context.originals, key, token)
    given = ManifestGiven(key=key, count=manifest.count)
    await context.store.change(Evidence, study, partial(with_manifest, study=study, site=site, given=given))
    return study, manifest


async def manifest_of(context: IngestContext, evidence: Evidence | None) -> SignedManifest | None:
    """The manifest that was given for a study, if one was; it was verified when it came."""
    if evidence is None or evidence.manifest is None:
        return None
    token = await context.originals.read(evidence.manifest.key)
    return await asyncio.to_thread(lambda: read_manifest(unverified(token)))


def verified(token: bytes, keys: tuple[PublicKey, ...]) -> bytes:
    """The payload of a JWS in compact form (RFC 7515 §3.1) that one of these keys signed; raises `Forbidden`."""
    for key in keys:
        with suppress(InvalidTokenError):
            payload = PyJWS().decode(token, PyJWK(key.model_dump(), ALGORITHM), [ALGORITHM])
            return bytes(payload)
    raise Forbidden("no key that is registered for this site (manifest_keys) signed this manifest")


def unverified(token: bytes) -> bytes:
    return bytes(PyJWS().decode(token, options={"verify_signature": False}))
