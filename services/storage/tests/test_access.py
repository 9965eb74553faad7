"""Who may see what: every role, at every site, for every resource."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import product

import pytest
from pydicom.dataset import Dataset

from radrelay_shared.events import StudyAnonymized
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import Downstream, client, deliver

INSTANCE = "/dicom-web/studies/2.25.1/series/2.25.1.1/instances/2.25.1.1.1"
BY_NAME = [
    "/dicom-web/studies/2.25.1",
    "/dicom-web/studies/2.25.1/metadata",
    "/dicom-web/studies/2.25.1/thumbnail",
    "/dicom-web/studies/2.25.1/series",
    "/dicom-web/studies/2.25.1/priors",
    "/dicom-web/studies/2.25.1/instances",
    "/dicom-web/studies/2.25.1/series/2.25.1.1",
    "/dicom-web/studies/2.25.1/series/2.25.1.1/metadata",
    "/dicom-web/studies/2.25.1/series/2.25.1.1/thumbnail",
    "/dicom-web/studies/2.25.1/series/2.25.1.1/instances",
    INSTANCE,
    f"{INSTANCE}/metadata",
    f"{INSTANCE}/rendered",
    f"{INSTANCE}/thumbnail",
    f"{INSTANCE}/bulkdata/7FE00010",
    f"{INSTANCE}/frames/1",
    f"{INSTANCE}/frames/1/rendered",
    f"{INSTANCE}/frames/1/thumbnail",
    "/dicom-web/wado?requestType=WADO&studyUID=2.25.1&seriesUID=2.25.1.1&objectUID=2.25.1.1.1",
]
SEARCHES = [
    "/dicom-web/studies",
    "/dicom-web/studies?StudyInstanceUID=2.25.1",
    "/dicom-web/studies?ModalitiesInStudy=CT,MR",
    "/dicom-web/series",
    "/dicom-web/series?StudyInstanceUID=2.25.1",
    "/dicom-web/series?ModalitiesInStudy=CT",
    "/dicom-web/instances",
    "/dicom-web/instances?SOPInstanceUID=2.25.1.1.1",
]

# Who may look at images at all. The study is of clinic-a.
ROLES: dict[Role, bool] = {
    Role.SITE: True,
    Role.ASSISTANT: True,
    Role.RADIOLOGIST: True,
    Role.REFERRER: True,
    Role.MODEL: True,
    Role.OPERATOR: True,
    Role.AUDITOR: False,
    Role.SERVICE: False,
}
SITES: dict[tuple[str, ...], bool] = {
    ("*",): True,
    ("clinic-a",): True,
    ("clinic-a", "clinic-b"): True,
    ("clinic-b",): False,
    ("clinic-a2", "clinic"): False,
    (): False,
}


def test_the_table_names_every_role() -> None:
    assert set(ROLES) == set(Role)


@pytest.fixture
async def runtime(
    storage: tuple[Runtime, Downstream],
    pack: Callable[..., Awaitable[StudyAnonymized]],
    image: Callable[..., Dataset],
) -> Runtime:
    await deliver(storage[0], await pack(storage[0], [image("CT_small.dcm", 1)]))
    return storage[0]


async def test_every_cell_of_role_site_and_named_resource(runtime: Runtime) -> None:
    """403 for a role that reads no images, 404 for a study of another site, the same as for one that is not there."""
    for (role, looks), (sites, sees) in product(ROLES.items(), SITES.items()):
        expected = (200 if sees else 404) if looks else 403
        async with client(runtime, role, sites=sites) as caller:
            for path in BY_NAME:
                assert (await caller.get(path)).status_code == expected, (role, sites, path)


async def test_every_cell_of_role_site_and_search(runtime: Runtime) -> None:
    """A search passes over what the caller may not see, and says nothing of it."""
    for (role, looks), (sites, sees) in product(ROLES.items(), SITES.items()):
        async with client(runtime, role, sites=sites) as caller:
            for path in SEARCHES:
                answer = await caller.get(path)
                assert answer.status_code == (200 if looks else 403), (role, sites, path)
                assert not looks or len(answer.json()) == sees, (role, sites, path)


async def test_nobody_unknown_sees_anything(runtime: Runtime) -> None:
    async with client(runtime, Role.RADIOLOGIST) as caller:
        for path in [*BY_NAME, *SEARCHES]:
            assert (await caller.get(path, headers={"Authorization": ""})).status_code == 401, path


async def test_a_caller_of_two_roles_sees_what_either_may(runtime: Runtime) -> None:
    async with client(runtime, Role.AUDITOR, Role.RADIOLOGIST, sites=("clinic-a",)) as caller:
        assert (await caller.get(INSTANCE)).status_code == 200


async def test_the_tables_name_every_route(runtime: Runtime) -> None:
    """A route that is added later has to be added to the tables, too."""
    async with client(runtime, Role.OPERATOR) as caller:
        described = (await caller.get("/openapi/storage.json")).json()["paths"]
    named = {path.partition("?")[0] for path in [*BY_NAME, *SEARCHES]}
    values = {"study": "2.25.1", "series": "2.25.1.1", "instance": "2.25.1.1.1", "frames": "1", "path": "7FE00010"}
    assert named == {path.format(**values) for path in described if path.startswith("/dicom-web")}
