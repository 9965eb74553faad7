"""Messages that were taken: the same one again gets the same answer, and has no second effect."""

from __future__ import annotations

from typing import Any, ClassVar

from radrelay_shared.aggregate import Aggregate, Decision
from radrelay_shared.errors import Invalid


class Receipt(Aggregate):
    """Of one message under the name that its sender gave it."""

    collection: ClassVar[str] = "receipts"

    sha256: str
    answer: dict[str, Any] | None = None  # once all of its effect is durable


def begun(current: Receipt | None, sha256: str) -> Decision[Receipt] | None:
    """Claim the name for this content; raises `Invalid` if it stands for other content."""
    if current is not None and current.sha256 != sha256:
        raise Invalid("this Idempotency-Key came before with another body; send each message under a key of its own")
    return None if current else Decision(Receipt(sha256=sha256))


def answered(current: Receipt | None, sha256: str, answer: dict[str, Any]) -> Decision[Receipt] | None:
    return None if current and current.answer is not None else Decision(Receipt(sha256=sha256, answer=answer))
