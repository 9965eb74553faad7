"""Identity beside a study's images, among the originals: what its patient is called now, and who else is named."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial

from radrelay_ingest.context import IngestContext
from radrelay_ingest.domain.orders import Order
from radrelay_ingest.domain.patients import Identifier, Patient
from radrelay_ingest.domain.reviews import Reason, called
from radrelay_ingest.domain.studies import Study
from radrelay_shared.confided import confide
from radrelay_shared.events import Key
from radrelay_shared.named import Named, keep_named


async def rename(context: IngestContext, study: Study, patient: Patient, reason: Reason) -> None:
    """From now on reports on the study go back under what this says; nothing happens if the study says so already."""
    if patient == study.subject.patient:
        return
    identity = await _kept(context, study, patient)
    change = partial(called, patient=patient, identity=identity, reason=reason)
    await context.store.change(Study, study.study, change)


async def _kept(context: IngestContext, study: Study, patient: Patient) -> str:
    """The patient among the originals, in the vault's words; the blob's key."""
    number = patient.ids[0] if patient.ids else Identifier()
    said = {"id": number.value, "issuer": number.issuer or number.universal}
    said |= patient.model_dump(include={"name", "birth_date", "sex"})
    content = json.dumps({name: value for name, value in said.items() if value}, ensure_ascii=False).encode()
    return await confide(context.originals, f"identities/{study.study}/patient", content, context.secret)


async def keep_words(context: IngestContext, study: Study, orders: Iterable[Order]) -> Key:
    """Whom the study's patient, its clinic and these orders name, among the originals; the blob's key."""
    await context.refresh_sites()  # another process may have taken new names
    first = (study.subject.patient.named, context.site(study.site).named)
    named = Named.union(*first, *(order.request.named for order in orders))
    return await keep_named(context.originals, study.study, named, context.secret)
