"""Whatever is killed, every report arrives, once in effect, and every acknowledged image is there, once."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from functools import partial

import pytest

from fleet import DRAIN_SECONDS, NAMES, Backbone, Fleet
from stream import Stream

pytestmark = [
    pytest.mark.external,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),  # of pynetdicom's refused connections
]


def thrown_dice() -> random.Random:
    """A new seed each time; to throw the same again, set RADRELAY_CHAOS_SEED."""
    seed = int(os.environ.get("RADRELAY_CHAOS_SEED") or secrets.randbelow(1_000_000))
    print(f"RADRELAY_CHAOS_SEED={seed}")
    return random.Random(seed)


async def test_each_process_dies_once_and_the_broker_too(fleet: Fleet, servers: Backbone) -> None:
    """SIGKILL at random moments while studies flow: no report and no image is lost, none is double."""
    dice = thrown_dice()
    stream = Stream(fleet, dice, "CRASH")
    async with stream.at_work(), asyncio.TaskGroup() as sending:
        killing = asyncio.create_task(kill_each(fleet, servers, random.Random(dice.random())))
        while len(stream.studies) < 16 or (not killing.done() and len(stream.studies) < 24):
            sending.create_task(stream.send_next())
            await asyncio.sleep(dice.uniform(0.5, 2.5))
        await killing
        await asyncio.to_thread(fleet.wait_ready)
        await stream.nothing_lost_nothing_double()


async def kill_each(fleet: Fleet, servers: Backbone, dice: random.Random) -> None:
    started = time.monotonic()
    for victim in dice.sample((*NAMES, "rabbitmq"), len(NAMES) + 1):
        await asyncio.sleep(dice.uniform(0.5, 3))
        print(f"{time.monotonic() - started:5.1f} s: SIGKILL to {victim}")
        if victim == "rabbitmq":
            await asyncio.to_thread(servers.rabbitmq.kill)
            await asyncio.to_thread(servers.rabbitmq.start)
        else:
            await asyncio.to_thread(fleet.kill, victim)
            await asyncio.sleep(dice.uniform(0, 1.5))
            fleet.restart(victim)


async def test_each_process_that_is_told_to_stop_ends_well(fleet: Fleet) -> None:
    """SIGTERM while studies flow: status 0 within the drain time, and nothing is lost or double."""
    dice = thrown_dice()
    stream = Stream(fleet, dice, "DRAIN")
    async with stream.at_work(), asyncio.TaskGroup() as sending:
        stopping = asyncio.create_task(stop_each(fleet, random.Random(dice.random())))
        while len(stream.studies) < 8 or (not stopping.done() and len(stream.studies) < 16):
            sending.create_task(stream.send_next())
            await asyncio.sleep(dice.uniform(0.2, 1.5))
        await stopping
        await asyncio.to_thread(fleet.wait_ready)
        await stream.nothing_lost_nothing_double()


async def stop_each(fleet: Fleet, dice: random.Random) -> None:
    for name in dice.sample(NAMES, len(NAMES)):
        await asyncio.sleep(dice.uniform(0.2, 1.5))
        seconds = await asyncio.to_thread(fleet.terminate, name)
        print(f"SIGTERM to {name}: {seconds:.1f} s")
        assert seconds < DRAIN_SECONDS
        fleet.restart(name)


async def test_a_service_that_starts_before_the_broker_waits_for_it(fleet: Fleet, servers: Backbone) -> None:
    """After a power cut everything starts at once: no crash loop, and it can be told to stop while it waits."""
    await asyncio.to_thread(servers.rabbitmq.kill)
    for name in ("triage", "storage"):
        fleet.kill(name)
        said = len(fleet.logs(name))
        fleet.restart(name)
        await asyncio.to_thread(fleet.processes[name].wait_until, partial(waits, fleet, name, said))
    assert await asyncio.to_thread(fleet.terminate, "triage") < DRAIN_SECONDS
    fleet.restart("triage")
    await asyncio.to_thread(servers.rabbitmq.start)
    await asyncio.to_thread(fleet.wait_ready)


def waits(fleet: Fleet, name: str, said: int) -> bool:
    """Whether it has said so since it had said that much."""
    return "the start waits" in fleet.logs(name)[said:]
