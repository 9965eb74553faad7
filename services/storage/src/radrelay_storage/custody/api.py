"""The ledger over HTTP: the proof for whoever owns the study, and verification for whoever watches over it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from radrelay_shared.errors import NotFound
from radrelay_shared.packs import read_manifest
from radrelay_shared.security import Principal
from radrelay_storage.access import Ctx, StudyKey, Uid, may, own_sites
from radrelay_storage.context import StorageContext
from radrelay_storage.custody.chain import Facts, Kind
from radrelay_storage.custody.checkpoints import Checkpoint, checkpoint_id, last_checkpoint
from radrelay_storage.custody.ledger import PAGE, first_links, links_of, whole_chain
from radrelay_storage.custody.verify import Verdict, living, verify_checkpoint, verify_study
from radrelay_storage.rights import Act

router = APIRouter(prefix="/custody", tags=["custody"])

Owner = Annotated[Principal, may(Act.PROVE)]
Warden = Annotated[Principal, may(Act.VERIFY)]
STUDY_KEY_OR_NONE = r"^[a-z0-9-]{0,64}$"
Number = Annotated[int, Path(ge=1, le=999_999_999)]


class Entry(BaseModel):
    """One hop. `sha256` is that of all fields before it but `covered`, as JSON with sorted keys and no spaces."""

    study: str
    site: str
    number: int
    kind: Kind
    mark: str
    at: str
    who: str
    facts: Facts
    previous: str
    sha256: str
    covered: int


class Proof(BaseModel):
    """A page of a study's chain, and the signed checkpoints over it."""

    study: str
    entries: list[Entry]
    checkpoints: list[dict[str, Any]]
    public_keys: dict[str, str]  # Ed25519, raw, in hexadecimal, by key id


class InstanceProof(BaseModel):
    """An instance's hash, in the manifest whose hash is in the entry of this number."""

    sop_instance_uid: str
    sha256: str
    manifest: str
    manifest_sha256: str
    entry: int


@router.get("")
async def studies(
    caller: Warden, context: Ctx, after: Annotated[str, Query(pattern=STUDY_KEY_OR_NONE)] = ""
) -> list[str]:
    """The keys of the studies in the ledger, a page of them, in order; `after` is the last of the page before."""
    return [link.study for link in await first_links(context.store, after, own_sites(caller))]


@router.get("/checkpoints/last")
async def newest(_: Warden, context: Ctx) -> dict[str, Any]:
    """The last checkpoint; `number` is 0 if there is none yet."""
    found = await last_checkpoint(context.store)
    return {"number": found.number, "sha256": found.sha256} if found else {"number": 0, "sha256": ""}


@router.post("/checkpoints/{number}/verify")
async def verify_one_checkpoint(number: Number, _: Warden, context: Ctx) -> Verdict:
    """Whether one checkpoint still holds: signature, order, and every chain's head that it signed."""
    return await verify_checkpoint(context.store, context.signer, number)


@router.get("/{study}")
async def proof(
    study: StudyKey,
    caller: Owner,
    context: Ctx,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE,
) -> Proof:
    """What happened to a study, from receipt to delivery and deletion, with all that it takes to check it."""
    await must_own(study, caller, context)
    links = await links_of(context.store, study, after=after, limit=limit)
    numbers = sorted({link.covered for link in links if link.covered})
    checkpoints = [await context.store.read(Checkpoint, checkpoint_id(number)) for number in numbers]
    return Proof(
        study=study,
        entries=[Entry.model_validate(link.model_dump()) for link in links],
        checkpoints=[each.text | {"signature": each.signature} for each in checkpoints if each],
        public_keys=context.public_keys,
    )


@router.get("/{study}/instances/{instance}")
async def instance_proof(study: StudyKey, instance: Uid, caller: Owner, context: Ctx) -> InstanceProof:
    """How one SOP instance (by its de-identified UID) hangs in the chain."""
    await must_own(study, caller, context)
    for link in reversed(living(await whole_chain(context.store, study))):
        key = str(link.facts["manifest"])
        for series in (await read_manifest(context.blobs, key)).series:
            for each in series.instances:
                if each.sop_instance_uid == instance:
                    return InstanceProof(
                        sop_instance_uid=instance,
                        sha256=each.sha256,
                        manifest=key,
                        manifest_sha256=str(link.facts.get("manifest_sha256", "")),
                        entry=link.number,
                    )
    raise NotFound("no copy in this chain is of this instance")


@router.post("/{study}/verify")
async def verify(study: StudyKey, caller: Warden, context: Ctx) -> Verdict:
    """Read chain, checkpoints and objects again, and name the first thing that does not hold."""
    await must_own(study, caller, context)
    async with context.verifying:
        return await verify_study(context.store, context.blobs, context.signer, study)


async def must_own(study: str, caller: Principal, context: StorageContext) -> None:
    first = await links_of(context.store, study, limit=1)
    if not first or not caller.sees(first[0].site):
        raise NotFound("there is no study of this key for you here")
