"""The whole service on embedded adapters: triaged studies in, offers out, radiologists over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from radrelay_assignment.context import AssignmentContext
from radrelay_assignment.dispatch import Dispatcher
from radrelay_assignment.main import SERVICE
from radrelay_shared.events import (
    AssignmentClaimed,
    AssignmentReturned,
    AssignmentStranded,
    Event,
    Priority,
    ReportAddended,
    ReportFinalized,
    StudyAssigned,
    StudyTriaged,
)
from radrelay_shared.security import Role
from radrelay_shared.service import Runtime
from radrelay_shared.testing import Downstream, client, deliver, running, until

NOON_IN_MONTANA = datetime(2026, 1, 14, 19, tzinfo=UTC)  # Wednesday; 06:00 on Thursday in Sydney
EVERY_DAY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ALWAYS = [{"days": EVERY_DAY, "from": "00:00", "to": "00:00"}]
HEAD_CT = StudyTriaged(
    site="clinic-a",
    study="st-head",
    priority=Priority.STAT,
    jurisdiction="US-MT",
    received_at=NOON_IN_MONTANA,
    completed_at=NOON_IN_MONTANA,
    study_instance_uid="2.25.1",
    modalities=("CT",),
    subspecialty="neuro",
    due_at=NOON_IN_MONTANA + timedelta(hours=1),
    reasons=("STAT asked by order or-1",),
)
CHEST = HEAD_CT.model_copy(
    update={
        "study": "st-chest",
        "priority": Priority.ROUTINE,
        "subspecialty": "chest",
        "due_at": NOON_IN_MONTANA + timedelta(minutes=30),
        "reasons": ("routine",),
    }
)


@dataclass
class Ward:
    """The service, its clock in the test's hand, and everybody who speaks to it."""

    stack: AsyncExitStack
    folder: Path
    now: datetime = NOON_IN_MONTANA
    people: dict[str, httpx2.AsyncClient] = field(default_factory=dict)
    runtime: Runtime = field(init=False)
    downstream: Downstream = field(init=False)

    async def open(self) -> Ward:
        # Sweeps come only from nudges and from the test: an hour never passes here.
        service = running(SERVICE, self.folder, clock=lambda: self.now, sweep_seconds=3600)
        self.runtime, self.downstream = await self.stack.enter_async_context(service)
        return self

    @property
    def dispatcher(self) -> Dispatcher:
        context = self.runtime.context
        assert isinstance(context, AssignmentContext)
        return context.dispatcher

    async def speak(self, name: str, *roles: Role, sites: tuple[str, ...] = ("*",)) -> httpx2.AsyncClient:
        if name not in self.people:
            http = client(self.runtime, *(roles or (Role.RADIOLOGIST,)), subject=name, sites=sites)
            self.people[name] = await self.stack.enter_async_context(http)
        return self.people[name]

    async def register(self, name: str, **facts: Any) -> httpx2.AsyncClient:
        profile = {"name": name, "licences": ["US-MT"], "time_zone": "America/Denver", "shifts": ALWAYS}
        profile |= {"subspecialties": ["neuro", "chest"], **facts}
        operator = await self.speak("operator", Role.OPERATOR)
        answer = await operator.put(f"/radiologists/key:{name}", json=profile)
        assert answer.status_code == 200, answer.text
        return await self.speak(name)

    async def sweep(self, **later: float) -> None:
        """Let time pass, then look after everything once."""
        self.now += timedelta(**later)
        await self.dispatcher.sweep()
        await self.runtime.relay.idle()

    async def triage(self, *events: Event) -> None:
        for event in events:
            await deliver(self.runtime, event)
        await self.sweep()

    async def item(self, key: str) -> dict[str, Any]:
        answer = await (await self.speak("operator", Role.OPERATOR)).get(f"/workitems/{key}")
        found: dict[str, Any] = answer.json()
        return found

    def offered_to(self) -> list[tuple[str, str]]:
        """In the order in which it was heard of; of several workitems that one sweep offers, in any."""
        return [(event.study, event.radiologist) for event in self.downstream.of(StudyAssigned)]


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    async with AsyncExitStack() as stack:
        yield await Ward(stack, tmp_path).open()


def signed(study: str) -> ReportFinalized:
    return ReportFinalized(
        site="clinic-a", study=study, report="re", version=1, workitem="wi", radiologist="r", content="c", sha256="0"
    )


async def test_stat_head_ct_overtakes_routine_chest(ward: Ward) -> None:
    """The chest came first and is due first; the only radiologist gets the head first all the same."""
    await ward.triage(CHEST, HEAD_CT)
    anna = await ward.register("anna", max_open=1)
    await ward.sweep()
    assert ward.offered_to() == [("st-head", "key:anna")]
    taken = (await anna.post("/worklist/next")).json()
    assert (taken["study"], taken["priority"], taken["subspecialty"]) == ("st-head", "stat", "neuro")
    assert taken["reasons"][:2] == ["STAT asked by order or-1", "licensed in US-MT"]
    assert datetime.fromisoformat(taken["lease_until"]) == ward.now + timedelta(minutes=30)


async def test_a_stat_is_offered_to_a_radiologist_whose_list_is_full_of_routine_work(ward: Ward) -> None:
    await ward.register("anna", max_open=1)
    await ward.triage(CHEST)
    await ward.triage(HEAD_CT)
    assert ward.offered_to() == [("st-chest", "key:anna"), ("st-head", "key:anna")]


async def test_a_wyoming_patient_waits_for_a_radiologist_licensed_there_and_a_person_is_called_once(ward: Ward) -> None:
    await ward.register("anna", licences=["US-MT"])
    await ward.triage(HEAD_CT.model_copy(update={"jurisdiction": "US-WY"}))
    await ward.sweep(seconds=1)
    await ward.sweep(seconds=1)
    [stranded] = ward.downstream.of(AssignmentStranded)
    assert stranded.reasons == ("1 x not licensed in US-WY",)
    assert (await ward.item("wi-head"))["stranded"] is True
    await ward.register("wyn", licences=["US-WY"])
    await ward.sweep()
    assert ward.offered_to() == [("st-head", "key:wyn")]
    assert (await ward.item("wi-head"))["stranded"] is False


async def test_the_night_shift_in_sydney_reads_montana_at_noon_and_then_goes_home(ward: Ward) -> None:
    """Kim works until 07:00 in Sydney, which is 13:00 in Montana; Jo, in Montana, from 13:30."""
    await ward.register("kim", time_zone="Australia/Sydney", shifts=[{"days": ["wed"], "from": "23:00", "to": "07:00"}])
    await ward.register("jo", shifts=[{"days": ["wed", "thu"], "from": "13:30", "to": "17:00"}])
    await ward.triage(HEAD_CT)
    assert ward.offered_to() == [("st-head", "key:kim")]
    await ward.sweep(minutes=60)
    [stranded] = ward.downstream.of(AssignmentStranded)
    assert stranded.reasons == ("2 x off shift",)
    await ward.sweep(minutes=29)
    await ward.sweep(minutes=1)
    assert ward.offered_to()[1:] == [("st-head", "key:jo")]


async def test_an_offer_lapses_sooner_for_a_stat_and_goes_to_somebody_else(ward: Ward) -> None:
    await ward.register("anna")
    await ward.register("bert")
    await ward.triage(HEAD_CT, CHEST)
    assert set(ward.offered_to()) == {("st-head", "key:anna"), ("st-chest", "key:bert")}
    await ward.sweep(seconds=60)
    assert ward.offered_to()[2:] == [("st-head", "key:bert")]
    await ward.sweep(seconds=60)  # Bert let both go by now; the chest is new to Anna
    lapsed = [(event.study, event.radiologist, event.reason) for event in ward.downstream.of(AssignmentReturned)]
    assert sorted(lapsed) == [
        ("st-chest", "key:bert", "lapsed"),
        ("st-head", "key:anna", "lapsed"),
        ("st-head", "key:bert", "lapsed"),
    ]
    assert set(ward.offered_to()[3:]) == {("st-head", "key:anna"), ("st-chest", "key:anna")}


async def test_the_only_radiologist_is_offered_a_lapsed_study_again(ward: Ward) -> None:
    await ward.register("anna")
    await ward.triage(CHEST)
    await ward.sweep(seconds=120)
    assert ward.offered_to() == [("st-chest", "key:anna")] * 2
    assert ward.downstream.of(AssignmentStranded) == []


async def test_a_lease_returns_by_itself_unless_it_is_renewed(ward: Ward) -> None:
    anna = await ward.register("anna")
    await ward.triage(CHEST)
    assert (await anna.post("/worklist/next")).status_code == 200
    await ward.sweep(minutes=29)
    assert (await anna.post("/workitems/wi-chest/renew")).status_code == 200
    await ward.sweep(minutes=29)
    assert (await ward.item("wi-chest"))["ups_state"] == "IN PROGRESS"
    await ward.sweep(minutes=1)
    assert [event.reason for event in ward.downstream.of(AssignmentReturned)] == ["lapsed"]
    untils = [event.until - NOON_IN_MONTANA for event in ward.downstream.of(AssignmentClaimed)]
    assert untils == [timedelta(minutes=30), timedelta(minutes=59)]
    assert (await ward.item("wi-chest"))["state"] == "offered"
    assert (await anna.post("/workitems/wi-chest/renew")).status_code == 409


async def test_of_two_radiologists_who_claim_at_once_one_wins_and_the_other_is_told(ward: Ward) -> None:
    """Nobody has room when the study comes, so it waits; then both take it in the same moment."""
    names = ("anna", "bert", "cleo", "dora")
    readers = [await ward.register(name, shifts=[]) for name in names]
    await ward.triage(HEAD_CT)
    async with ward.dispatcher.turn:  # the dispatcher is elsewhere while the shift begins
        for name in names:
            await ward.register(name)
        answers = await asyncio.gather(*(reader.post("/workitems/wi-head/claim") for reader in readers))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    lost = next(answer.json() for answer in answers if answer.status_code == 409)
    assert lost["detail"] == "somebody else has this workitem (claimed)"
    await ward.runtime.relay.idle()
    assert len(ward.downstream.of(AssignmentClaimed)) == 1


async def test_an_offer_is_for_whom_it_was_made(ward: Ward) -> None:
    anna, bert = await ward.register("anna"), await ward.register("bert", subspecialties=["chest"])
    await ward.triage(HEAD_CT)
    for act in ("claim", "renew", "release", "decline"):
        assert (await bert.post(f"/workitems/wi-head/{act}")).status_code == 409, act
    assert (await bert.post("/worklist/next")).status_code == 204
    assert [item["workitem"] for item in (await anna.get("/worklist")).json()] == ["wi-head"]
    assert (await anna.post("/workitems/wi-head/claim")).status_code == 200
    assert (await anna.post("/workitems/wi-head/claim")).status_code == 200  # a repeated request changes nothing
    assert (await anna.post("/workitems/wi-head/decline")).status_code == 409  # it is claimed: release it
    await ward.runtime.relay.idle()
    assert len(ward.downstream.of(AssignmentClaimed)) == 1


async def test_a_released_study_is_offered_to_the_others_first(ward: Ward) -> None:
    anna = await ward.register("anna")
    await ward.register("bert", subspecialties=["neuro", "chest", "body"])
    await ward.triage(HEAD_CT)
    await anna.post("/worklist/next")
    assert (await anna.post("/workitems/wi-head/release")).json()["state"] == "waiting"
    await ward.sweep()
    assert ward.offered_to() == [("st-head", "key:anna"), ("st-head", "key:bert")]
    history = (await ward.item("wi-head"))["history"]
    assert [(turn["radiologist"], turn["was"], turn["ended"]) for turn in history] == [
        ("key:anna", "claimed", "released")
    ]


async def test_when_all_declined_a_person_is_called(ward: Ward) -> None:
    anna = await ward.register("anna")
    await ward.triage(HEAD_CT)
    await anna.post("/workitems/wi-head/decline")
    await ward.sweep()
    [stranded] = ward.downstream.of(AssignmentStranded)
    assert stranded.reasons == ("1 x declined this study",)


async def test_a_radiologist_pulls_a_waiting_study_only_if_every_rule_holds(ward: Ward) -> None:
    wyn = await ward.register("wyn", licences=["US-WY"])
    anna = await ward.register("anna", shifts=[], max_open=1)
    await ward.triage(HEAD_CT, CHEST.model_copy(update={"priority": Priority.STAT}))
    assert (await wyn.post("/worklist/next")).status_code == 204
    refused = await wyn.post("/workitems/wi-head/claim")
    assert (refused.status_code, refused.json()["detail"]) == (403, "this study is not for you: not licensed in US-MT")
    assert (await anna.post("/workitems/wi-head/claim")).status_code == 403  # off shift
    async with ward.dispatcher.turn:
        await ward.register("anna", max_open=1)
        assert (await anna.post("/worklist/next")).json()["workitem"] == "wi-chest"  # due before the head
        full = await anna.post("/workitems/wi-head/claim")
        assert (full.status_code, full.json()["detail"][:29]) == (409, "you have 1 studies open; fini")


async def test_a_licence_withdrawn_after_the_offer_is_no_licence(ward: Ward) -> None:
    anna = await ward.register("anna")
    await ward.triage(HEAD_CT)
    await ward.register("anna", licences=[])
    assert (await anna.post("/workitems/wi-head/claim")).status_code == 403
    assert (await anna.post("/worklist/next")).status_code == 204


@pytest.mark.parametrize("before", ["waiting", "offered", "claimed", "lapsed", "unknown"])
async def test_a_signed_study_is_done_whatever_came_before(ward: Ward, before: str) -> None:
    if before not in ("waiting", "unknown"):
        anna = await ward.register("anna", max_open=1)
    if before != "unknown":
        await ward.triage(HEAD_CT)
    if before in ("claimed", "lapsed"):
        await anna.post("/worklist/next")
    if before == "lapsed":
        await ward.sweep(minutes=31)
    await deliver(ward.runtime, signed("st-head"))
    await ward.triage(HEAD_CT)  # late, or again: nothing starts anew
    item = await ward.item("wi-head")
    assert (item["state"], item["ups_state"], item["radiologist"]) == ("done", "COMPLETED", None)
    assert item["subspecialty"] == "neuro"
    assert (await (await ward.register("bert")).post("/workitems/wi-head/claim")).status_code == 409


async def test_slices_that_come_after_the_signature_are_on_the_signers_worklist_until_the_addendum(ward: Ward) -> None:
    anna = await ward.register("anna")
    await ward.triage(HEAD_CT)
    await anna.post("/worklist/next")
    by_anna = signed("st-head").model_copy(update={"radiologist": "key:anna"})
    await deliver(ward.runtime, by_anna)
    assert (await anna.get("/worklist")).json() == []
    await ward.triage(HEAD_CT.model_copy(update={"batch": 2}))
    [item] = (await anna.get("/worklist")).json()
    assert (item["study"], item["state"], item["addendum_by"]) == ("st-head", "done", "key:anna")
    addendum = ReportAddended.model_validate(by_anna.model_dump() | {"version": 2})
    await deliver(ward.runtime, addendum)
    assert (await anna.get("/worklist")).json() == []


async def test_signing_makes_room_for_the_next_study(ward: Ward) -> None:
    anna = await ward.register("anna", max_open=1)
    later = {"study": "st-later", "due_at": CHEST.due_at + timedelta(minutes=1)}
    await ward.triage(CHEST, CHEST.model_copy(update=later))
    assert ward.offered_to() == [("st-chest", "key:anna")]
    assert ward.downstream.of(AssignmentStranded) == []  # it waits its turn; nobody need be called
    await anna.post("/worklist/next")
    await deliver(ward.runtime, signed("st-chest"))
    await ward.sweep()
    assert ward.offered_to()[1:] == [("st-later", "key:anna")]


async def test_many_studies_that_nobody_may_read_do_not_hide_one_that_somebody_may(ward: Ward) -> None:
    """240 studies from Wyoming are due before one from Montana; a sweep looks at 200."""
    await ward.register("anna")
    for number in range(240):
        where = {"jurisdiction": "US-WY", "study": f"st-{number}", "due_at": HEAD_CT.due_at - timedelta(minutes=1)}
        await deliver(ward.runtime, HEAD_CT.model_copy(update=where))
    await ward.triage(HEAD_CT)
    for _ in range(3):
        await ward.sweep()
    assert ward.offered_to() == [("st-head", "key:anna")]


async def test_two_processes_that_dispatch_at_once_make_one_offer(ward: Ward) -> None:
    """Two dispatchers over the same documents; the workitem's revision lets one of them through."""
    await ward.triage(HEAD_CT)
    other = await Ward(ward.stack, ward.folder).open()
    async with ward.dispatcher.turn, other.dispatcher.turn:  # both wait for the registration, then both start
        await ward.register("anna")
        await ward.register("bert")
        sweeps = [asyncio.create_task(each.dispatcher.sweep()) for each in (ward, other)]
    await asyncio.gather(*sweeps)
    await ward.runtime.relay.idle()
    offers = [each for side in (ward, other) for each in side.downstream.envelopes if type(each.data) is StudyAssigned]
    assert len({envelope.id for envelope in offers}) == 1


async def test_everybody_sees_only_what_is_theirs(ward: Ward) -> None:
    await ward.register("anna")
    await ward.triage(HEAD_CT)
    stranger = await ward.speak("stranger")
    elsewhere = await ward.speak("elsewhere", Role.RADIOLOGIST, sites=("clinic-b",))
    desk_b = await ward.speak("desk-b", Role.ASSISTANT, sites=("clinic-b",))
    desk_a = await ward.speak("desk-a", Role.ASSISTANT, sites=("clinic-a",))
    assert (await stranger.post("/worklist/next")).status_code == 403  # not registered
    assert (await elsewhere.get("/workitems/wi-head")).status_code == 404
    assert (await elsewhere.post("/workitems/wi-head/claim")).status_code == 404
    assert (await stranger.get("/workitems")).status_code == 403
    assert (await stranger.put("/radiologists/key:stranger", json={})).status_code == 403
    assert (await desk_b.get("/workitems")).json() == []
    assert [item["workitem"] for item in (await desk_a.get("/workitems", params={"state": "offered"})).json()] == [
        "wi-head"
    ]
    assert [each["id"] for each in (await desk_a.get("/radiologists")).json()] == ["key:anna"]
    assert (await stranger.post("/workitems/wi-none/claim")).status_code == 404


async def test_the_dispatcher_offers_by_itself_within_a_moment(tmp_path: Path) -> None:
    """Nobody calls the sweep: a nudge does."""
    async with AsyncExitStack() as stack:
        ward = await Ward(stack, tmp_path).open()
        await ward.register("anna")
        await deliver(ward.runtime, HEAD_CT)
        await until(ward.offered_to)
        assert ward.offered_to() == [("st-head", "key:anna")]
