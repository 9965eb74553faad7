"""What the machine can do without RadRelay, measured in the same run: confirmed publishes, fsyncs; and memory."""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path

import aio_pika

MESSAGES, IN_FLIGHT, BODY = 3000, 64, b"x" * 1000
FSYNCS = 200


async def publishes_per_second(url: str) -> float:
    """Bare aio-pika: persistent messages of 1 KB to one quorum queue, confirmed, 64 in flight."""
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue("bench.bare", durable=True, arguments={"x-queue-type": "quorum"})
        room = asyncio.Semaphore(IN_FLIGHT)

        async def one() -> None:
            async with room:
                message = aio_pika.Message(BODY, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
                await channel.default_exchange.publish(message, queue.name, mandatory=True)

        started = time.monotonic()
        await asyncio.gather(*(one() for _ in range(MESSAGES)))
        seconds = time.monotonic() - started
        await queue.delete(if_unused=False, if_empty=False)
    return MESSAGES / seconds


def fsyncs_per_second(folder: Path) -> float:
    """Appends of 4 KB to one file, each brought to the disk."""
    with (folder / "fsyncs").open("wb") as file:
        started = time.monotonic()
        for _ in range(FSYNCS):
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
        return FSYNCS / (time.monotonic() - started)


def peak_kib(process: int | str = "self") -> int:
    """The most resident memory that a process ever held (VmHWM of proc(5))."""
    return int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[0])
