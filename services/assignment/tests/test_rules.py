"""Who may read a study, who is asked first, and why."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from radrelay_assignment.domain.radiologists import DAYS, Radiologist
from radrelay_assignment.domain.rules import Busy, Chosen, Nobody, choose
from radrelay_assignment.domain.workitems import Turn, Workitem, decline, lapse, offer, to_read, turn_of
from radrelay_shared.events import Priority, StudyTriaged

MONDAY_NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
STAT, URGENT, ROUTINE = Priority.STAT, Priority.URGENT, Priority.ROUTINE
ALWAYS = [{"days": DAYS, "from": "00:00", "to": "00:00"}]
OFFICE = [{"days": DAYS[:5], "from": "08:00", "to": "16:00"}]


def reader(name: str, **facts: Any) -> Radiologist:
    usual = {"licences": ["US-MT"], "subspecialties": ["neuro"], "time_zone": "UTC", "shifts": ALWAYS, "max_open": 5}
    return Radiologist.model_validate({"id": name, "name": name, **usual, **facts})


def study(**facts: Any) -> Workitem:
    usual = {
        "id": "wi-1",
        "site": "clinic-a",
        "study": "st-1",
        "study_instance_uid": "2.25.1",
        "jurisdiction": "US-MT",
        "priority": ROUTINE,
        "subspecialty": "neuro",
        "due_at": MONDAY_NOON,
        "turn": "",
    }
    return Workitem(**{**usual, **facts})


def asked(item: Workitem, *readers: Radiologist, loads: dict[str, Counter[Priority]] | None = None) -> str | None:
    """Who is chosen, by id."""
    outcome = choose(item, readers, loads or {}, MONDAY_NOON)
    return outcome.radiologist.id if isinstance(outcome, Chosen) else None


def test_radiologist_licensed_in_montana_only_is_not_offered_a_wyoming_patient() -> None:
    outcome = choose(study(jurisdiction="US-WY"), [reader("anna")], {}, MONDAY_NOON)
    assert outcome == Nobody(("1 x not licensed in US-WY",))


@pytest.mark.parametrize(
    ("item", "facts", "reason"),
    [
        ({"jurisdiction": "DE-BY"}, {"licences": ["US-MT", "DE-NW"]}, "not licensed in DE-BY"),
        ({"jurisdiction": "DEX"}, {"licences": ["DE"]}, "not licensed in DEX"),
        ({}, {"sites": ["clinic-b"]}, "does not read for clinic-a"),
        ({}, {"subspecialties": ["chest", "body"]}, "does not read neuro"),
        ({"declined": ("anna",)}, {}, "declined this study"),
        ({}, {"shifts": OFFICE, "time_zone": "Australia/Sydney"}, "off shift"),  # 23:00 there
        ({}, {"shifts": []}, "off shift"),
    ],
)
def test_each_rule_says_why_a_radiologist_is_not_asked(
    item: dict[str, Any], facts: dict[str, Any], reason: str
) -> None:
    assert choose(study(**item), [reader("anna", **facts)], {}, MONDAY_NOON) == Nobody((f"1 x {reason}",))


@pytest.mark.parametrize(
    ("item", "facts"),
    [
        ({}, {}),
        ({"jurisdiction": "DE-BY"}, {"licences": ["DE"]}),  # a national licence
        ({"jurisdiction": "DE"}, {"licences": ["DE"]}),
        ({}, {"sites": ["clinic-b", "clinic-a"]}),
        ({"subspecialty": "general"}, {"subspecialties": []}),  # anybody reads general
        ({"declined": ("bert",)}, {}),
        ({}, {"shifts": OFFICE, "time_zone": "Europe/Berlin"}),  # 13:00 there
    ],
)
def test_who_keeps_every_rule_is_asked(item: dict[str, Any], facts: dict[str, Any]) -> None:
    assert asked(study(**item), reader("anna", **facts)) == "anna"


def test_the_least_loaded_is_asked_then_the_least_flexible_then_the_first_id() -> None:
    broad, narrow = reader("anna", subspecialties=["neuro", "chest"]), reader("zoe")
    assert asked(study(), broad, narrow, loads={"zoe": Counter({ROUTINE: 1})}) == "anna"
    assert asked(study(), broad, narrow) == "zoe"
    assert asked(study(), reader("bert"), reader("anna")) == "anna"


def test_a_full_list_makes_a_routine_study_wait_but_never_a_stat() -> None:
    full = {"anna": Counter({ROUTINE: 5})}
    assert choose(study(), [reader("anna")], full, MONDAY_NOON) == Busy()
    assert asked(study(priority=STAT), reader("anna"), loads=full) == "anna"
    assert (
        choose(study(priority=STAT), [reader("anna", max_open=1)], {"anna": Counter({STAT: 1})}, MONDAY_NOON) == Busy()
    )


def test_a_stat_goes_to_whom_has_the_fewest_stats_whatever_else_waits_there() -> None:
    loads = {"anna": Counter({STAT: 1}), "bert": Counter({ROUTINE: 3, URGENT: 1})}
    assert asked(study(priority=STAT), reader("anna"), reader("bert"), loads=loads) == "bert"
    assert asked(study(priority=ROUTINE), reader("anna"), reader("bert"), loads=loads) == "anna"


def test_who_let_it_lapse_is_asked_last_but_asked_again_when_alone() -> None:
    slow = Turn(radiologist="anna", was="offered", ended="lapsed", at=MONDAY_NOON)
    busy = {"bert": Counter({ROUTINE: 4})}
    assert asked(study(history=(slow,)), reader("anna"), reader("bert"), loads=busy) == "bert"
    assert asked(study(history=(slow,)), reader("anna")) == "anna"


def test_an_offer_says_why_this_radiologist() -> None:
    outcome = choose(study(), [reader("anna", time_zone="Europe/Berlin"), reader("b", licences=[])], {}, MONDAY_NOON)
    assert isinstance(outcome, Chosen)
    assert outcome.reasons == (
        "licensed in US-MT",
        "reads neuro",
        "on shift: Mon 13:00 in Europe/Berlin",
        "0 open at least as urgent, of at most 5",
        "first of 1 who could",
    )


def test_nobody_is_explained_by_counts_not_by_a_list_of_all() -> None:
    readers = [reader(f"r{number}", licences=[]) for number in range(3)] + [reader("late", shifts=[])]
    assert choose(study(), readers, {}, MONDAY_NOON) == Nobody(("3 x not licensed in US-MT", "1 x off shift"))
    assert choose(study(), [], {}, MONDAY_NOON) == Nobody(("no radiologist is registered",))


def test_the_order_of_turns_is_stat_first_then_by_deadline() -> None:
    noon, one = MONDAY_NOON, MONDAY_NOON.replace(hour=13)
    turns = [turn_of(*case) for case in ((ROUTINE, noon), (URGENT, one), (STAT, one), (STAT, noon), (URGENT, noon))]
    assert sorted(turns) == [turns[3], turns[2], turns[4], turns[1], turns[0]]


def test_deadlines_sort_by_instant_whatever_their_offset_and_fractions() -> None:
    instants = ["2026-03-02T12:00:00+00:00", "2026-03-02T12:00:00.500+00:00", "2026-03-02T13:00:01+01:00"]
    turns = [turn_of(STAT, datetime.fromisoformat(instant)) for instant in instants]
    assert turns == sorted(turns)


def test_a_raised_priority_reaches_the_workitem_without_disturbing_the_claim() -> None:
    raised = StudyTriaged(
        site="clinic-a",
        study="st-1",
        priority=STAT,
        jurisdiction="US-MT",
        received_at=MONDAY_NOON,
        completed_at=MONDAY_NOON,
        study_instance_uid="2.25.1",
        modalities=("CT",),
        subspecialty="neuro",
        due_at=MONDAY_NOON.replace(hour=13),
        reasons=("STAT asked by order or-1",),
    )
    held = study(state="claimed", radiologist="anna", until=MONDAY_NOON, reasons=("licensed",), sequence=2)
    decision = to_read(held, raised, 3)
    assert decision is not None
    item = decision.state
    assert (item.priority, item.due_at.hour, item.turn[0]) == (STAT, 13, "0")
    assert (item.state, item.radiologist, item.until, item.reasons) == ("claimed", "anna", MONDAY_NOON, ("licensed",))
    assert decision.events == ()
    assert to_read(item, raised.model_copy(update={"priority": ROUTINE}), 2) is None  # an older triage that came late


def test_a_decline_is_remembered_and_an_early_sweep_ends_nothing() -> None:
    offered = offer(study(), "anna", ["licensed"], MONDAY_NOON).state
    assert lapse(offered, MONDAY_NOON.replace(hour=11)) is None
    declined = decline(offered, "anna", MONDAY_NOON).state
    assert (declined.state, declined.radiologist, declined.declined) == ("waiting", None, ("anna",))
    assert lapse(declined, MONDAY_NOON.replace(hour=23)) is None
