"""Documents in MongoDB, through motor: the only module that imports motor or pymongo (ADR 0002).

One document is `{_id, revision, state, _seen: [event id…], _outbox: [message…], _parts: {text's path: [part…]}}` and
every save is one update of it. There are no transactions and no change streams, so a standalone server and the
work-alikes serve, too.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bson.errors import BSONError
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import errors
from pymongo.collection import ReturnDocument

from radrelay_shared.adapters import checks
from radrelay_shared.adapters.parts import parts, told
from radrelay_shared.errors import Conflict, Full, Invalid, RadRelayError, Unreachable
from radrelay_shared.ports import (
    Document,
    Eq,
    Has,
    In,
    Index,
    Message,
    Outgoing,
    Prefix,
    Range,
    State,
    Where,
    Wildcard,
)

Query = dict[str, Any]

ANYTHING, END = r"[\s\S]", r"(?![\s\S])"  # `.` and `$` mind line ends
PRESENT = {"$type": ["string", "number", "bool"]}
UNREAD = {"_outbox": 0, "_parts": 0}
WAITING = "_outbox.at"
HEALTH = "_health"
CODES: dict[int | None, type[RadRelayError]] = {
    14031: Full,  # OutOfDiskSpace
    10334: Invalid,  # BSONObjectTooLarge
    17419: Invalid,  # the document would grow over 16 MB
}  # anything else: the store cannot be reached as it should be


class MongoDocuments:
    """`Documents` in the database that `mongodb://host/database` names; no operation outlasts `timeout` seconds.

    The URL's options hold, but for those that the port promises: majority, journaled writes, reads from the primary.
    """

    def __init__(self, url: str, *, timeout: float = 10) -> None:
        self._url, self._timeout = url, timeout
        self._client: Any = None
        self._relayed: set[str] = set()  # collections whose outboxes are indexed
        self._parts: set[tuple[str, str]] = set()  # collections and paths of texts whose parts are indexed

    async def ensure(self, indexes: Sequence[Index]) -> None:
        for index in indexes:
            if index.parts:
                await self._index_parts(index.collection, checks.path(index.paths[0]))
                continue
            keys = [(f"state.{checks.path(path)}", 1) for path in index.paths]
            with translated():
                collection = self._collection(index.collection)
                await collection.create_index([*keys, ("_id", 1)])
                if index.unique:
                    guard = {path: PRESENT for path, _ in keys}
                    await collection.create_index(keys, unique=True, partialFilterExpression=guard)

    async def get(self, collection: str, document_id: str) -> Document | None:
        with translated():
            found = await self._collection(collection).find_one({"_id": checks.key(document_id)}, UNREAD)
        return document(found) if found else None

    async def save(
        self,
        collection: str,
        document_id: str,
        state: State,
        *,
        revision: int,
        outgoing: Sequence[Message] = (),
        seen: str | None = None,
    ) -> Document:
        kept = checks.state(state)
        fields = {"revision": revision + 1, "state": kept, "_parts": self._parts_of(collection, kept)}
        lists = {"_seen": [seen] if seen else [], "_outbox": [stored(message) for message in outgoing]}
        with translated():
            await self._index_outbox(collection)
            write = update if revision else insert
            return document(await write(self._collection(collection), checks.key(document_id), fields, lists))

    async def delete(self, collection: str, document_id: str, *, revision: int) -> None:
        current = {"_id": document_id, "revision": revision, "_outbox.0": {"$exists": False}}
        with translated():
            result = await self._collection(collection).delete_one(current)
        if not result.deleted_count:
            raise Conflict(f"{collection} {document_id} is no longer at revision {revision}, or has messages waiting")

    async def find(
        self,
        collection: str,
        where: Sequence[Where] = (),
        *,
        sort: str | None = None,
        descending: bool = False,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Document]:
        checks.page(limit, offset)
        way = -1 if descending else 1
        order = [(name, way) for name in ([f"state.{checks.path(sort)}"] if sort else []) + ["_id"]]
        query = self._asked(collection, where)
        if limit == 0:  # which MongoDB takes for no limit
            return []
        with translated():
            cursor = self._collection(collection).find(query, UNREAD).sort(order).skip(offset).limit(limit)
            return [document(found) for found in await cursor.to_list(limit)]

    async def count(self, collection: str, where: Sequence[Where] = ()) -> int:
        with translated():
            return int(await self._collection(collection).count_documents(self._asked(collection, where)))

    async def outgoing(self, *, limit: int = 100) -> list[Outgoing]:
        """Asks every collection, because another process may have made one since and ended before it could publish."""
        with translated():
            names = await self._database().list_collection_names()
            known = [name for name in names if checks.COLLECTION.fullmatch(name)]
            found = await asyncio.gather(*(self._waiting(name, limit) for name in known))
        oldest_first = sorted((waiting for each in found for waiting in each), key=lambda waiting: waiting[0])
        return [outgoing for _, outgoing in oldest_first[:limit]]

    async def _waiting(self, collection: str, limit: int) -> list[tuple[float, Outgoing]]:
        cursor = self._collection(collection).find({WAITING: {"$gt": 0}}, {"_outbox": 1}).sort(WAITING, 1).limit(limit)
        return [
            (one["_outbox"][0]["at"], Outgoing(collection, one["_id"], tuple(map(message, one["_outbox"]))))
            for one in await cursor.to_list(limit)
        ]

    async def settle(self, collection: str, document_id: str, message_ids: Sequence[str]) -> None:
        published = {"$pull": {"_outbox": {"id": {"$in": list(message_ids)}}}}
        with translated():
            await self._collection(collection).update_one({"_id": document_id}, published)

    async def healthy(self) -> None:
        with translated():
            await self._database()[HEALTH].update_one({"_id": 1}, {"$set": {"checked": time.time()}}, upsert=True)

    async def close(self) -> None:
        if self._client is not None:
            self._client.close()

    # ── parts of texts ───────────────────────────────────────────────────────────────────────────────

    async def _index_parts(self, collection: str, path: str) -> None:
        """What was written before is found without its parts, too; it gets them here."""
        self._parts.add((collection, path))
        field = f"_parts.{name_of(path)}"
        with translated():
            documents = self._collection(collection)
            await documents.create_index(field)
            async for each in documents.find({field: None}, {"revision": 1, "state": 1}):
                current = {"_id": each["_id"], "revision": each["revision"]}
                await documents.update_one(current, {"$set": {field: parts_in(each["state"], path)}})

    def _parts_of(self, collection: str, state: State) -> Query:
        return {name_of(path): parts_in(state, path) for of, path in self._parts if of == collection}

    def _asked(self, collection: str, where: Sequence[Where]) -> Query:
        """All conditions; and of a pattern that an index of parts serves, what that index can tell."""
        wild = [each for each in where if isinstance(each, Wildcard) and told(each.pattern)]
        return {"$and": [all_of(where), *(has_part(each) for each in wild if (collection, each.path) in self._parts)]}

    async def _index_outbox(self, collection: str) -> None:
        if collection not in self._relayed:
            await self._collection(collection).create_index(WAITING, sparse=True)
            self._relayed.add(collection)

    def _collection(self, name: str) -> Any:
        return self._database()[checks.collection(name)]

    def _database(self) -> Any:
        """Motor binds a client to the running loop, so it is made when the first operation runs in one."""
        if self._client is None:
            milliseconds = round(self._timeout * 1000)
            self._client = AsyncIOMotorClient(
                self._url,
                w="majority",
                journal=True,
                readPreference="primary",
                timeoutMS=milliseconds,
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
            )
        return self._client.get_default_database()


async def insert(collection: Any, key: str, fields: Query, lists: Query) -> Query:
    await collection.insert_one({"_id": key, **fields, **lists})
    return {"_id": key, **fields, "_seen": lists["_seen"]}


async def update(collection: Any, key: str, fields: Query, lists: Query) -> Query:
    """One update guarded by the revision before; `Conflict` if no document has it any more."""
    current = {"_id": key, "revision": fields["revision"] - 1}
    change = {
        "$set": fields,
        "$push": {
            "_seen": {"$each": lists["_seen"], "$slice": -checks.SEEN_KEPT},
            "_outbox": {"$each": lists["_outbox"]},
        },
    }
    written = await collection.find_one_and_update(
        current, change, projection={"_seen": 1}, return_document=ReturnDocument.AFTER
    )
    if written is None:
        raise Conflict(f"{collection.name} {current['_id']} is no longer at revision {current['revision']}")
    return {"_id": key, **fields, "_seen": written["_seen"]}


def name_of(path: str) -> str:
    """A path as one field's name: no path has a slash."""
    return path.replace(".", "/")


def parts_in(state: State, path: str) -> list[str]:
    value: Any = state
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return parts(value) if isinstance(value, str) else []


def has_part(wildcard: Wildcard) -> Query:
    """That the text has the part that its pattern tells, or that nobody wrote down its parts."""
    field = f"_parts.{name_of(wildcard.path)}"
    return {"$or": [{field: {"$regex": f"^{re.escape(told(wildcard.pattern))}"}}, {field: None}]}


def all_of(where: Sequence[Where]) -> Query:
    checks.conditions(where)
    queries = [query for condition in where for query in clauses(condition)]
    return {"$and": queries} if queries else {}


def clauses(condition: Where) -> list[Query]:
    """The condition, without MongoDB's habit of looking into arrays: only `Has` does, and only at its path's end."""
    field = f"state.{condition.path}"
    above = [field[: dot.start()] for dot in re.finditer(r"\.", field)][1:]
    if isinstance(condition, Eq) and condition.value is None:
        nowhere = {"$and": [{field: None}, not_array(field)]}
        return [{"$or": [nowhere, *({path: {"$type": "array"}} for path in above)]}]
    scalar = [] if isinstance(condition, Has) else [field]
    return [{field: operator(condition)}, *map(not_array, above + scalar)]


def not_array(field: str) -> Query:
    return {field: {"$not": {"$type": "array"}}}


def operator(condition: Where) -> Query:
    match condition:
        case Eq(value=value):
            return {"$eq": value}
        case In(values=values):
            return {"$in": list(values)}
        case Range(low=low, high=high):
            return {sign: end for sign, end in (("$gte", low), ("$lte", high)) if end is not None}
        case Prefix(value=start):
            return {"$regex": f"^{re.escape(start)}"}
        case Wildcard(pattern=pattern):
            meant = re.escape(pattern).replace(r"\*", f"{ANYTHING}*").replace(r"\?", ANYTHING)
            return {"$regex": f"^{meant}{END}"}
        case Has(value=value):
            return {"$elemMatch": {"$eq": value}}


def document(found: Query) -> Document:
    return Document(found["_id"], found["revision"], found["state"], tuple(found["_seen"]))


def stored(message: Message) -> Query:
    """Headers as pairs, for their names may hold dots; `at` orders what waits, over all documents."""
    return {
        "at": time.time(),
        "id": message.id,
        "type": message.type,
        "urgent": message.urgent,
        "body": message.body,
        "headers": [list(pair) for pair in message.headers.items()],
    }


def message(entry: Query) -> Message:
    return Message(entry["id"], entry["type"], entry["urgent"], entry["body"], dict(entry["headers"]))


@contextmanager
def translated() -> Iterator[None]:
    """Foreign errors as the port's. Their own text is left out, because it quotes the document that was refused."""
    try:
        yield
    except errors.DuplicateKeyError:
        raise Conflict("the document exists already, or another one has the same unique fields") from None
    except (errors.ConfigurationError, errors.DocumentTooLarge, BSONError, ValueError, OverflowError) as error:
        raise Invalid(f"MongoDB's driver refused this: {type(error).__name__}") from None
    except errors.PyMongoError as error:
        code = error.code if isinstance(error, errors.OperationFailure) else None
        said = "did not answer in time" if error.timeout else f"answered {type(error).__name__}, code {code}"
        raise CODES.get(code, Unreachable)(f"MongoDB {said}") from None
