"""What every `Documents` keeps: states, events, what processes share. `test_alone` has each adapter's own failures."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from contract.documents.desk import ACCESSION, Open, ids, message
from radrelay_shared.errors import Conflict, Invalid
from radrelay_shared.ports import Document, Documents, Eq, Message
from radrelay_shared.testing import PATIENCE_SECONDS

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
    acknowledged = [await asyncio.wait_for(writer.stdout.readline(), PATIENCE_SECONDS) for _ in range(300)]
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
