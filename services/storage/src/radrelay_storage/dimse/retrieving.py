"""C-GET and C-MOVE (PS3.4 §C.4.2, §C.4.3): which instances an identifier names, and each of them as a data set."""

from __future__ import annotations

from pydicom import dcmread
from pydicom.dataset import Dataset

from radrelay_shared.errors import Invalid, NotFound
from radrelay_shared.security import Principal
from radrelay_storage.access import every_series, note_reading, visible_study
from radrelay_storage.context import StorageContext
from radrelay_storage.shelf import Located

MOST_STUDIES = 100  # that one request names


def uids(identifier: Dataset, name: str) -> set[str]:
    value = identifier.get(name) or []
    return {str(value)} if isinstance(value, str) else {str(each) for each in value}


async def named(identifier: Dataset, caller: Principal, context: StorageContext) -> list[Located]:
    """The instances of the identifier's studies, series and instances that the caller may see; noted as read."""
    studies, series = uids(identifier, "StudyInstanceUID"), uids(identifier, "SeriesInstanceUID")
    instances = uids(identifier, "SOPInstanceUID")
    if not studies or len(studies) > MOST_STUDIES:
        raise Invalid(f"a retrieval names 1 to {MOST_STUDIES} studies by (0020,000D) Study Instance UID here")
    found: list[Located] = []
    for uid in sorted(studies):
        try:
            study = await visible_study(uid, caller, context)
        except NotFound:
            continue  # what is not the caller's looks as if it were not there
        await note_reading(uid, caller, context)
        for each in await every_series(study.study, context):
            if not series or each.series_instance_uid in series:
                found += await context.shelf.instances(each)
    return [each for each in found if not instances or each.packed.sop_instance_uid in instances]


async def data_set(located: Located, context: StorageContext) -> Dataset:
    """The instance, proven; raises `Damaged`."""
    with await context.shelf.whole(located) as file:
        found: Dataset = await context.workers.compute(read, file)
        return found


def read(file: object) -> Dataset:
    return dcmread(file, force=False)  # type: ignore[no-any-return, unused-ignore]
