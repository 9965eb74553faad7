"""Which instances of a pack are as they were stored, told from its bytes as they pass."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from radrelay_shared.packs import PackedInstance


class Judge:
    """Takes a pack's bytes in order and hashes each instance; blocks, so call it in a thread."""

    def __init__(self, instances: Sequence[PackedInstance]) -> None:
        self.waiting = sorted(instances, key=lambda each: each.offset, reverse=True)  # the next one last
        self.digest, self.here = hashlib.sha256(), 0
        self.wrong = frozenset[int]()  # offsets of instances that are not as they were stored

    def take(self, piece: bytes) -> int:
        """Up to which byte every instance was judged."""
        view, end = memoryview(piece), self.here + len(piece)
        while self.waiting and self.waiting[-1].offset <= end:
            instance = self.waiting[-1]
            stop = instance.offset + instance.length
            self.digest.update(view[max(instance.offset - self.here, 0) : max(stop - self.here, 0)])
            if stop > end:
                break
            self._judge(self.waiting.pop())
        self.here = end
        return min([end, *(each.offset for each in self.waiting[-1:])])

    def end(self) -> None:
        """Nothing more comes: what was not seen whole is not as it was stored."""
        self.wrong |= {each.offset for each in self.waiting}

    def _judge(self, instance: PackedInstance) -> None:
        if self.digest.hexdigest() != instance.sha256:
            self.wrong |= {instance.offset}
        self.digest = hashlib.sha256()
