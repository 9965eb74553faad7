"""What every port can be asked."""

from __future__ import annotations

from radrelay_shared.errors import Unreachable
from radrelay_shared.ports import Bus, Documents


async def is_healthy(port: Bus | Documents) -> bool:
    try:
        await port.healthy()
    except Unreachable:
        return False
    return True
