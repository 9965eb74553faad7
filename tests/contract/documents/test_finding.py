"""What is asked for is found, by every adapter of `Documents`, with an index and without."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contract.documents.desk import ACCESSION, Open, ids, message, write
from radrelay_shared.errors import Conflict, Invalid
from radrelay_shared.ports import Document, Documents, Eq, Has, In, Index, Prefix, Range, Where, Wildcard

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
