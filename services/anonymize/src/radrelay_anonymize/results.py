"""Results that come back from models and viewers, on request under the patient's own name."""

from __future__ import annotations

import asyncio

from radrelay_anonymize.context import AnonymizeContext
from radrelay_anonymize.domain.cases import Case
from radrelay_anonymize.domain.profile import Option, Profile
from radrelay_anonymize.domain.pseudonyms import date_shift
from radrelay_anonymize.domain.restore import Return, restored
from radrelay_anonymize.vault import current_identity, identity_in, uids_of_patient
from radrelay_shared.dicom.reading import encode, read


async def restored_result(context: AnonymizeContext, case: Case, data: bytes) -> bytes:
    """The result with identity, UIDs and dates of the originals; raises `Invalid` if it is none of this study's."""
    identity = identity_in(context, case)
    days = date_shift(context.tenant_secret, case.site, *identity.whose) if moves_dates(case.profile) else 0
    way = Return(await current_identity(context, case), case.pseudonym, days, await uids_of_patient(context, case))
    return await asyncio.to_thread(lambda: encode(restored(read(data), way)))


def moves_dates(profile: Profile | None) -> bool:
    return profile is not None and Option.RETAIN_MODIFIED_DATES in profile.options
