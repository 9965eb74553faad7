"""Every promise of the `Documents` port, over every adapter. `test_documents_alone` has each one's own failures."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from contract.documents_desk import ids, message, write
from radrelay_shared.connect import connect_documents
from radrelay_shared.errors import Conflict, Invalid
from radrelay_shared.ports import Document, Documents, Eq, Has, In, Index, Message, Prefix, Range, Where, Wildcard

GIVEN_URL = os.environ.get("RADRELAY_TEST_MONGODB_URL", "")
ADAPTERS = [
    "sqlite",
    pytest.param("secantusdb", marks=pytest.mark.external),
    *([pytest.param("mongodb", marks=pytest.mark.external)] if GIVEN_URL else []),
]

Open = Callable[[], Awaitable[Documents]]


@pytest.fixture(params=ADAPTERS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of the test's own."""
    database = f"radrelay_test_{uuid4().hex}"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/documents.db"
    if request.param == "secantusdb":
        return f"{request.getfixturevalue('secantusdb').url}/{database}"
    server, _, options = GIVEN_URL.partition("?")
    host = "/".join(server.split("/")[:3])
    return f"{host}/{database}?{options}"


@pytest.fixture
async def opened(url: str) -> AsyncIterator[Open]:
    """Open one more instance on the same store, as another process would."""
    async with AsyncExitStack() as stack:

        async def one_more() -> Documents:
            documents = await connect_documents(url)
            stack.push_async_callback(documents.close)
            return documents

        yield one_more
        if url.startswith("mongodb"):
            await cast("Any", await one_more())._database().command("dropDatabase")


@pytest.fixture
async def documents(opened: Open) -> Documents:
    return await opened()


# ── one document ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_saved_study_is_read_back_as_it_was_written(documents: Documents) -> None:
    state = {"status": "received", "series": [{"uid": "1.2.3", "images": 300}], "order": None, "stat": True}
    written = await documents.save("studies", "study-1", state, revision=0, seen="event-1")
    assert written == Document("study-1", 1, state, ("event-1",))
    assert await documents.get("studies", "study-1") == written


async def test_a_document_that_was_never_written_is_none(documents: Documents) -> None:
    assert await documents.get("studies", "study-1") is None


async def test_the_same_key_in_two_collections_is_two_documents(documents: Documents) -> None:
    await documents.save("studies", "1", {"is": "study"}, revision=0)
    await documents.save("orders", "1", {"is": "order"}, revision=0)
    assert [(await documents.get(name, "1")).state for name in ("studies", "orders")] == [  # type: ignore[union-attr]  # both are there
        {"is": "study"},
        {"is": "order"},
    ]


async def test_a_write_from_the_current_revision_replaces_the_whole_state(documents: Documents) -> None:
    first = await documents.save("studies", "study-1", {"status": "received", "images": 3}, revision=0)
    second = await documents.save("studies", "study-1", {"status": "stored"}, revision=first.revision)
    assert second == Document("study-1", 2, {"status": "stored"})
    assert await documents.get("studies", "study-1") == second


async def test_a_second_creation_of_the_same_document_is_a_conflict(documents: Documents) -> None:
    await documents.save("studies", "study-1", {"by": "first"}, revision=0)
    with pytest.raises(Conflict):
        await documents.save("studies", "study-1", {"by": "second"}, revision=0)
    assert await documents.get("studies", "study-1") == Document("study-1", 1, {"by": "first"})


@pytest.mark.parametrize("revision", [1, 3])
async def test_a_write_from_another_revision_leaves_nothing_behind(documents: Documents, revision: int) -> None:
    await documents.save("studies", "study-1", {"n": 1}, revision=0)
    current = await documents.save("studies", "study-1", {"n": 2}, revision=1, seen="event-1")
    with pytest.raises(Conflict):
        await documents.save("studies", "study-1", {"n": 3}, revision=revision, outgoing=[message(1)], seen="event-2")
    assert await documents.get("studies", "study-1") == current
    assert await documents.outgoing() == []


async def test_an_update_of_a_document_that_is_not_there_is_a_conflict(documents: Documents) -> None:
    with pytest.raises(Conflict):
        await documents.save("studies", "study-1", {}, revision=1)
    assert await documents.get("studies", "study-1") is None


async def test_the_last_256_handled_events_stay_known(documents: Documents) -> None:
    for revision in range(260):
        await documents.save("studies", "study-1", {}, revision=revision, seen=f"event-{revision}")
    found = await documents.get("studies", "study-1")
    assert found is not None
    assert found.seen[-256:] == tuple(f"event-{number}" for number in range(4, 260))


async def test_a_write_without_an_event_keeps_the_handled_ones(documents: Documents) -> None:
    await documents.save("studies", "study-1", {}, revision=0, seen="event-1")
    written = await documents.save("studies", "study-1", {"n": 1}, revision=1)
    assert written.seen == ("event-1",)


async def test_eight_writers_count_to_forty_and_no_increment_is_lost(opened: Open) -> None:
    async def count_five(documents: Documents) -> None:
        done = 0
        while done < 5:
            found = await documents.get("counters", "images") or Document("images", 0, {"n": 0})
            try:
                await documents.save("counters", "images", {"n": found.state["n"] + 1}, revision=found.revision)
                done += 1
            except Conflict:
                await asyncio.sleep(0)

    both = [await opened(), await opened()]
    await asyncio.gather(*(count_five(both[number % 2]) for number in range(8)))
    assert await both[0].get("counters", "images") == Document("images", 40, {"n": 40})


async def test_a_conflict_among_many_concurrent_writes_is_the_loser_s_alone(documents: Documents) -> None:
    await documents.save("studies", "7", {"by": "first"}, revision=0)
    writes = [documents.save("studies", str(n), {"by": "group"}, revision=0, outgoing=[message(n)]) for n in range(20)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Conflict)] == [7]
    assert await documents.count("studies", [Eq("by", "group")]) == 19
    assert len(await documents.outgoing()) == 19


@pytest.mark.parametrize(
    "value",
    ["Müller^Jürgen", "山田^太郎=やまだ^たろう", "😀\u0301", "", "a\nb", "back\\slash\"quote'", "a\0b", 0, -1,
     2**53 + 1, -(2**63), 2**63 - 1, 0.1, -0.0, 1e308, 5e-324, True, False, None, [], {}, [[], [{}]], {"": ""},
     {"00100010": {"vr": "PN"}}],
    ids=repr,
)  # fmt: skip
async def test_json_of_every_kind_round_trips(documents: Documents, value: Any) -> None:
    await documents.save("studies", "ключ/1.2.3 é", {"value": value}, revision=0)
    found = await documents.get("studies", "ключ/1.2.3 é")
    assert found is not None
    assert found.state == {"value": value}
    assert isinstance(found.state["value"], type(value))


async def test_a_whole_float_stays_a_float_and_an_integer_an_integer(documents: Documents) -> None:
    await documents.save("studies", "1", {"float": 1.0, "int": 1, "big": 2**40}, revision=0)
    found = await documents.get("studies", "1")
    assert found is not None
    assert [isinstance(found.state[name], float) for name in ("float", "int", "big")] == [True, False, False]


@pytest.mark.parametrize(
    "state",
    [{"1.2.840": 1}, {"$set": 1}, {"deep": [{"a.b": 1}]}, {"nul\0": 1}, {1: 1}, {"n": 2**63}, {"n": float("nan")},
     {"n": float("inf")}, {"at": object()}, {"b": b"x"}, {"half": "\ud800"}, ["no object"]],
    ids=repr,
)  # fmt: skip
async def test_what_a_store_cannot_keep_unchanged_is_invalid(documents: Documents, state: Any) -> None:
    with pytest.raises(Invalid):
        await documents.save("studies", "study-1", state, revision=0)
    assert await documents.get("studies", "study-1") is None


async def test_a_state_that_is_nested_without_end_is_invalid(documents: Documents) -> None:
    state: dict[str, Any] = {}
    state["self"] = state
    with pytest.raises(Invalid):
        await documents.save("studies", "study-1", state, revision=0)


async def test_changing_a_state_after_the_save_began_changes_nothing_that_is_stored(documents: Documents) -> None:
    state = {"images": [1, 2]}
    saving = asyncio.ensure_future(documents.save("studies", "study-1", state, revision=0))
    await asyncio.sleep(0)
    state["images"].append(3)
    await saving
    assert await documents.get("studies", "study-1") == Document("study-1", 1, {"images": [1, 2]})


@pytest.mark.parametrize("name", ["", "a b", "a'b", "a.b", "$x", "_health", "Studies", "x" * 65])
async def test_a_collection_has_a_plain_name(documents: Documents, name: str) -> None:
    with pytest.raises(Invalid):
        await documents.save(name, "1", {}, revision=0)
    with pytest.raises(Invalid):
        await documents.find(name)


@pytest.mark.parametrize("key", ["", "x" * 513, "a\0", "\udc00"], ids=repr)
async def test_a_document_has_an_id_that_every_store_can_index(documents: Documents, key: str) -> None:
    with pytest.raises(Invalid):
        await documents.save("studies", key, {}, revision=0)


# ── deleting ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_deleted_draft_is_gone_and_may_be_made_anew(documents: Documents) -> None:
    await documents.save("studies", "study-1", {"n": 1}, revision=0)
    await documents.delete("studies", "study-1", revision=1)
    assert await documents.get("studies", "study-1") is None
    assert (await documents.save("studies", "study-1", {"n": 2}, revision=0)).revision == 1


@pytest.mark.parametrize("revision", [0, 1, 3])
async def test_only_the_current_revision_can_be_deleted(documents: Documents, revision: int) -> None:
    await documents.save("studies", "study-1", {}, revision=0)
    await documents.save("studies", "study-1", {}, revision=1)
    with pytest.raises(Conflict):
        await documents.delete("studies", "study-1", revision=revision)
    assert await documents.count("studies") == 1


async def test_deleting_a_document_that_is_not_there_is_a_conflict(documents: Documents) -> None:
    with pytest.raises(Conflict):
        await documents.delete("studies", "study-1", revision=1)


async def test_a_document_with_an_unpublished_event_cannot_be_deleted(documents: Documents) -> None:
    await documents.save("studies", "study-1", {}, revision=0, outgoing=[message(1)])
    with pytest.raises(Conflict):
        await documents.delete("studies", "study-1", revision=1)
    await documents.settle("studies", "study-1", ["event-1"])
    await documents.delete("studies", "study-1", revision=1)
    assert await documents.count("studies") == 0


# ── the outbox ───────────────────────────────────────────────────────────────────────────────────────


async def test_events_wait_with_their_document_until_they_are_settled(documents: Documents) -> None:
    await documents.save("studies", "study-1", {}, revision=0, outgoing=[message(1), message(2, urgent=True)])
    (waiting,) = await documents.outgoing()
    assert (waiting.collection, waiting.document_id) == ("studies", "study-1")
    assert waiting.messages == (
        Message("event-1", "radrelay.study.received.v1", False, b'{"study": 1}', {"traceparent": "00-1-2-01"}),
        Message("event-2", "radrelay.study.received.v1", True, b'{"study": 2}', {"traceparent": "00-1-2-01"}),
    )


async def test_a_message_s_bytes_and_headers_are_kept_exactly(documents: Documents) -> None:
    odd = Message("event-1", "t", False, bytes(range(256)), {"$dotted.name": "ä\n"})
    await documents.save("studies", "study-1", {}, revision=0, outgoing=[odd])
    assert (await documents.outgoing())[0].messages == (odd,)


async def test_later_events_of_a_document_wait_behind_its_earlier_ones(documents: Documents) -> None:
    await documents.save("studies", "study-1", {}, revision=0, outgoing=[message(1)])
    await documents.save("studies", "study-1", {}, revision=1, outgoing=[message(2), message(3)])
    (waiting,) = await documents.outgoing()
    assert [one.id for one in waiting.messages] == ["event-1", "event-2", "event-3"]


async def test_the_longest_waiting_document_of_any_collection_comes_first(documents: Documents) -> None:
    for number, (collection, key) in enumerate([("studies", "z"), ("orders", "a"), ("studies", "b"), ("orders", "c")]):
        await documents.save(collection, key, {}, revision=0, outgoing=[message(number)])
    await documents.save("studies", "z", {}, revision=1, outgoing=[message(9)])
    everything = [(one.collection, one.document_id) for one in await documents.outgoing()]
    assert everything == [("studies", "z"), ("orders", "a"), ("studies", "b"), ("orders", "c")]
    assert [(one.collection, one.document_id) for one in await documents.outgoing(limit=2)] == everything[:2]


async def test_settling_one_event_leaves_the_others_and_the_document_alone(documents: Documents) -> None:
    written = await documents.save(
        "studies", "study-1", {"n": 1}, revision=0, outgoing=[message(1), message(2)], seen="event-0"
    )
    await documents.settle("studies", "study-1", ["event-1"])
    (waiting,) = await documents.outgoing()
    assert [one.id for one in waiting.messages] == ["event-2"]
    assert await documents.get("studies", "study-1") == written


async def test_settling_twice_or_too_much_is_fine(documents: Documents) -> None:
    await documents.save("studies", "study-1", {}, revision=0, outgoing=[message(1)])
    for _ in range(2):
        await documents.settle("studies", "study-1", ["event-1", "event-unknown"])
    await documents.settle("studies", "study-unknown", ["event-1"])
    await documents.settle("studies", "study-1", [])
    assert await documents.outgoing() == []
    assert await documents.count("studies") == 1


async def test_an_event_settles_only_for_its_own_document(documents: Documents) -> None:
    for key in ("study-1", "study-2"):
        await documents.save("studies", key, {}, revision=0, outgoing=[message(1)])
    await documents.settle("studies", "study-1", ["event-1"])
    assert [one.document_id for one in await documents.outgoing()] == ["study-2"]


async def test_another_instance_finds_what_a_lost_writer_left_waiting(opened: Open) -> None:
    writer, relay = await opened(), await opened()
    await writer.save("studies", "study-1", {}, revision=0, outgoing=[message(1)])
    await writer.close()
    assert [one.document_id for one in await relay.outgoing()] == ["study-1"]


# ── finding ──────────────────────────────────────────────────────────────────────────────────────────

VALUES: dict[str, Any] = {
    "missing": {},
    "null": {"v": None},
    "text": {"v": "CT"},
    "lower": {"v": "ct"},
    "digit": {"v": "1"},
    "one": {"v": 1},
    "float": {"v": 1.0},
    "half": {"v": 1.5},
    "minus": {"v": -2},
    "true": {"v": True},
    "false": {"v": False},
    "list": {"v": ["CT", 1]},
    "nested": {"v": [["CT"], [1]]},
    "nulls": {"v": [None]},
    "object": {"v": {"w": "CT"}},
    "objects": {"v": [{"w": "CT"}]},
    "json": {"v": '["CT",1]'},
    "empty": {"v": ""},
    "line": {"v": "CT\n"},
}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Eq("v", "CT"), "text"),
        (Eq("v", "1"), "digit"),
        (Eq("v", 1), "one float"),
        (Eq("v", 1.0), "one float"),
        (Eq("v", True), "true"),
        (Eq("v", False), "false"),
        (Eq("v", ""), "empty"),
        (Eq("v", '["CT",1]'), "json"),
        (Eq("v", None), "missing null"),
        (Eq("v.w", "CT"), "object"),
        (Eq("v.0", "CT"), ""),
        (Eq("other", "CT"), ""),
        (Eq("other", None), " ".join(VALUES)),
        (Eq("v.w", None), " ".join(name for name in VALUES if name != "object")),
        (In("v", ("CT", "ct", "MR")), "text lower"),
        (In("v", (1, "1")), "digit one float"),
        (In("v", ()), ""),
        (In("v.w", ("CT",)), "object"),
        (Range("v", 1, 1.5), "one float half"),
        (Range("v", low=1.1), "half"),
        (Range("v", high=0), "minus"),
        (Range("v", "1", "CT"), "text digit"),
        (Range("v", low="CT"), "text lower line json"),
        (Range("v", high="CT"), "text digit empty"),
        (Range("v.w", "A", "Z"), "object"),
        (Prefix("v", "C"), "text line"),
        (Prefix("v", ""), "text lower digit json empty line"),
        (Prefix("v", "["), "json"),
        (Prefix("v.w", "C"), "object"),
        (Wildcard("v", "*"), "text lower digit json empty line"),
        (Wildcard("v", "C?"), "text"),
        (Wildcard("v", "C*"), "text line"),
        (Wildcard("v", "??"), "text lower"),
        (Wildcard("v", "CT"), "text"),
        (Wildcard("v", ""), "empty"),
        (Wildcard("v.w", "?T"), "object"),
        (Has("v", "CT"), "list"),
        (Has("v", 1), "list"),
        (Has("v", "1"), ""),
        (Has("v.w", "CT"), ""),
    ],
    ids=repr,
)
async def test_a_condition_meets_these_documents(documents: Documents, where: Where, expected: str) -> None:
    await write(documents, VALUES)
    assert sorted(await ids(documents, where)) == sorted(expected.split())
    assert await documents.count("studies", [where]) == len(expected.split())


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Wildcard("v", "a.c"), "a.c"),
        (Wildcard("v", "a?c"), "a.c abc a*c a?c a[c a\\c a\nc aéc a😀c"),
        (Wildcard("v", "a[c"), "a[c"),
        (Wildcard("v", "[a-z]*"), "[a-z]+$"),
        (Wildcard("v", "a\\c"), "a\\c"),
        (Wildcard("v", "^*"), "^(a|b)"),
        (Wildcard("v", "*(a|b)"), "^(a|b)"),
        (Wildcard("v", "*$"), "[a-z]+$"),
        (Wildcard("v", "*é*"), "aéc"),
        (Wildcard("v", "A*"), "ABC"),
        (Prefix("v", "a*"), "a*c"),
        (Prefix("v", "a."), "a.c"),
        (Prefix("v", "a["), "a[c"),
        (Prefix("v", "^"), "^(a|b)"),
        (Prefix("v", "a😀"), "a😀c"),
        (Prefix("v", "A"), "ABC"),
    ],
    ids=repr,
)
async def test_only_star_and_question_mark_are_special(documents: Documents, where: Where, expected: str) -> None:
    values = ["a.c", "abc", "ABC", "a*c", "a?c", "a[c", "a\\c", "a\nc", "aéc", "a😀c", "[a-z]+$", "^(a|b)", "ac"]
    await write(documents, {value: {"v": value} for value in values})
    found = await ids(documents, where)
    assert sorted(found) == sorted(expected.split(" "))


async def test_every_condition_must_be_met(documents: Documents) -> None:
    await write(documents, {"1": {"site": "a", "n": 1}, "2": {"site": "a", "n": 2}, "3": {"site": "b", "n": 2}})
    assert await ids(documents, Eq("site", "a"), Range("n", low=2)) == ["2"]
    assert await ids(documents) == ["1", "2", "3"]


async def test_a_query_sees_only_its_own_collection(documents: Documents) -> None:
    await documents.save("orders", "1", {"site": "a"}, revision=0)
    assert await documents.find("studies", [Eq("site", "a")]) == []
    assert await documents.count("studies") == 0


async def test_found_documents_are_whole(documents: Documents) -> None:
    written = await documents.save("studies", "1", {"site": "a"}, revision=0, outgoing=[message(1)], seen="event-0")
    assert await documents.find("studies", [Eq("site", "a")]) == [written]


async def test_a_worklist_is_sorted_by_the_field_then_the_id_with_missing_fields_first(documents: Documents) -> None:
    await write(documents, {"d": {"due": 2}, "c": {}, "b": {"due": 10}, "a": {"due": 2}, "e": {"due": None}})
    assert await ids(documents, sort="due") == ["c", "e", "a", "d", "b"]
    assert await ids(documents, sort="due", descending=True) == ["b", "d", "a", "e", "c"]
    assert await ids(documents) == ["a", "b", "c", "d", "e"]
    assert await ids(documents, descending=True) == ["e", "d", "c", "b", "a"]


async def test_text_sorts_by_code_point(documents: Documents) -> None:
    await write(documents, {name: {"name": name} for name in ["b", "😀", "Ä", "Z", "\uffee", "a", "日"]})
    assert await ids(documents, sort="name") == ["Z", "a", "b", "Ä", "日", "\uffee", "😀"]
    assert await ids(documents) == ["Z", "a", "b", "Ä", "日", "\uffee", "😀"]


async def test_pages_follow_each_other_without_gap_or_overlap(documents: Documents) -> None:
    await write(documents, {f"{n}": {"n": n // 2} for n in range(7)})
    pages = [await ids(documents, sort="n", limit=3, offset=offset) for offset in (0, 3, 6, 9)]
    assert pages == [["0", "1", "2"], ["3", "4", "5"], ["6"], []]
    assert await ids(documents, limit=0) == []


async def test_a_field_of_a_nested_object_is_found_and_sorted_by(documents: Documents) -> None:
    await write(documents, {"1": {"order": {"sla": {"due": "2026-02"}}}, "2": {"order": {"sla": {"due": "2026-01"}}}})
    assert await ids(documents, Range("order.sla.due", "2026-01", "2026-03"), sort="order.sla.due") == ["2", "1"]


@pytest.mark.parametrize("path", ["", ".", "a..b", "a.", "a'b", 'a"b', "a b", "$a", "a;--", "é"])
async def test_a_path_is_never_more_than_names_and_dots(documents: Documents, path: str) -> None:
    with pytest.raises(Invalid):
        await documents.find("studies", [Eq(path, 1)])
    with pytest.raises(Invalid):
        await documents.find("studies", sort=path or ".")
    with pytest.raises(Invalid):
        await documents.ensure([Index("studies", (path,))])


@pytest.mark.parametrize(
    "where",
    [Range("v"), Range("v", "a", 1), Eq("v", 2**63), Eq("v", float("nan")), Eq("v", "a\0"), In("v", ("\ud800",)),
     Wildcard("v", "*" * 1025)],
    ids=["no end", "mixed ends", "big", "nan", "nul", "surrogate", "long pattern"],
)  # fmt: skip
async def test_a_condition_that_one_store_could_not_answer_is_invalid(documents: Documents, where: Where) -> None:
    with pytest.raises(Invalid):
        await documents.find("studies", [where])


@pytest.mark.parametrize(("limit", "offset"), [(10_001, 0), (-1, 0), (1, -1)])
async def test_a_page_has_sane_bounds(documents: Documents, limit: int, offset: int) -> None:
    with pytest.raises(Invalid):
        await documents.find("studies", limit=limit, offset=offset)


# ── indexes ──────────────────────────────────────────────────────────────────────────────────────────

ACCESSION = Index("studies", ("site", "accession"), unique=True)


async def test_two_orders_of_a_site_never_share_an_accession_number(documents: Documents) -> None:
    await documents.ensure([ACCESSION])
    await documents.save("studies", "1", {"site": "a", "accession": "A1"}, revision=0)
    with pytest.raises(Conflict):
        await documents.save("studies", "2", {"site": "a", "accession": "A1"}, revision=0, outgoing=[message(1)])
    await documents.save("studies", "2", {"site": "b", "accession": "A1"}, revision=0)
    with pytest.raises(Conflict):
        await documents.save("studies", "2", {"site": "a", "accession": "A1"}, revision=1, outgoing=[message(1)])
    assert await documents.get("studies", "2") == Document("2", 1, {"site": "b", "accession": "A1"})
    assert await documents.outgoing() == []


@pytest.mark.parametrize("state", [{"site": "a"}, {"site": "a", "accession": None}, {}])
async def test_a_unique_index_lets_documents_without_all_its_fields_be(documents: Documents, state: Any) -> None:
    await documents.ensure([ACCESSION])
    await write(documents, {"1": state, "2": state})
    assert await documents.count("studies") == 2


async def test_a_unique_index_is_of_its_own_collection(documents: Documents) -> None:
    await documents.ensure([ACCESSION])
    await documents.save("studies", "1", {"site": "a", "accession": "A1"}, revision=0)
    await documents.save("orders", "1", {"site": "a", "accession": "A1"}, revision=0)
    assert await documents.count("orders") == 1


async def test_a_unique_field_is_free_again_after_its_document_was_deleted(documents: Documents) -> None:
    await documents.ensure([ACCESSION])
    await documents.save("studies", "1", {"site": "a", "accession": "A1"}, revision=0)
    await documents.delete("studies", "1", revision=1)
    await documents.save("studies", "2", {"site": "a", "accession": "A1"}, revision=0)
    assert await ids(documents) == ["2"]


async def test_indexes_are_ensured_by_several_starting_processes_at_once(opened: Open) -> None:
    indexes = [ACCESSION, Index("studies", ("site",)), Index("orders", ("due.at",))]
    several = [await opened() for _ in range(4)]
    await asyncio.gather(*(documents.ensure(indexes) for documents in several))
    await several[0].ensure(indexes)
    await write(several[1], {"1": {"site": "a"}, "2": {"site": "b"}})
    assert await ids(several[2], Eq("site", "b")) == ["2"]


@pytest.mark.parametrize("unique", [False, True])
async def test_an_indexed_query_finds_what_an_unindexed_one_finds(documents: Documents, unique: bool) -> None:  # noqa: FBT001  a parameter
    await write(documents, {"before": {"v": "a", "w": 1}})
    await documents.ensure([Index("studies", ("v", "w"), unique=unique)])
    await write(documents, {"missing": {}, "null": {"v": None}, "number": {"v": 1}, "text": {"v": "b", "w": 2}})
    assert await ids(documents, Eq("v", None)) == ["missing", "null"]
    assert await ids(documents, Range("v", low="a"), sort="v") == ["before", "text"]
    assert await ids(documents, Prefix("v", "b"), Eq("w", 2)) == ["text"]
    assert await ids(documents, sort="v") == ["missing", "null", "number", "before", "text"]


async def test_what_a_reader_may_see_is_found_by_an_index_over_an_array(opened: Open) -> None:
    """Of documents from before the index and after it, the latest first, as they are now; by every instance."""
    documents, other = await opened(), await opened()
    index = Index("studies", ("readers", "received"), each=True)
    await write(documents, {"before": {"readers": ["ana", "ben"], "received": 3}, "nobody's": {"received": 9}})
    await documents.ensure([index])
    await other.ensure([index])
    await write(documents, {"a": {"readers": ["ana", 7], "received": 5, "site": "x"}, "b": {"readers": ["ben"]}})
    await write(
        documents, {"text": {"readers": "ana"}, "inside": {"readers": {"of": "ana"}}, "lost": {"readers": ["ana"]}}
    )
    await documents.save("studies", "b", {"readers": ["ana"], "received": 4}, revision=1)
    await documents.save("studies", "lost", {"readers": ["ben", "ben"], "received": 1}, revision=1)
    for each in (documents, other):
        assert await ids(each, Has("readers", "ana"), sort="received", descending=True) == ["a", "b", "before"]
        assert await ids(each, Has("readers", "ben")) == ["before", "lost"]
        assert await ids(each, Has("readers", 7), Eq("site", "x")) == ["a"]
        assert await ids(each, Has("readers", "ana"), Has("readers", "ben")) == ["before"]
    await documents.delete("studies", "before", revision=1)
    assert await ids(other, Has("readers", "ana"), sort="received") == ["b", "a"]


async def test_a_name_is_found_by_any_part_of_it_by_an_index_over_its_parts(opened: Open) -> None:
    """Of documents from before the index and after it, as they are now; by every instance, whoever wrote them."""
    documents, other, unaware = await opened(), await opened(), await opened()
    index = Index("studies", ("keys.name",), parts=True)
    names = {"before": "müller^jürgen", "changed": "anon^7", "long": "x" * 40 + "anon^123^" + "y" * 4000}
    await write(documents, {key: {"keys": {"name": name}} for key, name in names.items()})
    await documents.ensure([index])
    await other.ensure([index])
    after = {"anon^1": "anon^1", "twice": "anon^anon", "empty": "", "number": 123, "list": ["anon^9"], "null": None}
    await write(documents, {key: {"keys": {"name": value}} for key, value in after.items()} | {"missing": {}})
    await unaware.save("studies", "unaware", {"keys": {"name": "[anon]😀^5"}}, revision=0)
    await unaware.save("studies", "changed", {"keys": {"name": "doe^anonymous"}}, revision=1)
    for each in (documents, other, unaware):
        for pattern, found in {
            "*non*": "anon^1 changed long twice unaware",
            "*n^?*": "anon^1 long twice",
            "*x" + "anon^123^yyyyyyyyyyyyy*": "long",
            "*x" + "anon^123^yyyyyyyyyyyyz*": "",
            "*^7": "",
            "*ü?gen": "before",
            "*[anon]?^*": "unaware",
            "*😀*": "unaware",
            "?": "",
            "*": "anon^1 before changed empty long twice unaware",
        }.items():
            assert await ids(each, Wildcard("keys.name", pattern)) == found.split(), pattern
            assert await each.count("studies", [Wildcard("keys.name", pattern)]) == len(found.split()), pattern
    await documents.delete("studies", "twice", revision=1)
    left = await ids(other, Wildcard("keys.name", "*anon*"), sort="keys.name")
    assert left == ["unaware", "anon^1", "changed", "long"]


# ── several instances, restarts, crashes ─────────────────────────────────────────────────────────────


async def test_two_instances_on_one_store_see_each_other_s_writes(opened: Open) -> None:
    one, other = await opened(), await opened()
    written = await one.save("studies", "1", {"site": "a"}, revision=0)
    assert await other.get("studies", "1") == written
    await other.save("studies", "1", {"site": "b"}, revision=1)
    with pytest.raises(Conflict):
        await one.save("studies", "1", {"site": "c"}, revision=1)
    assert await ids(one, Eq("site", "b")) == ["1"]


async def test_everything_is_still_there_after_a_restart(opened: Open) -> None:
    before = await opened()
    await before.ensure([ACCESSION])
    written = await before.save(
        "studies", "1", {"site": "a", "accession": "A1"}, revision=0, outgoing=[message(1)], seen="event-0"
    )
    await before.close()
    after = await opened()
    assert await after.get("studies", "1") == written
    assert [one.messages for one in await after.outgoing()] == [(message(1),)]
    with pytest.raises(Conflict):
        await after.save("studies", "2", {"site": "a", "accession": "A1"}, revision=0)


WRITER = """
import asyncio, sys
from radrelay_shared.connect import connect_documents
from radrelay_shared.ports import Message

async def write_for_ever(documents, lane):
    for number in range(1_000):  # all lanes together no more than one page shows
        key = f"{lane}-{number}"
        event = Message(f"event-{key}", "radrelay.study.received.v1", False, b"{}")
        await documents.save("studies", key, {"n": number}, revision=0, outgoing=[event])
        print(key, flush=True)
    await asyncio.Event().wait()

async def main():
    documents = await connect_documents(sys.argv[1])
    await asyncio.gather(*(write_for_ever(documents, lane) for lane in range(8)))

asyncio.run(main())
"""


async def test_a_writer_killed_mid_stream_loses_nothing_that_was_acknowledged(url: str, opened: Open) -> None:
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert writer.stdout is not None
    acknowledged = [await asyncio.wait_for(writer.stdout.readline(), 300) for _ in range(300)]
    writer.kill()
    acknowledged += (await writer.stdout.read()).splitlines()
    await writer.wait()
    documents = await opened()
    stored = set(await ids(documents, limit=10_000))
    waiting = {one.document_id for one in await documents.outgoing(limit=10_000)}
    assert {line.decode().strip() for line in acknowledged} <= stored <= waiting


async def test_a_healthy_store_says_so_and_shows_no_document(documents: Documents) -> None:
    await documents.healthy()
    await documents.healthy()
    assert await documents.outgoing() == []


async def test_closing_twice_is_fine(documents: Documents) -> None:
    await documents.save("studies", "1", {}, revision=0)
    await documents.close()
    await documents.close()
