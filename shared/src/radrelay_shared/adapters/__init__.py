"""One module per server a port can stand on; `connect` imports them lazily."""

from __future__ import annotations

from radrelay_shared.errors import Invalid
from radrelay_shared.ports import Message

MAX_BODY = 64 * 1024  # bytes; what every CloudEvents intermediary must carry (CloudEvents 1.0 §Size Limits)
CLOSE_SECONDS = 10.0  # how long `close` waits for deliveries under way before it lets go of them


def check_size(message: Message) -> None:
    """Raise `Invalid` for an event that a bus does not have to carry: bulk travels as blob keys."""
    if len(message.body) > MAX_BODY:
        raise Invalid(f"{message.type} has {len(message.body)} bytes; an event has at most {MAX_BODY}")
