from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from radrelay_shared.adapters import CLOSE_SECONDS, check_size
from radrelay_shared.errors import NO_ROOM, Full, RadRelayError, Unreachable
from radrelay_shared.ports import (
    RETRY_TIERS,
    Ack,
    Consumer,
    Dead,
    DeadLetter,
    Delivery,
    Message,
    Retry,
    Verdict,
)

log = logging.getLogger("radrelay.bus")

A = TypeVar("A")
R = TypeVar("R")


class MemoryBus:
    """The bus inside one process: `publish` returns once every subscriber acked, or its dead letter is kept.

    Until then the message is the publisher's: after a crash, a cancelled publish or a drain it is still in
    the outbox. Retries wait inside `publish`. With a folder, dead letters survive a restart.
    """

    def __init__(self, folder: Path | None = None, *, retry_tiers: Sequence[timedelta] = RETRY_TIERS) -> None:
        self._first_tier = retry_tiers[0]
        self._letters: Letters = Drawer() if folder is None else Folder(folder)
        self._filing = asyncio.Lock()
        self._services: dict[str, Subscription] = {}
        self._expected: dict[str, Sequence[str]] = {}
        self._draining = asyncio.Event()
        self._calls: set[asyncio.Task[Verdict]] = set()
        self._deliveries: set[asyncio.Task[None]] = set()
        self._replaying: set[tuple[str, str]] = set()

    async def publish(self, message: Message) -> None:
        check_size(message)
        readers = [name for name, service in self._services.items() if message.type in service.consumers]
        missing = {name for name, types in self._expected.items() if message.type in types}.difference(readers)
        if missing or not readers:
            raise Unreachable(f"nobody listens for {message.type} yet")
        deliveries = [self._start(self._deliver(name, message)) for name in readers]
        try:
            await asyncio.gather(*deliveries)
        finally:
            for delivery in deliveries:
                delivery.cancel()

    async def expect(self, readers: Mapping[str, Sequence[str]]) -> None:
        self._expected |= readers

    async def subscribe(self, service: str, types: Sequence[str], consumer: Consumer, *, prefetch: int = 8) -> None:
        subscription = self._services.setdefault(service, Subscription(prefetch))
        subscription.consumers.update(dict.fromkeys(types, consumer))

    async def healthy(self) -> None:
        if self._draining.is_set():
            raise Unreachable("the bus is draining")

    async def dead_letters(self, service: str, *, limit: int = 100) -> list[DeadLetter]:
        return (await self._waiting(service))[:limit]

    async def replay(self, service: str, message_id: str | None = None) -> int:
        """Start the deliveries; a letter stays kept, though unlisted, until its delivery is settled."""
        kept = await self._waiting(service)
        letters = [letter for letter in kept if message_id in (None, letter.message.id)]
        heard = self._services[service].consumers if service in self._services else {}
        if any(letter.message.type not in heard for letter in letters):
            raise Unreachable(f"{service} does not listen yet")
        for letter in letters:
            self._replaying.add((service, letter.message.id))
            self._start(self._redeliver(letter))
        return len(letters)

    async def drain(self) -> None:
        self._draining.set()
        while under_way := self._calls | self._deliveries:
            await asyncio.wait(under_way)

    async def close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.drain()
        except TimeoutError:
            for call in self._calls:
                call.cancel()

    def _start(self, delivery: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(delivery)
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)
        return task

    async def _deliver(self, service: str, message: Message) -> None:
        """Return once the service acked or the dead letter is kept."""
        verdict, attempts = await self._settle(service, message)
        if isinstance(verdict, Dead):
            await self._file(self._letters.keep, DeadLetter(message, service, verdict.reason, attempts))

    async def _redeliver(self, letter: DeadLetter) -> None:
        """As `_deliver`, for a dead letter; whatever happens meanwhile, it is kept until it was acked."""
        try:
            verdict, attempts = await self._settle(letter.service, letter.message)
            if isinstance(verdict, Dead):
                again = replace(letter, reason=verdict.reason, attempts=attempts)
                await self._file(self._letters.keep, again)
            else:
                await self._file(self._letters.forget, letter)
        except RadRelayError as error:
            log.warning("the dead letter %s stays: %s", letter.message.id, error.detail)
        finally:
            self._replaying.discard((letter.service, letter.message.id))

    async def _settle(self, service: str, message: Message) -> tuple[Ack | Dead, int]:
        """The service's final verdict and the attempts it took."""
        attempt = 1
        while isinstance(verdict := await self._attempt(service, Delivery(message, attempt)), Retry):
            await self._pause(verdict.after)
            attempt += 1
        return verdict, attempt

    async def _attempt(self, service: str, delivery: Delivery) -> Verdict:
        """One call of the consumer; a publisher that gives up leaves it to finish, as at a real broker."""
        lane = self._services[service].lanes[delivery.message.urgent]
        await lane.acquire()
        if self._draining.is_set():
            lane.release()
            raise Unreachable("the bus is draining")
        call = asyncio.create_task(self._call(self._services[service], delivery))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        call.add_done_callback(lambda _: lane.release())
        return await asyncio.shield(call)

    async def _call(self, subscription: Subscription, delivery: Delivery) -> Verdict:
        try:
            return await subscription.consumers[delivery.message.type](delivery)
        except Exception as error:
            log.exception("a consumer of %s raised; it is tried again", delivery.message.type)
            return Retry(self._first_tier, type(error).__name__)

    async def _pause(self, wait: timedelta) -> None:
        """Sleep, unless the bus drains first."""
        try:
            async with asyncio.timeout(wait.total_seconds()):
                await self._draining.wait()
        except TimeoutError:
            return
        raise Unreachable("the bus is draining")

    async def _waiting(self, service: str) -> list[DeadLetter]:
        """Dead letters that are not being replayed, oldest event first."""
        letters = await self._file(self._letters.of, service)
        waiting = [letter for letter in letters if (service, letter.message.id) not in self._replaying]
        return sorted(waiting, key=lambda letter: letter.message.id)

    async def _file(self, step: Callable[[A], R], argument: A) -> R:
        """One step in the file cabinet, off the event loop."""
        async with self._filing:
            try:
                return await asyncio.to_thread(step, argument)
            except OSError as error:
                kind = Full if error.errno in NO_ROOM else Unreachable
                raise kind(f"dead letters cannot be kept: {error.strerror}") from error


class Subscription:
    """One service: its consumer for each type, and room for `prefetch` deliveries in each lane."""

    def __init__(self, prefetch: int) -> None:
        self.consumers: dict[str, Consumer] = {}
        self.lanes = {urgent: asyncio.Semaphore(prefetch) for urgent in (False, True)}


class Letters(Protocol):
    """Where dead letters are kept, by service and message id."""

    def keep(self, letter: DeadLetter) -> None: ...
    def forget(self, letter: DeadLetter) -> None: ...
    def of(self, service: str) -> list[DeadLetter]: ...


class Drawer:
    """Dead letters in RAM."""

    def __init__(self) -> None:
        self._letters: dict[tuple[str, str], DeadLetter] = {}

    def keep(self, letter: DeadLetter) -> None:
        self._letters[letter.service, letter.message.id] = letter

    def forget(self, letter: DeadLetter) -> None:
        self._letters.pop((letter.service, letter.message.id), None)

    def of(self, service: str) -> list[DeadLetter]:
        return [letter for letter in self._letters.values() if letter.service == service]


class Folder:
    """Dead letters as `<folder>/<service>/<message id>.json`, each on disk before it counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, letter: DeadLetter) -> None:
        path = self._path(letter)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        with draft.open("w", encoding="ascii") as file:
            json.dump(to_json(letter), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        for folder in (path.parent, path.parent.parent):
            sync(folder)

    def forget(self, letter: DeadLetter) -> None:
        path = self._path(letter)
        path.unlink(missing_ok=True)
        sync(path.parent)

    def of(self, service: str) -> list[DeadLetter]:
        files = (self._folder / quote(service, safe="")).glob("*.json")
        return [from_json(json.loads(file.read_text("ascii"))) for file in files]

    def _path(self, letter: DeadLetter) -> Path:
        return self._folder / quote(letter.service, safe="") / f"{quote(letter.message.id, safe='')}.json"


def sync(folder: Path) -> None:
    """Make the folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def to_json(letter: DeadLetter) -> dict[str, Any]:
    """Readable for an operator, and lossless even for a body that is not UTF-8."""
    found = asdict(letter)
    found["message"]["body"] = letter.message.body.decode("utf-8", "surrogateescape")
    return found


def from_json(found: dict[str, Any]) -> DeadLetter:
    message = found.pop("message")
    body = message.pop("body").encode("utf-8", "surrogateescape")
    return DeadLetter(Message(**message, body=body), **found)
