"""Who may do what to which study: every role, at every site, in every relation, with every resource."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, timedelta
from itertools import product
from typing import cast

import httpx2
import pytest
import pytest_asyncio
from fastapi.routing import iter_route_contexts
from pydicom.dataset import Dataset

from radrelay_shared.events import (
    AssignmentClaimed,
    AssignmentReturned,
    Event,
    ModelAsked,
    ReportAddended,
    ReportFinalized,
    ReportPreliminary,
    StudyAnonymized,
    StudyAssigned,
)
from radrelay_shared.security import Principal, Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import client, deliver, running
from radrelay_storage.context import StorageContext
from radrelay_storage.dimse.finding import answers
from radrelay_storage.dimse.retrieving import named
from radrelay_storage.main import SERVICE

pytestmark = pytest.mark.asyncio(loop_scope="module")

READER, OTHER = "key:reader", "key:other"  # the subject of every caller, and a colleague
VIEWER_KEY = "0123456789abcdef"
JSON = {"Content-Type": "application/json"}
OPENED = "opened"  # the reader looks at an image

# How the reader comes to stand to a study: what happens to it, and then to another study of its patient.
Acts = list[tuple[str, type[Event] | str]]
GIVEN: Acts = [(READER, StudyAssigned)]
TAKEN: Acts = [(READER, StudyAssigned), (READER, AssignmentReturned)]
LOOKED: Acts = [(READER, StudyAssigned), (READER, OPENED), (READER, AssignmentReturned)]
RELATIONS: dict[str, tuple[Acts, int, Acts]] = {  # the other study is so many days later
    "none": ([], 0, []),
    "offered": (GIVEN, 0, []),
    "claimed": ([(READER, AssignmentClaimed)], 0, []),
    "opened": (LOOKED, 0, []),
    "lapsed": (TAKEN, 0, []),
    "reassigned": ([*GIVEN, (OTHER, StudyAssigned)], 0, []),
    "preliminary": ([*GIVEN, (READER, ReportPreliminary), (READER, AssignmentReturned)], 0, []),
    "signed": ([(READER, ReportFinalized)], 0, []),
    "addended": ([(OTHER, ReportFinalized), (READER, ReportAddended)], 0, []),
    "signed by other": ([*GIVEN, (OTHER, ReportFinalized)], 0, []),
    "prior": ([], 30, GIVEN),
    "prior of signed": ([], 30, [(READER, ReportFinalized)]),
    "prior of opened": ([], 30, LOOKED),
    "prior of lapsed": ([], 30, TAKEN),
    "prior of another": ([], 30, [(OTHER, StudyAssigned)]),
    "later": ([], -30, GIVEN),
    "asked": ([(READER, ModelAsked)], 0, []),
    "other asked": ([(OTHER, ModelAsked)], 0, []),
    "prior of asked": ([], 30, [(READER, ModelAsked)]),
}
NUMBERS = {relation: number for number, relation in enumerate(RELATIONS, 1)}

# + it can be done   - as if the study were not there (404)   x the role never may (403)
LOOK = """
                  site  assistant  radiologist  referrer  model  operator  auditor  service
none              +     +          -            +         -      +         x        x
offered           +     +          +            +         -      +         x        x
claimed           +     +          +            +         -      +         x        x
opened            +     +          +            +         -      +         x        x
lapsed            +     +          -            +         -      +         x        x
reassigned        +     +          -            +         -      +         x        x
preliminary       +     +          +            +         -      +         x        x
signed            +     +          +            +         -      +         x        x
addended          +     +          +            +         -      +         x        x
signed by other   +     +          -            +         -      +         x        x
prior             +     +          +            +         -      +         x        x
prior of signed   +     +          +            +         -      +         x        x
prior of opened   +     +          +            +         -      +         x        x
prior of lapsed   +     +          -            +         -      +         x        x
prior of another  +     +          -            +         -      +         x        x
later             +     +          -            +         -      +         x        x
asked             +     +          -            +         +      +         x        x
other asked       +     +          -            +         -      +         x        x
prior of asked    +     +          -            +         -      +         x        x
"""
# Who may store what they derived from a study that they may look at.
MAKE = {Role.RADIOLOGIST, Role.MODEL}
# In any relation.
ACTS = """
                  site  assistant  radiologist  referrer  model  operator  auditor  service
prove             +     +          x            x         x      +         +        x
verify            x     x          x            x         x      +         +        x
hold              x     +          x            x         x      +         x        x
know              x     +          x            x         x      +         +        x
delete            x     x          x            x         x      +         x        x
"""
RESOURCES = """
look   GET    /dicom-web/studies/{study}
look   GET    /dicom-web/studies/{study}/metadata
look   GET    /dicom-web/studies/{study}/thumbnail
look   GET    /dicom-web/studies/{study}/priors
look   GET    /dicom-web/studies/{study}/series
look   GET    /dicom-web/studies/{study}/instances
look   GET    /dicom-web/studies/{study}/series/{series}
look   GET    /dicom-web/studies/{study}/series/{series}/metadata
look   GET    /dicom-web/studies/{study}/series/{series}/thumbnail
look   GET    /dicom-web/studies/{study}/series/{series}/instances
look   GET    /dicom-web/studies/{study}/series/{series}/instances/{instance}
look   GET    /dicom-web/studies/{study}/series/{series}/instances/{instance}/metadata
look   GET    /dicom-web/studies/{study}/series/{series}/instances/{instance}/rendered
look   GET    /dicom-web/studies/{study}/series/{series}/instances/{instance}/thumbnail
look   GET    /dicom-web/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}
look   GET    /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{frames}
look   GET    /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered
look   GET    /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail
look   GET    /dicom-web/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}
make   POST   /dicom-web/studies/{study} {"derived": "objects"}
look   GET    /viewers/IHEInvokeImageDisplay?requestType=STUDY&studyUID={study}
look   POST   /viewers/links {"study": "{study}"}
find   GET    /dicom-web/studies?StudyInstanceUID={study}
find   GET    /dicom-web/studies?StudyInstanceUID={study}&ModalitiesInStudy=CT,MR
find   GET    /dicom-web/series?StudyInstanceUID={study}
find   GET    /dicom-web/series?StudyInstanceUID={study}&ModalitiesInStudy=CT
find   GET    /dicom-web/instances?StudyInstanceUID={study}
prove  GET    /custody/{key}
prove  GET    /custody/{key}/instances/{instance}
verify POST   /custody/{key}/verify
hold   PUT    /holds/{key}/{matter}
know   GET    /holds/{key}
delete DELETE /holds/{key}/{matter}
delete POST   /purges/{key} {"reason": "test-data"}
delete POST   /purges/{key}/approve
delete POST   /purges/{key}/withdraw
"""
# What is about no study: by the row of ACTS, or for whoever may look at any image.
OTHERS = """
make   POST   /dicom-web/studies {"derived": "objects"}
look   POST   /viewers/links {}
look   POST   /viewers/sessions
verify GET    /custody
verify GET    /custody/checkpoints/last
verify POST   /custody/checkpoints/{number}/verify
know   GET    /purges
"""
SITES = {("clinic-a",): True, ("clinic-a", "clinic-b"): True, ("*",): True, ("clinic-a2", "clinic"): False, (): False}
OWN, FOREIGN = ("clinic-a",), ("clinic-b",)


def table(text: str) -> dict[str, dict[Role, str]]:
    """Row → role → sign."""
    head, *lines = text.strip("\n").splitlines()
    roles = [Role(name) for name in head.split()]
    return {
        line[: head.index("site")].strip(): dict(zip(roles, line[head.index("site") :].split(), strict=True))
        for line in lines
    }


def lines(text: str) -> list[tuple[str, str, str, str]]:
    """(Row of ACTS, method, path, body)."""
    found = [line.split(None, 3) for line in text.strip().splitlines()]
    return [(act, method, path, "".join(body)) for act, method, path, *body in found]


def filled(text: str, number: int) -> str:
    uid = f"2.25.{number}"
    values = {"study": uid, "series": f"{uid}.1", "instance": f"{uid}.1.1", "frames": "1", "path": "7FE00010"}
    for name, value in (values | {"key": f"st-{number}", "matter": "case-1", "number": "1"}).items():
        text = text.replace(f"{{{name}}}", value)
    return text


def expected(act: str, role: Role, relation: str, *, own: bool) -> str:
    if act == "make" and role not in MAKE:
        return "x"
    sign = table(LOOK)[relation][role] if act in ("look", "find", "make") else table(ACTS)[act][role]
    return "x" if sign == "x" else sign if own else "-"


def sign_of(act: str, answer: httpx2.Response) -> str:
    """What an answer says, in the tables' signs."""
    if answer.status_code == 403 and answer.json()["detail"].startswith("this needs the role"):
        return "x"
    if act == "find" and answer.status_code == 200:
        return "+" if len(answer.json()) == 1 else "-"
    return {404: "-", 422: "not understood", 400: "not understood"}.get(answer.status_code, "+")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runtime(
    tmp_path_factory: pytest.TempPathFactory,
    pack: Callable[..., Awaitable[StudyAnonymized]],
    image: Callable[..., Dataset],
    assign: Callable[..., Awaitable[None]],
) -> AsyncIterator[Runtime]:
    """A study of clinic A for each relation, and for some another one of its patient."""
    async with running(SERVICE, tmp_path_factory.mktemp("access"), claim_seconds=0, viewer_key=VIEWER_KEY) as (
        found,
        _,
    ):

        async def stored(number: int, patient: int, day: date) -> None:
            facts = {"PatientID": f"RR-{patient}", "StudyDate": f"{day:%Y%m%d}"}
            await deliver(found, await pack(found, [image("CT_small.dcm", number, **facts)], study=f"st-{number}"))

        async def done(acts: Acts, number: int) -> None:
            for sequence, (who, act) in enumerate(acts, 1):
                if isinstance(act, str):
                    async with client(found, Role.RADIOLOGIST, subject="reader") as reader:
                        assert (await reader.get(f"/dicom-web/studies/2.25.{number}/metadata")).status_code == 200
                else:
                    await assign(found, who, number, act, sequence=sequence)

        for relation, number in NUMBERS.items():
            acts, days, others = RELATIONS[relation]
            await stored(number, number, date(2025, 3, 1))
            await done(acts, number)
            if days:
                await stored(number + 100, number, date(2025, 3, 1) + timedelta(days=days))
                await done(others, number + 100)
        yield found


async def test_the_tables_name_every_role_and_relation() -> None:
    assert [set(row) for row in table(LOOK).values()] == [set(Role)] * len(RELATIONS)
    assert list(table(LOOK)) == list(RELATIONS)
    assert [set(row) for row in table(ACTS).values()] == [set(Role)] * 5


async def test_the_tables_name_every_route(runtime: Runtime) -> None:
    """A route that is added later has to be added to the tables, too."""
    ours = {
        (method, re.sub(r"{[^}]*}", "x", str(route.path)))
        for route in iter_route_contexts(runtime.app.routes)
        for method in route.methods or ()
        if str(route.path).startswith(runtime.service.paths)
    }
    listed = [*lines(RESOURCES), *lines(OTHERS)]
    assert {(method, re.sub(r"{[^}]*}", "x", path.partition("?")[0])) for _, method, path, _ in listed} == ours


@pytest.mark.parametrize("role", Role)
async def test_every_cell_of_role_site_relation_and_resource(runtime: Runtime, role: Role) -> None:
    wrong = []
    for own, sites in ((True, OWN), (False, FOREIGN)):
        async with client(runtime, role, sites=sites, subject="reader") as caller:
            for (relation, number), (act, method, path, body) in product(NUMBERS.items(), lines(RESOURCES)):
                answer = await caller.request(
                    method, filled(path, number), content=filled(body, number) or None, headers=JSON
                )
                cell = (sign_of(act, answer), expected(act, role, relation, own=own))
                if cell[0] != cell[1]:
                    wrong.append((sites, relation, method, path, cell, answer.status_code))
    assert wrong == [], "\n".join(map(str, wrong))


async def test_every_cell_of_role_and_what_is_about_no_study(runtime: Runtime) -> None:
    for role, (act, method, path, body) in product(Role, lines(OTHERS)):
        async with client(runtime, role, sites=OWN, subject="reader") as caller:
            answer = await caller.request(method, filled(path, 1), content=body or None, headers=JSON)
        never = expected(act, role, "none", own=True) == "x"
        assert (sign_of("", answer) == "x") is never, (role, method, path)


async def test_a_search_lists_what_is_visible_and_nothing_else(runtime: Runtime) -> None:
    """Of every study, at every level, with each set of sites."""
    for role, (sites, own), level in product(Role, SITES.items(), ("studies", "series", "instances")):
        async with client(runtime, role, sites=sites, subject="reader") as caller:
            answer = await caller.get(f"/dicom-web/{level}?limit=1000")
        if table(LOOK)["none"][role] == "x":
            assert answer.status_code == 403
            continue
        found = {each["0020000D"]["Value"][0] for each in answer.json()}
        for relation, number in NUMBERS.items():
            seen = table(LOOK)[relation][role] == "+" and own
            assert (f"2.25.{number}" in found) is seen, (role, sites, level, relation)


async def test_workstations_find_and_fetch_by_the_same_table(runtime: Runtime) -> None:
    context = cast("StorageContext", runtime.context)
    for role, (sites, own), relation in product(Role, SITES.items(), RELATIONS):
        if (sign := table(LOOK)[relation][role]) != "x":
            caller, identifier = Principal(READER, frozenset({role}), frozenset(sites)), Dataset()
            identifier.StudyInstanceUID, identifier.QueryRetrieveLevel = f"2.25.{NUMBERS[relation]}", "STUDY"
            found = [each async for each in answers(identifier, caller, context)]
            fetched = await named(identifier, caller, context)
            assert (len(found), len(fetched)) == ((1, 1) if sign == "+" and own else (0, 0)), (role, sites, relation)


async def test_nobody_unknown_does_anything(runtime: Runtime) -> None:
    async with client(runtime) as caller:
        for _, method, path, _ in [*lines(RESOURCES), *lines(OTHERS)]:
            answer = await caller.request(method, filled(path, 1), headers={"Authorization": ""})
            assert answer.status_code == 401, path


async def test_a_caller_of_several_roles_has_the_widest_of_their_rights(runtime: Runtime) -> None:
    wanted = f"/dicom-web/studies/2.25.{NUMBERS['none']}"
    for others, status in (((), 404), ((Role.AUDITOR,), 404), ((Role.ASSISTANT,), 200), ((Role.MODEL,), 404)):
        async with client(runtime, Role.RADIOLOGIST, *others, sites=OWN, subject="reader") as caller:
            assert (await caller.get(wanted)).status_code == status, others
