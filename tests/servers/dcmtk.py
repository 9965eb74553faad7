"""dcmtk's command-line tools, as scanners and archives use them."""

from __future__ import annotations

import asyncio
import os
import shutil

from radrelay_shared.testing import PATIENCE_SECONDS
from servers import cannot


async def dcmtk(tool: str, *arguments: object) -> tuple[int, str]:
    """A dcmtk tool's exit status and output; TCP_NODELAY, or it stalls 40 ms per message."""
    if shutil.which(tool) is None:
        raise cannot(f"{tool} of dcmtk is missing")
    process = await asyncio.create_subprocess_exec(
        tool,
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    output, _ = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    return process.returncode or 0, output.decode(errors="replace")
