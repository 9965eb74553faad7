"""Signed manifests: only a key of the site's counts, and what it signed is kept as it came."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm
from jwt.api_jws import PyJWS

from radrelay_ingest.domain.evidence import Evidence
from radrelay_ingest.manifests import manifest_of
from radrelay_shared.security import Role

Door = Callable[..., AbstractAsyncContextManager[Any]]

MANIFESTS = "/ingest/manifests"
KEY, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
BOZEMAN = {"name": "Bozeman Clinic", "jurisdiction": "US-MT", "ae_titles": ["BOZEMAN"]}


def listing(*numbers: int, **changes: Any) -> dict[str, Any]:
    """A manifest of slices with these numbers."""
    instances = [
        {"sop_instance_uid": f"1.2.3.1.1.{number}", "sha256": hashlib.sha256(b"%d" % number).hexdigest()}
        for number in numbers
    ]
    return {"study_instance_uid": "1.2.3.1", "count": len(instances), "instances": instances} | changes


def signed(manifest: Any, key: Ed25519PrivateKey = KEY) -> str:
    return PyJWS().encode(json.dumps(manifest).encode(), key, "EdDSA")


async def posted(door: Any, content: str, site: str = "bozeman") -> Any:
    key = OKPAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    async with door.as_(Role.OPERATOR) as operator:
        answer = await operator.put("/ingest/sites/bozeman", json=BOZEMAN | {"manifest_keys": [key]})
        assert answer.status_code == 200
    async with door.as_(Role.SITE, site) as machine:
        return await machine.post(MANIFESTS, content=content, headers={"Content-Type": "application/jose"})


async def test_a_signed_manifest_is_kept_as_it_came_and_remembered_for_its_study(open_door: Door) -> None:
    token = signed(listing(1, 2, 3))
    async with open_door() as door:
        answer = await posted(door, token)
        assert (answer.status_code, answer.json()["instances"]) == (202, 3)
        evidence = await door.context.store.read(Evidence, answer.json()["study"])
        assert (evidence.site, evidence.manifest.count) == ("bozeman", 3)
        assert await door.context.originals.read(evidence.manifest.key) == token.encode()
        manifest = await manifest_of(door.context, evidence)
        assert manifest is not None
        assert [each.sop_instance_uid for each in manifest.instances] == ["1.2.3.1.1.1", "1.2.3.1.1.2", "1.2.3.1.1.3"]
        assert (await posted(door, token)).status_code == 202


@pytest.mark.parametrize(
    "content",
    [signed(listing(1), STRANGER), signed(listing(1)) + "A", "no.jws.atall", "", json.dumps(listing(1))],
    ids=["a stranger's key", "a changed signature", "rubbish", "nothing", "no signature"],
)
async def test_a_manifest_that_no_key_of_the_site_signed_is_refused(open_door: Door, content: str) -> None:
    async with open_door() as door:
        answer = await posted(door, content)
        assert answer.status_code == 403
        assert answer.json()["detail"] == (
            "no key that is registered for this site (manifest_keys) signed this manifest"
        )


async def test_a_key_of_one_clinic_signs_nothing_for_another(open_door: Door) -> None:
    async with open_door() as door:
        assert (await posted(door, signed(listing(1)), site="hamburg")).status_code == 403


@pytest.mark.parametrize(
    ("manifest", "places"),
    [
        (listing(1, 2, count=3), "count is not the number of instances"),
        (listing(1, 1), "an instance is listed twice"),
        (listing(), "instances"),
        (listing(1, study_instance_uid="DOE^JANE"), "study_instance_uid"),
        (listing(1, patient="DOE^JANE"), "patient"),
        ([], "should be an object"),
    ],
    ids=["cut", "twice", "empty", "no UID", "more than is asked", "no object"],
)
async def test_what_a_manifest_has_wrong_is_named_without_a_value(open_door: Door, manifest: Any, places: str) -> None:
    async with open_door() as door:
        answer = await posted(door, signed(manifest))
        assert answer.status_code == 422
        assert places in answer.json()["detail"]
        assert "DOE" not in answer.text


async def test_a_manifest_without_end_is_refused(open_door: Door) -> None:
    async with open_door() as door:
        assert (await posted(door, "x" * (25 << 20))).status_code == 413
