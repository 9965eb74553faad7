"""Takes every hostile file in little memory, and says as JSON what became of each: `python -m hostile.run`."""

from __future__ import annotations

import json
import resource
import sys
import time

from hostile.files import CANARY, CANARY_UID, CASES
from radrelay_anonymize.domain import Context, Released, Words, release

MEMORY = 1 << 30  # bytes of address space
CONTEXT = Context(secret=b"tenant secret of these tests", pseudonym="RR-ABCDEFGHIJ", date_shift=-70, words=Words())


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name, make in CASES.items():
        data, started = make(), time.process_time()
        outcome = release(data, CONTEXT)
        said = {"name": name, "bytes": len(data), "seconds": time.process_time() - started, "reasons": None}
        if isinstance(outcome, Released):
            said["leaks"] = [each for each in (CANARY, CANARY_UID) if each.lower().encode() in outcome.data.lower()]
        else:
            said["reasons"] = outcome.reasons
        sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
