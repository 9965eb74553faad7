"""Any sequence of writes, deletions, settlements and queries leaves a store as it leaves a plain dict."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from radrelay_shared.connect import connect_documents
from radrelay_shared.errors import Conflict
from radrelay_shared.ports import Document, Eq, Has, In, Index, Message, Prefix, Range, Where, Wildcard
from servers.secantusdb import SecantusDB

T = TypeVar("T")

BOUNDED = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck), print_blob=False
)

COLLECTIONS = st.sampled_from(["studies", "orders"])
KEYS = st.sampled_from(["a", "b", "ü"])
STALE = st.sampled_from([0, 0, 0, -1, 1])  # how far the revision is off
TEXTS = st.text("aB*?[.^é😀", max_size=3)
NUMBERS = st.integers(-2, 2) | st.sampled_from([0.5, 1.0])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
FIELDS = st.sampled_from(["v", "w", "v.w", "v.w.v"])
STATES = st.recursive(
    st.dictionaries(st.sampled_from(["v", "w"]), SCALARS | st.lists(SCALARS, max_size=2), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from(["v", "w"]), inner, max_size=2),
    max_leaves=3,
)
RANGES = st.tuples(TEXTS, TEXTS) | st.tuples(NUMBERS, NUMBERS) | st.tuples(st.none(), TEXTS | NUMBERS)
CONDITIONS: st.SearchStrategy[Where] = st.one_of(
    st.builds(Eq, FIELDS, SCALARS),
    st.builds(In, FIELDS, st.lists(TEXTS | NUMBERS, max_size=3).map(tuple)),
    st.builds(lambda path, ends: Range(path, *ends), FIELDS, RANGES),
    st.builds(Prefix, FIELDS, TEXTS),
    st.builds(Wildcard, FIELDS, TEXTS),
    st.builds(Has, FIELDS, TEXTS | NUMBERS),
)


class DocumentsMachine(RuleBasedStateMachine):
    """The store under test beside its model: documents by collection and key, and what waits, longest first."""

    place: ClassVar[str]  # the URL under which each run makes a store of its own

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.url = f"{self.place}/radrelay_test_{uuid4().hex}"
        self.store = self.run(connect_documents(self.url))
        arrays = [Index("studies", ("v",), each=True), Index("orders", ("w",), each=True)]
        parts = [Index("studies", ("v",), parts=True), Index("orders", ("v.w",), parts=True)]
        self.run(self.store.ensure([Index("studies", ("v", "w")), Index("orders", ("v.w",)), *arrays, *parts]))
        self.model: dict[tuple[str, str], Document] = {}
        self.waiting: dict[tuple[str, str], list[Message]] = {}
        self.written = 0

    def run(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self.loop.run(wait())

    def teardown(self) -> None:
        self.run(self.store.close())
        self.loop.close()

    @rule(collection=COLLECTIONS, key=KEYS, state=STATES, stale=STALE, events=st.integers(0, 2))
    def save(self, collection: str, key: str, state: dict[str, Any], stale: int, events: int) -> None:
        now = self.model.get((collection, key), Document(key, 0, {}))
        revision = max(0, now.revision + stale)
        self.written += 1
        outgoing = [Message(f"{self.written}-{n}", "t", n > 0, b"{}", {"n": str(n)}) for n in range(events)]
        seen = f"seen-{self.written}"
        try:
            written = self.run(self.store.save(collection, key, state, revision=revision, outgoing=outgoing, seen=seen))
        except Conflict:
            assert revision != now.revision
            return
        assert written == replace(now, revision=now.revision + 1, state=state, seen=(*now.seen, seen))
        assert revision == now.revision
        self.model[collection, key] = written
        if outgoing:
            self.waiting.setdefault((collection, key), []).extend(outgoing)

    @rule(collection=COLLECTIONS, key=KEYS, stale=STALE)
    def delete(self, collection: str, key: str, stale: int) -> None:
        now = self.model.get((collection, key))
        allowed = now is not None and stale == 0 and (collection, key) not in self.waiting
        try:
            self.run(self.store.delete(collection, key, revision=(now.revision if now else 1) + stale))
        except Conflict:
            assert not allowed
            return
        assert allowed
        del self.model[collection, key]

    @rule(collection=COLLECTIONS, key=KEYS, how_many=st.integers(0, 4))
    def settle(self, collection: str, key: str, how_many: int) -> None:
        messages = self.waiting.pop((collection, key), [])
        self.run(self.store.settle(collection, key, [message.id for message in messages[:how_many]]))
        if messages[how_many:]:
            self.waiting[collection, key] = messages[how_many:]

    @rule(collection=COLLECTIONS, where=st.lists(CONDITIONS, min_size=1, max_size=2))
    def query(self, collection: str, where: list[Where]) -> None:
        expected = [found for found in self.all_in(collection) if all(meets(found.state, one) for one in where)]
        assert self.run(self.store.find(collection, where)) == expected
        assert self.run(self.store.count(collection, where)) == len(expected)

    @rule(collection=COLLECTIONS, offset=st.integers(0, 3), limit=st.integers(0, 3), descending=st.booleans())
    def page(self, collection: str, offset: int, limit: int, *, descending: bool) -> None:
        ordered = self.all_in(collection)[:: -1 if descending else 1]
        found = self.run(self.store.find(collection, descending=descending, offset=offset, limit=limit))
        assert found == ordered[offset : offset + limit]

    @rule()
    def restart(self) -> None:
        self.run(self.store.close())
        self.store = self.run(connect_documents(self.url))

    @invariant()
    def the_outboxes_hold_what_waits_in_order(self) -> None:
        found = {(one.collection, one.document_id): list(one.messages) for one in self.run(self.store.outgoing())}
        assert found == self.waiting
        oldest = [int(messages[0].id.split("-")[0]) for messages in found.values()]
        assert oldest == sorted(oldest)

    @invariant()
    def every_document_reads_back(self) -> None:
        for (collection, key), expected in self.model.items():
            assert self.run(self.store.get(collection, key)) == expected

    def all_in(self, collection: str) -> list[Document]:
        return [self.model[names] for names in sorted(self.model) if names[0] == collection]


def meets(state: dict[str, Any], where: Where) -> bool:
    """The port's conditions, in the plainest way there is."""
    value = field(state, where.path)
    match where:
        case Eq(value=wanted):
            return alike(value, wanted) and value == wanted
        case In(values=values):
            return any(alike(value, wanted) and value == wanted for wanted in values)
        case Range(low=low, high=high):
            bounds = [(operator.ge, low), (operator.le, high)]
            return all(end is None or (alike(value, end) and holds(value, end)) for holds, end in bounds)
        case Prefix(value=start):
            return isinstance(value, str) and value.startswith(start)
        case Wildcard(pattern=pattern):
            return isinstance(value, str) and wild(value, pattern)
        case Has(value=wanted):
            return isinstance(value, list) and any(alike(one, wanted) and one == wanted for one in value)


def field(state: Any, path: str) -> Any:
    for name in path.split("."):
        state = state.get(name) if isinstance(state, dict) else None
    return state


def alike(value: Any, other: Any) -> bool:
    return kind(value) == kind(other)


def kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def wild(text: str, pattern: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(wild(text[start:], pattern[1:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and wild(text[1:], pattern[1:])


def test_sqlite_behaves_as_a_dict_does(tmp_path: Path) -> None:
    class OnSqlite(DocumentsMachine):
        place = f"sqlite:///{tmp_path}"

    run_state_machine_as_test(OnSqlite, settings=settings(BOUNDED, max_examples=60, stateful_step_count=30))


@pytest.mark.external
def test_mongodb_behaves_as_a_dict_does(secantusdb: SecantusDB) -> None:
    class OnMongoDB(DocumentsMachine):
        place = secantusdb.url

    run_state_machine_as_test(OnMongoDB, settings=settings(BOUNDED, max_examples=15, stateful_step_count=20))
